//! Why a token is good or not, step by step, for people who have to mend something.
//!
//! What is good is not decided here: [`Explainer::explain`] asks the same functions in the same order as a
//! [`Verifier`](super::Verifier), but for its cache, and says which one refused. Only what it *shows* of a token is read
//! without a signature, by a decoder of its own (`found.rs`) that nothing else can name.

mod found;
mod mend;
mod steps;
mod text;

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};
use serde_json::Value;

use self::{found::Found, steps::Step};
use super::{
    claims::ClaimRules,
    error::{FetchFault, TokenFault},
    identity::{ClientId, ClientIds, Identity},
    jwks::{self, Issuer, JwkSet, KeyId, VerifyingKey},
    printable::Printable,
    token::UnverifiedToken,
};
use crate::clock::UnixTime;

/// Keys and rules to explain tokens by.
///
/// ```
/// use siwa_proxy::{ClientIds, clock::UnixTime, verify::{Issuer, explain::{Explainer, ListedKeys}}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = std::fs::read("tests/fixtures/jwks/2026-06-30-three-keys.json")?;
/// let keys = ListedKeys::parse(&keys, Issuer::apple())?;
/// let explainer = Explainer::new(keys, ClientIds::new(["com.example.app"])?);
///
/// let explanation = explainer.explain("no.token", UnixTime::from_secs(1_700_000_000));
/// assert!(!explanation.is_good());
/// assert!(explanation.to_string().contains("parts between dots: 2, not 3"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an explainer does nothing until it explains"]
pub struct Explainer {
    keys: ListedKeys,
    rules: ClaimRules,
}

impl Explainer {
    /// Explains tokens for `client_ids`, with the leeway that a [`Verifier`](super::Verifier) has by default.
    pub fn new(keys: ListedKeys, client_ids: ClientIds) -> Self {
        Self { keys, rules: ClaimRules::new(client_ids, ClaimRules::LEEWAY) }
    }

    /// The same with another leeway: see [`VerifierBuilder::leeway`](super::VerifierBuilder::leeway).
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { rules: self.rules.with_leeway(leeway), ..self }
    }

    /// The same with a limit to the age of tokens: see
    /// [`VerifierBuilder::max_token_age`](super::VerifierBuilder::max_token_age).
    pub fn max_token_age(self, age: Duration) -> Self {
        Self { rules: self.rules.with_max_token_age(age), ..self }
    }

    /// Judges `text` as a token at `now` and tells each step.
    #[must_use]
    pub fn explain(&self, text: &str, now: UnixTime) -> Explanation {
        self.tell(text, now, self.judge(text, now).err())
    }

    /// The same with a `last` check besides, which only the caller can make: who may pass is not this module's to know.
    #[must_use]
    pub fn explain_with<F>(&self, text: &str, now: UnixTime, last: LastCheck<F>) -> Explanation
    where
        F: FnOnce(&Identity) -> Result<(), Problem>,
    {
        let LastCheck { name, asks, judge } = last;
        let (mut explanation, outcome) = match self.judge(text, now) {
            Err(fault) => (self.tell(text, now, Some(fault)), Outcome::NotReached),
            Ok(identity) => {
                let problem = judge(&identity).err();
                let outcome = if problem.is_none() { Outcome::Ok } else { Outcome::Failed };
                (Explanation { problem, ..self.tell(text, now, None) }, outcome)
            }
        };
        explanation.checks.push(Check { name, asks, outcome });
        explanation
    }

    fn tell(&self, text: &str, now: UnixTime, fault: Option<TokenFault>) -> Explanation {
        let Self { keys, rules } = self;
        let failed = fault.as_ref().map(Step::that_refused);
        let problem = fault.map(|fault| Problem {
            code: fault.code(),
            message: with_causes(&fault),
            mend: mend::mend(&fault, text, keys, rules),
        });
        let check = |step: Step| Check {
            name: step.name(),
            asks: step.asks(keys, rules),
            outcome: step.outcome(failed),
        };
        let checks = Step::ALL.map(check).into();
        let (header, claims) = found::read(text);
        Explanation { judged_at: now, header, claims, checks, problem }
    }

    /// The way of a [`Verifier`](super::Verifier) with every key at hand: of several under one name, the one that fits.
    fn judge(&self, text: &str, now: UnixTime) -> Result<Identity, TokenFault> {
        let token = UnverifiedToken::parse(text)?;
        let key_id = token.key_id()?;
        let mut refused = None;
        for key in self.keys.named(key_id) {
            match token.open(key, |claims| self.rules.accept(claims, now)) {
                Err(fault) if fault.is_about_the_key() => refused = refused.or(Some(fault)),
                judged => return judged,
            }
        }
        Err(refused.unwrap_or_else(|| TokenFault::UnknownKey { key_id: key_id.clone() }))
    }
}

