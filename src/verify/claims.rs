//! What a signature vouches for ([`SignedClaims`]), and the rules that make it an identity ([`ClaimRules`]).

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    claim_names::{self, KnownClaims, OtherClaims},
    error::{ClaimProblem, TokenFault},
    identity::{ClientId, ClientIds, Identity, Rarely, RealUserStatus, Subject},
    json::{self, Object},
    jwks::SignedBy,
    notification::{SignedNotification, Stamps},
    printable::Printable,
    texts::Texts,
    token::UnverifiedToken,
};
use crate::clock::UnixTime;

/// The claims of a token whose signature was right, with the issuer that the signing key belongs to.
///
/// Claims are read with the JSON types that Apple sends, and no others
/// (<https://developer.apple.com/documentation/signinwithapplejs/authorizationi/id_token>).
pub(super) struct SignedClaims<'t> {
    claims: Object<'t>,
    signed_by: Arc<SignedBy>,
}

impl<'t> SignedClaims<'t> {
    pub(super) const fn new(claims: Object<'t>, signed_by: Arc<SignedBy>) -> Self {
        Self { claims, signed_by }
    }

    fn text(&self, claim: &'static str) -> Result<Option<&str>, TokenFault> {
        self.read(claim, Value::as_str)
    }

    /// A `NumericDate` (RFC 7519 §2) as Apple sends it: a whole number of seconds, not negative.
    fn time(&self, claim: &'static str) -> Result<Option<UnixTime>, TokenFault> {
        Ok(self.read(claim, Value::as_u64)?.map(UnixTime::from_secs))
    }

    fn flag(&self, claim: &'static str) -> Result<Option<bool>, TokenFault> {
        self.read(claim, json::boolean)
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
    fn audience(&self) -> Result<(&str, impl Iterator<Item = &str>), TokenFault> {
        let mut all = self.read("aud", one_or_several)?.unwrap_or_default().into_iter();
        let first = all.next().ok_or_else(|| TokenFault::missing("aud"))?;
        Ok((first, all))
    }

    fn subject(&self, claim: &'static str) -> Result<Option<Subject>, TokenFault> {
        let Some(text) = self.text(claim)? else { return Ok(None) };
        let illegal = || TokenFault::Claim { claim, problem: ClaimProblem::Illegal };
        Subject::new(text).map(Some).ok_or_else(illegal)
    }

    /// What identities keep as it is, in their order. The address is absent, or empty, for managed accounts and where the
    /// scope was not asked for.
    fn texts(&self) -> Result<Texts<4>, TokenFault> {
        let email = self.text("email")?.filter(|address| !address.is_empty());
        let texts = [email, self.text("nonce")?, self.text("c_hash")?, self.text("at_hash")?];
        let bytes = texts.iter().flatten().map(|text| text.len()).sum();
        Texts::new(texts).ok_or(TokenFault::Oversized { bytes, limit: UnverifiedToken::MAX_BYTES })
    }

    /// A number that we do not know is no status: a fourth value of Apple's must not lock anybody out.
    fn real_user_status(&self) -> Result<Option<RealUserStatus>, TokenFault> {
        Ok(self.read("real_user_status", Value::as_u64)?.and_then(RealUserStatus::from_wire))
    }

    /// The claims that say something. One that is `null` or empty is there in name only.
    fn told(&self) -> (KnownClaims, OtherClaims) {
        let tells = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        };
        let told = self.claims.iter().filter(|(_, value)| tells(value));
        claim_names::sort(told.map(|(name, _)| name))
    }
}

impl fmt::Debug for SignedClaims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedClaims")
            .field("issuer", &self.signed_by.issuer)
            .finish_non_exhaustive()
    }
}

/// The rules by which signed claims become an [`Identity`].
#[derive(Clone, Debug)]
pub(super) struct ClaimRules {
    client_ids: ClientIds,
    leeway: Duration,
    max_token_age: Option<Duration>,
}

impl ClaimRules {
    /// How far clocks may differ, by default: fresh tokens have been seen to look issued some seconds in the future.
    pub(super) const LEEWAY: Duration = Duration::from_secs(30);
    /// The most leeway that can be asked for.
    pub(super) const LONGEST_LEEWAY: Duration = Duration::from_mins(5);

    /// Rules that accept tokens for `client_ids`, with a `leeway` of at most [`Self::LONGEST_LEEWAY`] (RFC 7519 §4.1.4).
    pub(super) fn new(client_ids: ClientIds, leeway: Duration) -> Self {
        Self { client_ids, leeway: leeway.min(Self::LONGEST_LEEWAY), max_token_age: None }
    }

