//! What a signature vouches for ([`SignedClaims`]), and the rules that make it an identity ([`ClaimRules`]).

use std::{fmt, time::Duration};

use serde_json::Value;

use super::{
    error::{ClaimProblem, Printable, TokenFault},
    identity::{ClientId, ClientIds, Email, Identity, RealUserStatus, Subject},
    json::Object,
    jwks::Issuer,
};
use crate::clock::UnixTime;

/// The claims of a token whose signature was right, with the issuer that the signing key belongs to.
///
/// Claims are read with the JSON types that Apple sends, and no others
/// (<https://developer.apple.com/documentation/signinwithapplejs/authorizationi/id_token>).
pub struct SignedClaims {
    claims: Object,
    key_issuer: Issuer,
}

impl SignedClaims {
    pub(super) const fn new(claims: Object, key_issuer: Issuer) -> Self {
        Self { claims, key_issuer }
    }

    fn text(&self, claim: &'static str) -> Result<Option<&str>, TokenFault> {
        self.read(claim, Value::as_str)
    }

    /// A `NumericDate` (RFC 7519 §2) as Apple sends it: a whole number of seconds, not negative.
    fn time(&self, claim: &'static str) -> Result<Option<UnixTime>, TokenFault> {
        Ok(self.read(claim, Value::as_u64)?.map(UnixTime::from_secs))
    }

    /// A boolean that Apple sent as a string until February 2024 and as a boolean since; absent is `false`.
    fn flag(&self, claim: &'static str) -> Result<bool, TokenFault> {
        let as_flag = |value: &Value| value.as_bool().or_else(|| value.as_str()?.parse().ok());
        Ok(self.read(claim, as_flag)?.unwrap_or(false))
    }

    fn read<'a, T>(
        &'a self,
        claim: &'static str,
        as_type: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, TokenFault> {
        match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => as_type(value).map(Some).ok_or_else(|| TokenFault::wrong_type(claim)),
        }
    }

    /// Apple sends one string; RFC 7519 §4.1.3 also allows an array of them.
    fn audience(&self) -> Result<Vec<&str>, TokenFault> {
        let audience = self.read("aud", one_or_several)?;
        audience.filter(|all| !all.is_empty()).ok_or_else(|| TokenFault::missing("aud"))
    }

    fn subject(&self, claim: &'static str) -> Result<Option<Subject>, TokenFault> {
        let Some(text) = self.text(claim)? else { return Ok(None) };
        let illegal = || TokenFault::Claim { claim, problem: ClaimProblem::Illegal };
        Subject::new(text).map(Some).ok_or_else(illegal)
    }

    /// Absent, or empty, for managed accounts and where the scope was not asked for.
    fn email(&self) -> Result<Option<Email>, TokenFault> {
        let verified = self.flag("email_verified")?;
        let private = self.flag("is_private_email")?;
        let address = self.text("email")?.filter(|address| !address.is_empty());
        Ok(address.map(|address| Email::new(address, verified, private)))
    }

    /// A number that we do not know is no status: a fourth value of Apple's must not lock anybody out.
    fn real_user_status(&self) -> Result<Option<RealUserStatus>, TokenFault> {
        Ok(self.read("real_user_status", Value::as_u64)?.and_then(RealUserStatus::from_wire))
    }
}

impl fmt::Debug for SignedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedClaims").field("issuer", &self.key_issuer).finish_non_exhaustive()
    }
}

/// The rules by which signed claims become an [`Identity`].
#[derive(Clone, Debug)]
pub struct ClaimRules {
    client_ids: ClientIds,
    leeway: Duration,
}

impl ClaimRules {
    /// How far clocks may differ, by default: fresh tokens have been seen to look issued some seconds in the future.
    pub const LEEWAY: Duration = Duration::from_secs(30);
    /// The most leeway that can be asked for.
    pub const LONGEST_LEEWAY: Duration = Duration::from_mins(5);

    /// Rules that accept tokens for `client_ids`, with a `leeway` of at most [`Self::LONGEST_LEEWAY`] (RFC 7519 §4.1.4).
    #[must_use]
    pub fn new(client_ids: ClientIds, leeway: Duration) -> Self {
        Self { client_ids, leeway: leeway.min(Self::LONGEST_LEEWAY) }
    }

