//! `[policy]`.

use serde::{Deserialize, Serialize};

use super::super::problems::Problems;
use crate::{
    authn::{EmailPattern, EmailRule, Members, PolicyRules, PrivateRelay},
    verify::{Issuer, RealUserStatus},
};

/// `[policy]`: who may pass, among those whom Apple vouched for; by default, everybody. Who may not is answered 403, with a
/// code that names the rule. It holds for every route, and for signing in; `[route.policy]`, with the same
/// keys, holds for one route besides; which apps there are at all is `apple.client_ids`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PolicySection {
    /// The issuers whose users may pass, compared exactly with `iss`; default all whose keys are used, which is
    /// `apple.issuer` alone. Required where `jwks.additional` names more: each one can name any subject, so that each
    /// one more is one more to be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuers: Option<Vec<String>>,

    /// The claims that a token must hold and fill, such as `org_id` of managed accounts; default none. Each locks out
    /// everybody in whose token Apple leaves it out.
    required_claims: Vec<String>,

    /// Whether a token must hold an email address; default `false`. Apple leaves it out for some managed accounts, after a
    /// refresh, and where the app does not ask for it.
    require_email: bool,

    /// Whether the address must be one that Apple says is the user's; default `false`. It implies `require_email`, and locks
    /// out managed accounts with addresses that Apple has not verified.
    require_verified_email: bool,

    /// What becomes of users who hide their address behind Apple's relay. `allow`, the default. `refuse`: 403, also for users
    /// who chose to hide it when they first signed in, and cannot easily change that.
    #[serde(with = "PrivateRelayKey")]
    private_relay: PrivateRelay,

    /// The least of Apple's guesses whether a human signed in: `unsupported`, `unknown` or `likely_real`; default none. Apple
    /// tells it at the first sign-in in an app only, so that a token without it always passes. `likely_real` refuses
    /// humans of whom Apple knows too little.
    #[serde(skip_serializing_if = "Option::is_none", with = "real_user_status")]
    minimum_real_user_status: Option<RealUserStatus>,

    /// The subjects who may pass, and nobody else but those of `allow_emails`; default everybody. An empty list does not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_subjects: Option<Vec<String>>,

    /// The verified addresses (`jane@example.com`), domains (`example.com`) and domains' subdomains (`*.example.com`) that
    /// may pass, and nobody else but `allow_subjects`; default everybody. An empty list does not start. Addresses of
    /// Apple's relay tell nothing of the domain behind them.
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_emails: Option<Vec<String>>,

    /// The subjects who may not pass, whatever else is said; default nobody.
    deny_subjects: Vec<String>,

    /// The verified addresses, domains and subdomains that may not pass, whatever else is said; default none. Who hides
    /// their address is not found by it, nor is who has an unverified one or none: deny the subject, refuse relay
    /// addresses, set `require_verified_email`. A warning at the start says where that is not set.
    deny_emails: Vec<String>,
}

/// How [`PrivateRelay`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "PrivateRelay", rename_all = "snake_case")]
enum PrivateRelayKey {
    #[serde(rename = "allow")]
    Allowed,
    #[serde(rename = "refuse")]
    Refused,
}

/// How [`RealUserStatus`] is written.
mod real_user_status {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::RealUserStatus;

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "RealUserStatus", rename_all = "snake_case")]
    enum Key {
        Unsupported,
        Unknown,
        LikelyReal,
    }

    #[derive(Serialize, Deserialize)]
    struct Written(#[serde(with = "Key")] RealUserStatus);

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        clippy::ref_option,
        reason = "serde hands over a reference to the field"
    )]
    pub(super) fn serialize<S: Serializer>(
        status: &Option<RealUserStatus>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        status.map(Written).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<RealUserStatus>, D::Error> {
        Ok(Some(Written::deserialize(deserializer)?.0))
    }
}

impl PolicySection {
    /// Whether it says whose users may pass.
    pub(super) const fn names_issuers(&self) -> bool {
        self.issuers.is_some()
    }