    /// The same rules with another leeway.
    pub(super) fn with_leeway(self, leeway: Duration) -> Self {
        Self { leeway: leeway.min(Self::LONGEST_LEEWAY), ..self }
    }

    /// Refuses tokens that were issued longer ago than `age`, give or take the leeway. Apple's live for 24 hours, and so
    /// does one that was stolen.
    pub(super) const fn with_max_token_age(mut self, age: Duration) -> Self {
        self.max_token_age = Some(age);
        self
    }

    /// Says whom `claims` prove at `now`, or the first rule that they break.
    pub(super) fn accept(
        &self,
        claims: SignedClaims<'_>,
        now: UnixTime,
    ) -> Result<Identity, TokenFault> {
        let identity = self.prove(claims, now)?;
        self.check_age(&identity, now)?;
        Ok(identity)
    }

    /// What [`accept`](Self::accept) does, but for the age: what comes out may be remembered until the token expires.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "claims are judged once, and what is left of them is the identity"
    )]
    pub(super) fn prove(
        &self,
        claims: SignedClaims<'_>,
        now: UnixTime,
    ) -> Result<Identity, TokenFault> {
        refuse_notification(&claims)?;
        check_issuer(&claims)?;
        let (client_id, other_client_ids) = self.check_audience(&claims)?;
        let issued_at = self.check_issued(&claims, now)?;
        let not_before = self.check_not_before(&claims, now)?;
        let expires_at = claims.time("exp")?.ok_or_else(|| TokenFault::missing("exp"))?;
        self.check_unexpired(expires_at, now)?;
        let (told, told_rarely) = claims.told();
        Ok(Identity {
            signed_by: Arc::clone(&claims.signed_by),
            subject: claims.subject("sub")?.ok_or_else(|| TokenFault::missing("sub"))?,
            client_id,
            email_verified: claims.flag("email_verified")?.unwrap_or(false),
            email_private: claims.flag("is_private_email")?.unwrap_or(false),
            texts: claims.texts()?,
            real_user_status: claims.real_user_status()?,
            nonce_supported: claims.flag("nonce_supported")?,
            told,
            issued_at,
            expires_at,
            rarely: Rarely {
                other_client_ids,
                transfer_subject: claims.subject("transfer_sub")?,
                told: told_rarely,
                not_before,
                ..Rarely::default()
            }
            .boxed(),
        })
    }

    /// Says what `claims` tell, if they are a server-to-server notification and of today. One without `exp`, as Apple's page
    /// shows them, is of today for as long as those that Apple sends: a day from `iat`.
    #[expect(clippy::needless_pass_by_value, reason = "claims are judged once")]
    pub(super) fn receive(
        &self,
        claims: SignedClaims<'_>,
        now: UnixTime,
    ) -> Result<SignedNotification, TokenFault> {
        check_issuer(&claims)?;
        let (client_id, other_client_ids) = self.check_audience(&claims)?;
        let issued_at = self.check_issued(&claims, now)?;
        self.check_not_before(&claims, now)?;
        let a_day_later = issued_at.saturating_add(SignedNotification::LIFETIME);
        let expires_at = claims.time("exp")?.unwrap_or(a_day_later);
        self.check_unexpired(expires_at, now)?;
        let events = claims.claims.get("events").ok_or_else(|| TokenFault::missing("events"))?;
        let id = claims.text("jti")?;
        // What may be set wrongly ahead by our leeway stays acceptable for as much longer.
        let refused_from = expires_at.saturating_add(self.leeway);
        let stamps = Stamps { id, client_id, other_client_ids, issued_at, refused_from };
        SignedNotification::read(stamps, events)
    }

    /// Asks again what time alone can change, for every use of an identity, remembered or not. A clock may also be set
    /// back: then a token that was good is not valid yet.
    pub(super) fn check_time(&self, identity: &Identity, now: UnixTime) -> Result<(), TokenFault> {
        self.check_begun("iat", identity.issued_at, now)?;
        identity.not_before().map_or(Ok(()), |begin| self.check_begun("nbf", begin, now))?;
        self.check_unexpired(identity.expires_at, now)?;
        self.check_age(identity, now)
    }

    fn check_unexpired(&self, expired_at: UnixTime, now: UnixTime) -> Result<(), TokenFault> {
        if self.is_unexpired(expired_at, now) {
            Ok(())
        } else {
            Err(TokenFault::Expired { expired_at, now })
        }
    }

    /// Whether what ends at `expires_at` has not ended at `now`, leeway included.
    pub(super) fn is_unexpired(&self, expires_at: UnixTime, now: UnixTime) -> bool {
        now < expires_at.saturating_add(self.leeway)
    }

    /// The age by `iat`, the only time that Apple documents as the time of issue.
    fn check_age(&self, identity: &Identity, now: UnixTime) -> Result<(), TokenFault> {
        self.max_token_age.map_or(Ok(()), |limit| self.check_within(identity, limit, now))
    }

    /// Likewise, with `limit` as the greatest age, leeway not included.
    pub(super) fn check_within(
        &self,
        identity: &Identity,
        limit: Duration,
        now: UnixTime,
    ) -> Result<(), TokenFault> {
        let issued_at = identity.issued_at;
        if now < issued_at.saturating_add(limit).saturating_add(self.leeway) {
            Ok(())
        } else {
            Err(TokenFault::TooOld { issued_at, limit, now })
        }
    }

    pub(super) const fn leeway(&self) -> Duration {
        self.leeway
    }

    pub(super) const fn max_token_age(&self) -> Option<Duration> {
        self.max_token_age
    }

    pub(super) const fn client_ids(&self) -> &ClientIds {
        &self.client_ids
    }

    /// The first moment at which `identity` is refused as expired.
    pub(super) fn refused_from(&self, identity: &Identity) -> UnixTime {
        identity.expires_at.saturating_add(self.leeway)
    }

    /// The client id that the token was issued to, and any others: all must be ours.
    fn check_audience(
        &self,
        claims: &SignedClaims<'_>,
    ) -> Result<(ClientId, Box<[ClientId]>), TokenFault> {
        let refuse = |found: &str| TokenFault::Audience { found: Printable::new(found) };
        let ours = |found| self.client_ids.find(found).cloned().ok_or_else(|| refuse(found));
        let (first, others) = claims.audience()?;
        Ok((ours(first)?, others.map(ours).collect::<Result<_, _>>()?))
    }

    fn check_issued(
        &self,
        claims: &SignedClaims<'_>,
        now: UnixTime,
    ) -> Result<UnixTime, TokenFault> {
        let issued_at = claims.time("iat")?.ok_or_else(|| TokenFault::missing("iat"))?;
        self.check_begun("iat", issued_at, now)?;
        Ok(issued_at)
    }

    /// `nbf` (RFC 7519 §4.1.5), should Apple ever send one.
    fn check_not_before(
        &self,
        claims: &SignedClaims<'_>,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, TokenFault> {
        let not_before = claims.time("nbf")?;
        not_before.map_or(Ok(()), |begin| self.check_begun("nbf", begin, now))?;
        Ok(not_before)
    }

    pub(super) fn check_begun(
        &self,
        claim: &'static str,
        valid_from: UnixTime,
        now: UnixTime,
    ) -> Result<(), TokenFault> {
        if valid_from <= now.saturating_add(self.leeway) {
            Ok(())
        } else {
            Err(TokenFault::NotYetValid { claim, valid_from, now })
        }
    }
}

