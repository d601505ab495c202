//! Who may, among those whom Apple vouched for: a plain value, judged for every request, remembered by nobody.

use std::{collections::HashSet, fmt, sync::Arc};

use super::email_pattern::EmailPattern;
use crate::verify::{ClientId, ClientIds, Identity, Issuer, Printable, RealUserStatus};

/// Which known users may pass. Cheap to clone; the default lets everybody known pass.
///
/// The one of an [`Authenticator`](super::Authenticator) holds everywhere; a route's holds besides, so that a route can
/// narrow and never widen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy(Option<Arc<PolicyRules>>);

/// The rules of a [`Policy`]. Those that are left at their default refuse nobody.
///
/// ```
/// use siwa_proxy::authn::{EmailRule, Members, Policy, PolicyRules};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let policy = Policy::new(PolicyRules {
///     email: EmailRule::Verified,
///     allow: Some(Members::new::<&str>([], ["example.com".parse()?])),
///     ..PolicyRules::default()
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRules {
    /// The issuers whose users may pass, out of those whose keys are used at all. With several key sources every policy
    /// should say so: a subject is unique for its issuer only, so that the users of one could pass for those of
    /// another.
    pub issuers: Option<Vec<Issuer>>,
    /// The apps whose users may pass, out of those whose tokens are accepted at all. A token that was issued to several
    /// apps needs every one of them here.
    pub client_ids: Option<ClientIds>,
    /// Who may not pass, whatever else is said.
    pub deny: Members,
    /// Who may pass: nobody else, and nobody at all if it is empty.
    pub allow: Option<Members>,
    /// The claims that must be there and not be empty.
    pub required_claims: Vec<Box<str>>,
    /// What is asked of the email address.
    pub email: EmailRule,
    /// Whether the address may be one of Apple's relay.
    pub private_relay: PrivateRelay,
    /// The least that Apple must say about a human being there, if it says anything: it does so at the first sign-in only,
    /// and never for the web, so that absence is no sign of a robot.
    pub minimum_real_user_status: Option<RealUserStatus>,
}

/// What is asked of the email address. Apple leaves it out for managed accounts and where the app did not ask for it, so
/// that each step locks somebody out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmailRule {
    /// Nothing.
    #[default]
    Optional,
    /// It is there.
    Present,
    /// It is there, and Apple says that it is the user's.
    Verified,
}

/// Whether the address may be one of Apple's private email relay. Only the claim tells, not the domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateRelay {
    /// It may.
    #[default]
    Allowed,
    /// It may not. A user without any address is not refused by this: see [`EmailRule`].
    Refused,
}

/// A list of people, by subject and by verified email address. `Debug` does not show them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Members {
    subjects: HashSet<Box<str>>,
    emails: Vec<EmailPattern>,
}

/// Why a known user may not pass. The message names the rule, and never a subject or an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// The token was issued by somebody whose users may not pass here.
    #[error("the token was issued by {found}, whose users are not allowed here")]
    Issuer {
        /// Who issued it.
        found: Printable,
    },
    /// The token was issued to an app whose users may not pass here.
    #[error("the token was issued to {found}, and users of that app are not allowed here")]
    ClientId {
        /// The app.
        found: Printable,
    },
    /// The subject is on the deny list.
    #[error("this user is on the list of those who are not allowed here")]
    SubjectDenied,
    /// The verified email address is on the deny list.
    #[error("this user's email address is on the list of those that are not allowed here")]
    EmailDenied,
    /// There is an allow list, and the user is not on it.
    #[error("this user is not on the list of those who are allowed here")]
    NotListed,
    /// A required claim is missing or empty.
    #[error("the token lacks the claim `{claim}`, which is required here")]
    ClaimMissing {
        /// Its name.
        claim: Box<str>,
    },
    /// There is no email address.
    #[error("the token holds no email address, and one is required here")]
    EmailMissing,
    /// Apple does not say that the email address is the user's.
    #[error("the email address in the token is not verified, and a verified one is required here")]
    EmailUnverified,
    /// The address is one of Apple's private email relay.
    #[error("the email address in the token is a private relay address, which is not allowed here")]
    PrivateRelay,
    /// Apple's guess whether a human signed in is too low.
    #[error("Apple's real user status is {found:?}, and at least {minimum:?} is required here")]
    RealUserStatus {
        /// What Apple said.
        found: RealUserStatus,
        /// What is required.
        minimum: RealUserStatus,
    },
}

impl Policy {
    /// Lets everybody pass whom Apple vouched for.
    #[must_use]
    pub const fn permissive() -> Self {
        Self(None)
    }

    /// Lets pass whom none of `rules` refuses.
    #[must_use]
    pub fn new(rules: PolicyRules) -> Self {
        Self(Some(Arc::new(rules)))
    }