    /// `at` is the name of the section: `policy`, or that of a route's.
    pub(super) fn check(self, problems: &mut Problems, at: &str) -> Option<PolicyRules> {
        let Self {
            issuers,
            required_claims,
            require_email,
            require_verified_email,
            private_relay,
            minimum_real_user_status,
            allow_subjects,
            allow_emails,
            deny_subjects,
            deny_emails,
        } = self;

        let issuers = check_issuers(problems, at, issuers);
        let email = match (require_verified_email, require_email) {
            (true, _) => EmailRule::Verified,
            (false, true) => EmailRule::Present,
            (false, false) => EmailRule::Optional,
        };
        if required_claims.iter().any(String::is_empty) {
            problems.note(&format!("{at}.required_claims"), "must not hold an empty name");
        }
        let allow = check_allow(problems, at, allow_subjects, allow_emails);
        let deny = check_members(problems, &format!("{at}.deny"), deny_subjects, &deny_emails);
        let (allow, deny) = (allow?, deny?);
        Some(PolicyRules {
            issuers: issuers?,
            client_ids: None,
            deny,
            allow,
            required_claims: required_claims.into_iter().map(Into::into).collect(),
            email,
            private_relay,
            minimum_real_user_status,
        })
    }
}

/// As with client ids, an empty list is no permission, which nobody means.
#[expect(clippy::option_option, reason = "a problem, no list, a list")]
fn check_issuers(
    problems: &mut Problems,
    at: &str,
    issuers: Option<Vec<String>>,
) -> Option<Option<Vec<Issuer>>> {
    let Some(issuers) = issuers else { return Some(None) };
    if issuers.is_empty() || issuers.iter().any(String::is_empty) {
        let what = "must name issuers: leave it out to let the users of all pass";
        problems.note(&format!("{at}.issuers"), what);
        return None;
    }
    Some(Some(issuers.iter().map(|issuer| Issuer::new(issuer)).collect()))
}

/// An allow list that is there and empty would admit nobody, which nobody means.
#[expect(clippy::option_option, reason = "a problem, no list, a list")]
fn check_allow(
    problems: &mut Problems,
    at: &str,
    subjects: Option<Vec<String>>,
    emails: Option<Vec<String>>,
) -> Option<Option<Members>> {
    let mut is_empty = |key: &str, list: &Option<Vec<String>>| {
        let empty = list.as_ref().is_some_and(Vec::is_empty);
        if empty {
            problems
                .note(&format!("{at}.{key}"), "must not be empty: leave it out to allow everybody");
        }
        empty
    };
    let empty = [is_empty("allow_subjects", &subjects), is_empty("allow_emails", &emails)];
    if empty.contains(&true) {
        return None;
    }
    if subjects.is_none() && emails.is_none() {
        return Some(None);
    }
    check_members(
        problems,
        &format!("{at}.allow"),
        subjects.unwrap_or_default(),
        &emails.unwrap_or_default(),
    )
    .map(Some)
}

/// Problems name an entry by its place: what stands there is a person's.
fn check_members(
    problems: &mut Problems,
    list: &str,
    subjects: Vec<String>,
    emails: &[String],
) -> Option<Members> {
    let mut good = true;
    for (place, subject) in (1..).zip(&subjects) {
        if subject.is_empty() || !subject.bytes().all(|byte| byte.is_ascii_graphic()) {
            good = false;
            let what = format!("entry {place} is no subject: Apple's are visible ASCII characters");
            problems.note(&format!("{list}_subjects"), what);
        }
    }
    let mut patterns = Vec::with_capacity(emails.len());
    for (place, email) in (1..).zip(emails) {
        match email.parse::<EmailPattern>() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                good = false;
                problems.note(&format!("{list}_emails"), format!("entry {place} {error}"));
            }
        }
    }
    good.then(|| Members::new(subjects, patterns))
}