fn one_or_several(value: &Value) -> Option<Vec<&str>> {
    match value.as_array() {
        Some(several) => several.iter().map(Value::as_str).collect(),
        None => value.as_str().map(|one| vec![one]),
    }
}

/// Notifications share issuer, audience and keys with identity tokens; `events` is what tells them apart.
fn refuse_notification(claims: &SignedClaims<'_>) -> Result<(), TokenFault> {
    if claims.claims.contains_key("events") { Err(TokenFault::Notification) } else { Ok(()) }
}

/// The issuer is the one whose key verified the signature: one source's key cannot speak for another's users.
fn check_issuer(claims: &SignedClaims<'_>) -> Result<(), TokenFault> {
    let found = claims.text("iss")?.ok_or_else(|| TokenFault::missing("iss"))?;
    let expected = claims.signed_by.issuer.as_str();
    if *found == *expected {
        return Ok(());
    }
    let expected = Printable::new(expected);
    Err(TokenFault::Issuer { found: Printable::new(found), expected })
}

/// Identities for unit tests, by the one way there is: claims that are accepted.
#[cfg(test)]
pub(crate) mod fixtures {
    use serde_json::json;

    use super::{
        super::jwks::{Issuer, KeyId},
        *,
    };

    pub(crate) const NOW: u64 = 1_700_000_000;

    pub(super) fn rules() -> ClaimRules {
        let client_ids = ClientIds::new(["com.example.app", "com.example.web"]).unwrap();
        ClaimRules::new(client_ids, ClaimRules::LEEWAY)
    }