    /// Says whom `claims` prove at `now`.
    ///
    /// # Errors
    ///
    /// The first rule that they break.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "claims are judged once, and what is left of them is the identity"
    )]
    pub fn accept(&self, claims: SignedClaims, now: UnixTime) -> Result<Identity, TokenFault> {
        refuse_notification(&claims)?;
        check_issuer(&claims)?;
        let audience = self.check_audience(&claims)?;
        let subject = claims.subject("sub")?.ok_or_else(|| TokenFault::missing("sub"))?;
        let issued_at = self.check_issued(&claims, now)?;
        let expires_at = claims.time("exp")?.ok_or_else(|| TokenFault::missing("exp"))?;
        let identity = Identity {
            subject,
            audience,
            email: claims.email()?,
            real_user_status: claims.real_user_status()?,
            transfer_subject: claims.subject("transfer_sub")?,
            issued_at,
            expires_at,
        };
        self.check_unexpired(&identity, now)?;
        Ok(identity)
    }

    /// Checks the one rule whose outcome changes with time alone, so that it can be asked again of a remembered identity.
    pub(super) fn check_unexpired(
        &self,
        identity: &Identity,
        now: UnixTime,
    ) -> Result<(), TokenFault> {
        let expired_at = identity.expires_at;
        if now < self.last_use(identity) {
            Ok(())
        } else {
            Err(TokenFault::Expired { expired_at, now })
        }
    }

    /// The first moment at which `identity` is refused as expired.
    pub(super) fn last_use(&self, identity: &Identity) -> UnixTime {
        identity.expires_at.saturating_add(self.leeway)
    }

    fn check_audience(&self, claims: &SignedClaims) -> Result<Vec<ClientId>, TokenFault> {
        let refuse = |found: &str| TokenFault::Audience { found: Printable::new(found) };
        let ours = |found| self.client_ids.find(found).cloned().ok_or_else(|| refuse(found));
        claims.audience()?.into_iter().map(ours).collect()
    }

    /// `iat`, and `nbf` should Apple ever send one: neither may lie ahead by more than the leeway.
    fn check_issued(&self, claims: &SignedClaims, now: UnixTime) -> Result<UnixTime, TokenFault> {
        let issued_at = claims.time("iat")?.ok_or_else(|| TokenFault::missing("iat"))?;
        let valid_from =
            claims.time("nbf")?.map_or(issued_at, |not_before| not_before.max(issued_at));
        if valid_from > now.saturating_add(self.leeway) {
            return Err(TokenFault::NotYetValid { valid_from, now });
        }
        Ok(issued_at)
    }
}

fn one_or_several(value: &Value) -> Option<Vec<&str>> {
    match value.as_array() {
        Some(several) => several.iter().map(Value::as_str).collect(),
        None => value.as_str().map(|one| vec![one]),
    }
}

/// Notifications share issuer, audience and keys with identity tokens; `events` is what tells them apart.
fn refuse_notification(claims: &SignedClaims) -> Result<(), TokenFault> {
    if claims.claims.contains_key("events") { Err(TokenFault::Notification) } else { Ok(()) }
}