    /// Says whether `identity` may pass: issuer and apps first, then deny, which wins over allow, then what the token
    /// tells.
    ///
    /// # Errors
    ///
    /// The first rule that refuses.
    pub fn check(&self, identity: &Identity) -> Result<(), PolicyFault> {
        let Some(rules) = &self.0 else { return Ok(()) };
        rules.check_issuer(identity)?;
        rules.check_client_ids(identity)?;
        rules.deny.refuse(identity)?;
        rules.check_listed(identity)?;
        rules.check_claims(identity)?;
        rules.check_email(identity)?;
        rules.check_real_user_status(identity)
    }
}

impl Policy {
    /// Whether it denies addresses without asking for a verified one: who has none, or one that Apple has not verified,
    /// is then denied by no address, whoever they are.
    #[must_use]
    pub fn may_miss_denied_emails(&self) -> bool {
        let misses = |rules: &PolicyRules| {
            !rules.deny.emails.is_empty() && rules.email != EmailRule::Verified
        };
        self.0.as_deref().is_some_and(misses)
    }

    /// Whether nobody passes without a verified address.
    #[must_use]
    pub fn requires_verified_email(&self) -> bool {
        self.0.as_deref().is_some_and(|rules| rules.email == EmailRule::Verified)
    }
}

impl PolicyRules {
    fn check_issuer(&self, identity: &Identity) -> Result<(), PolicyFault> {
        let issuer = identity.issuer();
        if self.issuers.as_ref().is_none_or(|allowed| allowed.contains(issuer)) {
            return Ok(());
        }
        Err(PolicyFault::Issuer { found: Printable::new(issuer.as_str()) })
    }

    fn check_client_ids(&self, identity: &Identity) -> Result<(), PolicyFault> {
        let Some(allowed) = &self.client_ids else { return Ok(()) };
        let strange = |id: &&ClientId| !allowed.contains(id);
        let refuse = |id: &ClientId| PolicyFault::ClientId { found: Printable::new(id.as_str()) };
        identity.audience().find(strange).map_or(Ok(()), |id| Err(refuse(id)))
    }

    fn check_listed(&self, identity: &Identity) -> Result<(), PolicyFault> {
        let listed = self
            .allow
            .as_ref()
            .is_none_or(|list| list.holds_subject_of(identity) || list.holds_email_of(identity));
        if listed { Ok(()) } else { Err(PolicyFault::NotListed) }
    }

    fn check_claims(&self, identity: &Identity) -> Result<(), PolicyFault> {
        let missing = self.required_claims.iter().find(|claim| !identity.tells(claim));
        missing.map_or(Ok(()), |claim| Err(PolicyFault::ClaimMissing { claim: claim.clone() }))
    }

    fn check_email(&self, identity: &Identity) -> Result<(), PolicyFault> {
        let Some(email) = identity.email() else {
            return match self.email {
                EmailRule::Optional => Ok(()),
                EmailRule::Present | EmailRule::Verified => Err(PolicyFault::EmailMissing),
            };
        };
        if self.email == EmailRule::Verified && !email.is_verified() {
            return Err(PolicyFault::EmailUnverified);
        }
        if self.private_relay == PrivateRelay::Refused && email.is_private() {
            return Err(PolicyFault::PrivateRelay);
        }
        Ok(())
    }

    fn check_real_user_status(&self, identity: &Identity) -> Result<(), PolicyFault> {
        match (identity.real_user_status(), self.minimum_real_user_status) {
            (Some(found), Some(minimum)) if found < minimum => {
                Err(PolicyFault::RealUserStatus { found, minimum })
            }
            _ => Ok(()),
        }
    }
}

impl Members {
    /// Lists people by their exact `subjects` and by `emails`.
    #[must_use]
    pub fn new<S: AsRef<str>>(
        subjects: impl IntoIterator<Item = S>,
        emails: impl IntoIterator<Item = EmailPattern>,
    ) -> Self {
        let subjects = subjects.into_iter().map(|subject| subject.as_ref().into()).collect();
        Self { subjects, emails: emails.into_iter().collect() }
    }

    fn refuse(&self, identity: &Identity) -> Result<(), PolicyFault> {
        if self.holds_subject_of(identity) {
            return Err(PolicyFault::SubjectDenied);
        }
        if self.holds_email_of(identity) {
            return Err(PolicyFault::EmailDenied);
        }
        Ok(())
    }

    fn holds_subject_of(&self, identity: &Identity) -> bool {
        self.subjects.contains(identity.subject().as_str())
    }

    /// An address that Apple does not call verified may be anybody's, so that it neither admits nor bars its bearer.
    fn holds_email_of(&self, identity: &Identity) -> bool {
        let verified = identity.email().filter(|email| email.is_verified());
        !self.emails.is_empty()
            && verified
                .is_some_and(|email| EmailPattern::any_matches(&self.emails, email.address()))
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("subjects", &self.subjects.len())
            .field("emails", &self.emails.len())
            .finish()
    }
}