    /// Claims that are accepted at [`NOW`], with `change` laid over them; `null` removes one.
    pub(super) fn claims(change: Value) -> SignedClaims<'static> {
        let mut claims = json!({
            "iss": "https://appleid.apple.com", "aud": "com.example.app", "sub": "000001.abc.0001",
            "iat": NOW, "exp": NOW + 86_400,
        });
        let claims = claims.as_object_mut().unwrap();
        let Value::Object(change) = change else { panic!("not an object") };
        claims.extend(change);
        claims.retain(|_, value| !value.is_null());
        let signed_by = SignedBy { key_id: KeyId::new("key").unwrap(), issuer: Issuer::apple() };
        SignedClaims::new(claims.clone().into(), Arc::new(signed_by))
    }

    pub(crate) fn receive(change: Value, now: UnixTime) -> Result<SignedNotification, TokenFault> {
        rules().receive(claims(change), now)
    }

    pub(crate) fn identity_with(change: Value) -> Identity {
        rules().accept(claims(change), UnixTime::from_secs(NOW)).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        fixtures::{NOW, claims, identity_with, rules},
        *,
    };

    fn judge_at(change: &[(&str, Value)], now: u64) -> Result<Identity, TokenFault> {
        let change = change.iter().map(|(claim, value)| ((*claim).to_owned(), value.clone()));
        rules().accept(claims(change.collect()), UnixTime::from_secs(now))
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
        assert_eq!(both.audience().count(), 2);
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
    fn an_address_is_private_and_verified_only_if_apple_says_so() {
        let email = |flags: Value| {
            let mut claims = json!({"email": "0123456789@privaterelay.appleid.com"});
            claims.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
            let identity = identity_with(claims);
            let email = identity.email().unwrap();
            (email.is_verified(), email.is_private())
        };
        assert_eq!(email(json!({})), (false, false));
        assert_eq!(email(json!({"email_verified": true})), (true, false));
        assert_eq!(email(json!({"is_private_email": "true"})), (false, true));
        assert_eq!(
            email(json!({"email_verified": "true", "is_private_email": false})),
            (true, false)
        );
    }

    #[test]
    fn a_notification_is_never_an_identity() {
        assert_eq!(fault("events", json!("{}")), "token_notification");
        assert_eq!(fault("events", json!({"type": "consent-revoked"})), "token_notification");
    }

    #[test]
    fn the_first_broken_rule_is_named() {
        let expired = ("exp", json!(NOW - 100));
        let code = |change: &[(&str, Value)]| judge(change).unwrap_err().code();
        assert_eq!(code(&[expired.clone(), ("sub", json!(""))]), "token_expired");
        assert_eq!(code(&[expired, ("aud", json!("com.example.other"))]), "token_audience");
    }

    #[test]
    fn a_token_may_be_limited_in_age_to_the_second() {
        let rules = rules().with_max_token_age(Duration::from_mins(10));
        let at = |now| rules.accept(claims(json!({})), UnixTime::from_secs(now));
        let last = NOW + 600 + 30;
        assert!(at(last - 1).is_ok());
        assert_eq!(at(last).unwrap_err().code(), "token_too_old");
        assert_eq!(at(NOW + 100_000).unwrap_err().code(), "token_expired", "expiry comes first");
    }

    #[test]
    fn what_is_proved_can_be_remembered_as_age_has_no_part_in_it() {
        let rules = rules().with_max_token_age(Duration::ZERO);
        let later = UnixTime::from_secs(NOW + 3_600);
        let identity = rules.prove(claims(json!({})), later).unwrap();
        assert_eq!(rules.check_time(&identity, later).unwrap_err().code(), "token_too_old");
    }

    #[test]
    fn what_callers_may_check_later_is_kept() {
        let identity = identity_with(json!({
            "nonce": "n", "nonce_supported": "false", "c_hash": "h", "org_id": "o", "email": "",
            "scopes": [], "other": {},
        }));
        assert_eq!(identity.nonce(), Some("n"));
        assert_eq!(identity.nonce_supported, Some(false));
        assert_eq!(identity.code_hash(), Some("h"));
        for claim in ["iss", "sub", "nonce_supported", "org_id"] {
            assert!(identity.tells(claim), "{claim}");
        }
        for claim in ["email", "scopes", "other", "transfer_sub", ""] {
            assert!(!identity.tells(claim), "{claim} is empty or missing");
        }
        for claim in ["nonce", "nonce_supported", "c_hash", "at_hash"] {
            assert_eq!(fault(claim, json!(1)), "token_claim");
        }
    }
}