/// The issuer is the one whose key verified the signature: one source's key cannot speak for another's users.
fn check_issuer(claims: &SignedClaims) -> Result<(), TokenFault> {
    let found = claims.text("iss")?.ok_or_else(|| TokenFault::missing("iss"))?;
    if found == claims.key_issuer.as_str() {
        return Ok(());
    }
    let expected = Printable::new(claims.key_issuer.as_str());
    Err(TokenFault::Issuer { found: Printable::new(found), expected })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn judge_at(change: &[(&str, Value)], now: u64) -> Result<Identity, TokenFault> {
        let mut claims = json!({
            "iss": "https://appleid.apple.com", "aud": "com.example.app", "sub": "000001.abc.0001",
            "iat": NOW, "exp": NOW + 86_400,
        });
        for (claim, value) in change {
            claims[*claim] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(*claim);
            }
        }
        let Value::Object(claims) = claims else { unreachable!() };
        let rules = ClaimRules::new(
            ClientIds::new(["com.example.app", "com.example.web"]).unwrap(),
            ClaimRules::LEEWAY,
        );
        rules.accept(SignedClaims::new(claims, Issuer::apple()), UnixTime::from_secs(now))
    }

    fn judge(change: &[(&str, Value)]) -> Result<Identity, TokenFault> {
        judge_at(change, NOW + 60)
    }

    fn fault(claim: &str, value: Value) -> &'static str {
        judge(&[(claim, value)]).unwrap_err().code()
    }

    #[test]
    fn the_five_required_claims_are_required() {
        for claim in ["iss", "aud", "sub", "iat", "exp"] {
            assert_eq!(fault(claim, Value::Null), "token_claim", "{claim}");
        }
    }

    #[test]
    fn times_are_whole_numbers_of_seconds() {
        for claim in ["iat", "exp", "nbf"] {
            for value in [json!("1700000000"), json!(1.7e9), json!(-1), json!([1]), json!(true)] {
                assert_eq!(fault(claim, value), "token_claim", "{claim}");
            }
        }
    }

    #[test]
    fn the_issuer_is_one_exact_string() {
        assert_eq!(fault("iss", json!("https://account.apple.com")), "token_issuer");
        assert_eq!(fault("iss", json!("https://appleid.apple.com/")), "token_issuer");
        assert_eq!(fault("iss", json!(["https://appleid.apple.com"])), "token_claim");
    }

    #[test]
    fn every_audience_must_be_ours() {
        assert_eq!(fault("aud", json!("com.example.other")), "token_audience");
        assert_eq!(fault("aud", json!("COM.example.app")), "token_audience");
        assert_eq!(fault("aud", json!(["com.example.app", "com.example.other"])), "token_audience");
        assert_eq!(fault("aud", json!([])), "token_claim");
        assert_eq!(fault("aud", json!(["com.example.app", 1])), "token_claim");
        let both = judge(&[("aud", json!(["com.example.web", "com.example.app"]))]).unwrap();
        assert_eq!(both.audience().len(), 2);
        assert_eq!(both.client_id().as_str(), "com.example.web");
    }

    #[test]
    fn a_subject_is_visible_ascii() {
        for sub in [
            json!(""),
            json!(" 000001"),
            json!("a b"),
            json!("é"),
            json!("a\r\nX: 1"),
            json!("x".repeat(300)),
        ] {
            assert_eq!(fault("sub", sub), "token_claim");
        }
        assert_eq!(fault("sub", json!(1)), "token_claim");
    }

    #[test]
    fn expiry_is_judged_with_leeway_to_the_second() {
        let last = NOW + 86_400 + 30;
        assert!(judge_at(&[], last - 1).is_ok());
        assert_eq!(judge_at(&[], last).unwrap_err().code(), "token_expired");
    }

    #[test]
    fn a_token_may_be_issued_a_little_in_the_future_but_not_more() {
        assert!(judge_at(&[], NOW - 30).is_ok());
        assert_eq!(judge_at(&[], NOW - 31).unwrap_err().code(), "token_not_yet_valid");
        assert_eq!(fault("nbf", json!(NOW + 600)), "token_not_yet_valid");
    }

    #[test]
    fn a_time_at_the_end_of_time_does_not_overflow() {
        assert!(judge(&[("exp", json!(u64::MAX))]).is_ok());
        assert_eq!(fault("iat", json!(u64::MAX)), "token_not_yet_valid");
    }

    #[test]
    fn booleans_come_as_booleans_and_as_strings() {
        for (verified, expected) in [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (json!("false"), false),
        ] {
            let identity =
                judge(&[("email", json!("a@example.com")), ("email_verified", verified)]).unwrap();
            assert_eq!(identity.email().unwrap().is_verified(), expected);
        }
        for odd in [json!("yes"), json!("TRUE"), json!(1), json!([true])] {
            assert_eq!(fault("email_verified", odd), "token_claim");
        }
    }

    #[test]
    fn an_email_is_optional_and_unverified_unless_apple_says_so() {
        assert!(judge(&[]).unwrap().email().is_none());
        assert!(judge(&[("email", json!(""))]).unwrap().email().is_none());
        assert!(
            !judge(&[("email", json!("a@example.com"))]).unwrap().email().unwrap().is_verified()
        );
        assert_eq!(fault("email", json!(["a@example.com"])), "token_claim");
    }

    #[test]
    fn a_notification_is_never_an_identity() {
        assert_eq!(fault("events", json!("{}")), "token_notification");
        assert_eq!(fault("events", json!({"type": "consent-revoked"})), "token_notification");
    }
}