impl PolicyFault {
    /// What can be done about it, and by whom.
    #[must_use]
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Issuer { .. } => "add the issuer to `issuers` if its users may pass",
            Self::ClientId { .. } => "add the app to `client_ids` if its users may pass",
            Self::SubjectDenied => "remove the subject from `deny_subjects` if they may pass",
            Self::EmailDenied => {
                "remove the address or its domain from `deny_emails` if they may pass"
            }
            Self::NotListed => {
                "add the subject to `allow_subjects`, or the verified address or its domain to `allow_emails`, if they may pass"
            }
            Self::ClaimMissing { .. } => {
                "find out whether Apple sends the claim to all of your users; if not, remove it from `required_claims`"
            }
            Self::EmailMissing => {
                "ask for the scope `email` in the app; who has signed in before is asked again only after revoking the app in their settings, and managed accounts may have no address"
            }
            Self::EmailUnverified => {
                "have the user verify the address with Apple; if managed accounts may pass, do not ask for verified addresses"
            }
            Self::PrivateRelay => {
                "let users of the relay pass (`private_relay`), or have the user share their address when they sign in anew"
            }
            Self::RealUserStatus { .. } => {
                "check by other means that it is a human, and lower `minimum_real_user_status`"
            }
        }
    }

    /// The stable reason code, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Issuer { .. } => "not_allowed_issuer",
            Self::ClientId { .. } => "not_allowed_client_id",
            Self::SubjectDenied => "not_allowed_subject_denied",
            Self::EmailDenied => "not_allowed_email_denied",
            Self::NotListed => "not_allowed_not_listed",
            Self::ClaimMissing { .. } => "not_allowed_claim_missing",
            Self::EmailMissing => "not_allowed_email_missing",
            Self::EmailUnverified => "not_allowed_email_unverified",
            Self::PrivateRelay => "not_allowed_private_relay",
            Self::RealUserStatus { .. } => "not_allowed_real_user_status",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verify::fixtures::identity_with;

    const SUBJECT: &str = "000001.abc.0001";

    fn check(rules: PolicyRules, claims: Value) -> &'static str {
        match Policy::new(rules).check(&identity_with(claims)) {
            Ok(()) => "allowed",
            Err(fault) => fault.code(),
        }
    }

    fn verified(address: &str) -> Value {
        json!({"email": address, "email_verified": true})
    }

    fn members(subjects: &[&str], emails: &[&str]) -> Members {
        Members::new(subjects, emails.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn everybody_known_may_pass_unless_a_rule_refuses() {
        assert!(Policy::permissive().check(&identity_with(json!({}))).is_ok());
        assert_eq!(check(PolicyRules::default(), json!({})), "allowed");
    }

    #[test]
    fn a_token_for_one_app_does_not_open_another_apps_route() {
        let only = |ids: &[&str]| PolicyRules {
            client_ids: Some(ClientIds::new(ids).unwrap()),
            ..PolicyRules::default()
        };
        assert_eq!(check(only(&["com.example.app"]), json!({})), "allowed");
        assert_eq!(check(only(&["com.example.web"]), json!({})), "not_allowed_client_id");
        let both = json!({"aud": ["com.example.app", "com.example.web"]});
        assert_eq!(check(only(&["com.example.app"]), both.clone()), "not_allowed_client_id");
        assert_eq!(check(only(&["com.example.web", "com.example.app"]), both), "allowed");
    }

    #[test]
    fn required_claims_are_there_and_say_something() {
        let rules = || PolicyRules {
            required_claims: vec!["sub".into(), "org_id".into()],
            ..PolicyRules::default()
        };
        assert_eq!(check(rules(), json!({"org_id": "o"})), "allowed");
        assert_eq!(check(rules(), json!({})), "not_allowed_claim_missing");
        assert_eq!(check(rules(), json!({"org_id": ""})), "not_allowed_claim_missing");
    }

    #[test]
    fn an_address_can_be_required_and_required_to_be_verified() {
        let rules = |email| PolicyRules { email, ..PolicyRules::default() };
        let unverified = json!({"email": "a@example.com", "email_verified": "false"});
        for (rule, none, unsure) in [
            (EmailRule::Optional, "allowed", "allowed"),
            (EmailRule::Present, "not_allowed_email_missing", "allowed"),
            (EmailRule::Verified, "not_allowed_email_missing", "not_allowed_email_unverified"),
        ] {
            assert_eq!(check(rules(rule), json!({})), none, "{rule:?}");
            assert_eq!(check(rules(rule), json!({"email": ""})), none, "{rule:?}");
            assert_eq!(check(rules(rule), unverified.clone()), unsure, "{rule:?}");
            assert_eq!(check(rules(rule), verified("a@example.com")), "allowed", "{rule:?}");
        }
    }

    #[test]
    fn relay_addresses_are_known_by_the_claim_and_can_be_refused() {
        let rules =
            || PolicyRules { private_relay: PrivateRelay::Refused, ..PolicyRules::default() };
        let mut relay = verified("a@example.com");
        relay["is_private_email"] = json!("true");
        assert_eq!(check(rules(), relay), "not_allowed_private_relay");
        assert_eq!(check(rules(), verified("a@privaterelay.appleid.com")), "allowed");
        assert_eq!(check(rules(), json!({})), "allowed");
    }

    #[test]
    fn a_low_real_user_status_can_be_refused_but_not_its_absence() {
        let rules = |minimum| PolicyRules {
            minimum_real_user_status: Some(minimum),
            ..PolicyRules::default()
        };
        let status = |number: u64| json!({ "real_user_status": number });
        let likely = RealUserStatus::LikelyReal;
        assert_eq!(check(rules(likely), status(1)), "not_allowed_real_user_status");
        assert_eq!(check(rules(likely), status(2)), "allowed");
        assert_eq!(check(rules(likely), json!({})), "allowed", "absent is not bad");
        assert_eq!(check(rules(likely), status(3)), "allowed", "nor is a status yet unknown");
        assert_eq!(check(rules(RealUserStatus::Unknown), status(1)), "allowed");
    }

    #[test]
    fn an_allow_list_admits_by_subject_or_by_verified_address_and_nobody_else() {
        let rules = || PolicyRules {
            allow: Some(members(&["000002.b.0002"], &["example.com"])),
            ..PolicyRules::default()
        };
        assert_eq!(check(rules(), json!({"sub": "000002.b.0002"})), "allowed");
        assert_eq!(check(rules(), verified("a@example.com")), "allowed");
        assert_eq!(check(rules(), verified("a@example.org")), "not_allowed_not_listed");
        assert_eq!(check(rules(), json!({"email": "a@example.com"})), "not_allowed_not_listed");
        assert_eq!(check(rules(), json!({"sub": "000002.B.0002"})), "not_allowed_not_listed");
    }

    #[test]
    fn an_empty_allow_list_admits_nobody() {
        let rules = PolicyRules { allow: Some(Members::default()), ..PolicyRules::default() };
        assert_eq!(check(rules, verified("a@example.com")), "not_allowed_not_listed");
    }

    #[test]
    fn deny_wins_over_allow() {
        let rules = |deny| PolicyRules {
            deny,
            allow: Some(members(&[SUBJECT], &["example.com"])),
            ..PolicyRules::default()
        };
        let claims = || verified("a@example.com");
        assert_eq!(check(rules(members(&[], &[])), claims()), "allowed");
        assert_eq!(check(rules(members(&[SUBJECT], &[])), claims()), "not_allowed_subject_denied");
        let by_address = rules(members(&[], &["a@EXAMPLE.com"]));
        assert_eq!(check(by_address, claims()), "not_allowed_email_denied");
    }

    #[test]
    fn a_list_of_denied_addresses_misses_whoever_need_not_have_a_verified_one() {
        let policy = |email, emails: &[&str]| {
            Policy::new(PolicyRules { email, deny: members(&[], emails), ..PolicyRules::default() })
        };
        assert!(policy(EmailRule::Optional, &["example.com"]).may_miss_denied_emails());
        assert!(policy(EmailRule::Present, &["example.com"]).may_miss_denied_emails());
        assert!(!policy(EmailRule::Verified, &["example.com"]).may_miss_denied_emails());
        assert!(!policy(EmailRule::Optional, &[]).may_miss_denied_emails());
        assert!(!Policy::permissive().may_miss_denied_emails());
        // What is meant: the same person, with the same address, passes.
        let unverified = json!({"email": "a@example.com", "email_verified": false});
        let blind = policy(EmailRule::Present, &["example.com"]);
        assert!(blind.check(&identity_with(unverified)).is_ok());
    }

    #[test]
    fn neither_lists_nor_faults_print_a_person() {
        let listed = members(&["000001.secret.0001"], &["secret@example.com", "secret.example"]);
        let rules = PolicyRules { deny: listed, ..PolicyRules::default() };
        let policy = Policy::new(rules);
        let mut claims = verified("secret@example.com");
        let by_address = policy.check(&identity_with(claims.clone())).unwrap_err();
        claims["sub"] = json!("000001.secret.0001");
        let by_subject = policy.check(&identity_with(claims)).unwrap_err();
        let printed = format!("{policy:?} {by_address} {by_address:?} {by_subject}");
        assert!(!printed.contains("secret"), "{printed}");
    }
}