fn with_causes(fault: &TokenFault) -> String {
    let mut message = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

/// A check that is made last, of whomever the token proves.
#[derive(Clone, Debug)]
pub struct LastCheck<F> {
    /// What is checked.
    pub name: &'static str,
    /// What a good token has there.
    pub asks: String,
    /// Says what is wrong, if anything is.
    pub judge: F,
}

/// The keys to explain with, and the names of all that their issuers listed, usable or not.
#[derive(Debug)]
pub struct ListedKeys(Vec<ListedSet>);

/// The keys of one issuer.
#[derive(Debug)]
struct ListedSet {
    set: JwkSet,
    names: Vec<Box<str>>,
    issuer: Issuer,
}

impl ListedKeys {
    /// Reads the JWK Set (RFC 7517 §5) of `issuer`.
    ///
    /// # Errors
    ///
    /// [`FetchFault`] when it is none, or holds no usable key.
    pub fn parse(text: &[u8], issuer: Issuer) -> Result<Self, FetchFault> {
        let set = JwkSet::parse(text, &issuer)?;
        let keys =
            jwks::wire_keys(text).map_err(|error| FetchFault::NotAJwkSet(Arc::new(error)))?;
        let kid = |key: &Value| key.get("kid").and_then(Value::as_str).map(Box::from);
        let names = keys.iter().filter_map(kid).collect();
        Ok(Self(vec![ListedSet { set, names, issuer }]))
    }

    /// These keys and `further` ones, of another issuer.
    #[must_use]
    pub fn and(mut self, further: Self) -> Self {
        self.0.extend(further.0);
        self
    }

    fn named(&self, key_id: &KeyId) -> impl Iterator<Item = &VerifyingKey> {
        self.0.iter().filter_map(|source| source.set.find(key_id)).map(|key| &**key)
    }

    /// Whether some issuer listed a key of that name, usable or not.
    fn lists(&self, name: &str) -> bool {
        self.0.iter().any(|source| source.names.iter().any(|listed| **listed == *name))
    }

    fn issuers(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|source| source.issuer.as_str()).collect();
        names.join(" or ")
    }
}

/// How a token was judged. `Display` and `Serialize` show what the token says, personal data and all: they are for the eyes
/// of whoever holds the token anyway. `Debug` does not.
#[derive(Serialize)]
pub struct Explanation {
    #[serde(serialize_with = "as_text")]
    judged_at: UnixTime,
    header: Option<Found>,
    claims: Option<Found>,
    checks: Vec<Check>,
    problem: Option<Problem>,
}

impl Explanation {
    /// Whether the token proves somebody, and the last check, if there is one, has nothing against them.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.problem.is_none()
    }

    /// Every check, in the order in which they are made.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What is wrong, if anything: the first check that failed.
    #[must_use]
    pub const fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }
}

impl fmt::Debug for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explanation").field("problem", &self.problem).finish_non_exhaustive()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference to the field")]
fn as_text<S: Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// One check of a token.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// What a good token has there.
    pub asks: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Ok,
    /// The token is refused for this.
    Failed,
    /// The token was refused before.
    NotReached,
}

/// What is wrong with a token, and what to do about it.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// The stable reason code, as in the proxy's answers.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub mend: String,
}

impl ListedKeys {
    /// Those that can be used; what their issuer listed besides makes no key.
    fn names(&self) -> String {
        let usable = |source: &ListedSet, kid: &str| {
            KeyId::new(kid).is_some_and(|kid| source.set.find(&kid).is_some())
        };
        joined(self.0.iter().flat_map(|source| {
            source.names.iter().map(|kid| &**kid).filter(move |kid| usable(source, kid))
        }))
    }
}

impl ClaimRules {
    fn client_id_names(&self) -> String {
        joined(self.client_ids().iter().map(ClientId::as_str))
    }
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| Printable::new(name).to_string()).collect::<Vec<_>>().join(", ")
}

fn shown(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
