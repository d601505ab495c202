//! A few texts in one piece.

/// `N` texts, any of which may be absent, in one allocation: each verdict has some, and in allocations of their own they would
/// take half as much memory again.
pub(super) struct Texts<const N: usize> {
    joined: Box<str>,
    /// Bytes of each, or [`Self::ABSENT`].
    lengths: [u16; N],
}

impl<const N: usize> Texts<N> {
    /// More than any token has room for.
    const ABSENT: u16 = u16::MAX;

    /// None if one is longer than tokens are.
    pub(super) fn new(texts: [Option<&str>; N]) -> Option<Self> {
        let mut lengths = [Self::ABSENT; N];
        for (length, text) in lengths.iter_mut().zip(texts) {
            let Some(text) = text else { continue };
            *length = u16::try_from(text.len()).ok().filter(|length| *length < Self::ABSENT)?;
        }
        let joined = texts.map(Option::unwrap_or_default).concat().into_boxed_str();
        Some(Self { joined, lengths })
    }

    /// The one at `index`, if it is there.
    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let (before, rest) = self.lengths.split_at_checked(index)?;
        let length = bytes(*rest.first()?)?;
        let begin = before.iter().filter_map(|length| bytes(*length)).sum();
        self.joined.get(begin..)?.get(..length)
    }
}

fn bytes(length: u16) -> Option<usize> {
    (length != Texts::<0>::ABSENT).then(|| length.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_found_in_its_place_and_an_empty_one_is_not_an_absent_one() {
        let texts = Texts::new([None, Some("é"), Some(""), None, Some("last")]).unwrap();
        let found: Vec<_> = (0..6).map(|index| texts.get(index)).collect();
        assert_eq!(found, [None, Some("é"), Some(""), None, Some("last"), None]);
    }

    #[test]
    fn what_is_longer_than_tokens_are_is_not_cut() {
        let long = "x".repeat(u16::MAX.into());
        assert!(Texts::new([Some(&long)]).is_none());
        assert_eq!(Texts::new([long.get(1..)]).unwrap().get(0), long.get(1..));
    }
}
