//! Which claims a token holds, by name.

/// The names of claims: a bit for each that Apple's tokens are known to have, so that a remembered token takes no memory for
/// them.
#[derive(Clone, Copy)]
pub(super) struct KnownClaims(u32);

impl KnownClaims {
    /// The order is nobody's but the process's own. What Apple adds works without being here.
    const NAMES: [&str; 17] = [
        "iss",
        "aud",
        "exp",
        "iat",
        "sub",
        "nonce",
        "c_hash",
        "at_hash",
        "email",
        "email_verified",
        "is_private_email",
        "auth_time",
        "nonce_supported",
        "real_user_status",
        "transfer_sub",
        "org_id",
        "jti",
    ];

    fn each<'a>() -> impl Iterator<Item = (u32, &'a str)> {
        let names: [&'a str; _] = Self::NAMES;
        (0..u32::BITS).map(|place| 1_u32.unbounded_shl(place)).zip(names)
    }

    fn bit(name: &str) -> Option<u32> {
        Self::each().find_map(|(bit, known)| (*known == *name).then_some(bit))
    }

    pub(super) fn contains(self, name: &str) -> bool {
        Self::bit(name).is_some_and(|bit| self.0 & bit != 0)
    }

    pub(super) fn iter<'a>(self) -> impl Iterator<Item = &'a str> {
        Self::each().filter_map(move |(bit, name)| (self.0 & bit != 0).then_some(name))
    }
}

/// The names of other claims, in one piece. There are hardly ever any, so that a list beats a set.
#[derive(Default, PartialEq, Eq)]
pub(super) struct OtherClaims(Box<str>);

impl OtherClaims {
    /// What cannot be in a name of anybody's ends each.
    const END: &str = "\0";

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(Self::END)
    }
}

/// Sorts `names` into those that are known and all others.
pub(super) fn sort<'a>(names: impl Iterator<Item = &'a str>) -> (KnownClaims, OtherClaims) {
    let (mut known, mut others) = (0, String::new());
    for name in names {
        match KnownClaims::bit(name) {
            Some(bit) => known |= bit,
            None if name.contains(OtherClaims::END) => {}
            None => others.extend([name, OtherClaims::END]),
        }
    }
    (KnownClaims(known), OtherClaims(others.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again_whether_known_or_not() {
        let (known, others) = sort(["sub", "new", "jti", "newer", "ends\0here"].into_iter());
        assert_eq!(
            known.iter().chain(others.iter()).collect::<Vec<_>>(),
            ["sub", "jti", "new", "newer"]
        );
        assert!(known.contains("sub") && known.contains("jti"));
        assert!(!known.contains("iss") && !known.contains("new") && !known.contains(""));
    }

    #[test]
    fn each_known_name_has_a_bit_of_its_own() {
        let (all, others) = sort(KnownClaims::NAMES.into_iter());
        assert!(all.iter().eq(KnownClaims::NAMES) && others == OtherClaims::default());
    }
}
