//! Why a token is good or not, step by step, for people who have to mend something.
//!
//! What is good is not decided here: [`explain`] asks the same functions in the same order as a
//! [`Verifier`](super::Verifier), but for its cache, and says which one refused. Only what it *shows* of a token is read
//! without a signature, by a decoder of its own (`found.rs`) that nothing else can name.

mod found;
mod mend;
mod text;

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use self::found::Found;
use super::{
    claims::ClaimRules,
    error::{FetchFault, Malformation, Part, Printable, TokenFault},
    identity::{ClientId, Identity},
    jwks::{Issuer, JwkSet, KeyId},
    token::UnverifiedToken,
};
use crate::clock::UnixTime;

/// Judges `text` as a token at `now` and tells each step.
///
/// ```
/// use siwa_proxy::{ClientIds, clock::UnixTime, verify::{ClaimRules, Issuer, explain::{self, ListedKeys}}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = std::fs::read("tests/fixtures/jwks/2026-06-30-three-keys.json")?;
/// let keys = ListedKeys::parse(&keys, Issuer::apple())?;
/// let rules = ClaimRules::new(ClientIds::new(["com.example.app"])?, ClaimRules::LEEWAY);
///
/// let explanation = explain::explain("no.token", &keys, &rules, UnixTime::from_secs(1_700_000_000));
/// assert!(!explanation.is_good());
/// assert!(explanation.to_string().contains("it has 2 parts between dots"));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn explain(text: &str, keys: &ListedKeys, rules: &ClaimRules, now: UnixTime) -> Explanation {
    let fault = judge(text, keys, rules, now).err();
    let failed = fault.as_ref().map(Step::that_refused);
    let problem = fault.map(|fault| Problem {
        code: fault.code(),
        message: with_causes(&fault),
        mend: mend::mend(&fault, text, keys, rules),
    });
    let checks = Step::ALL.map(|step| Check {
        name: step.name(),
        asks: step.asks(keys, rules),
        outcome: step.outcome(failed),
    });
    let (header, claims) = found::read(text);
    Explanation { judged_at: now, header, claims, checks, problem }
}

/// The way of a [`Verifier`](super::Verifier) with every key at hand.
fn judge(
    text: &str,
    keys: &ListedKeys,
    rules: &ClaimRules,
    now: UnixTime,
) -> Result<Identity, TokenFault> {
    let token = UnverifiedToken::parse(text)?;
    let key_id = token.key_id()?;
    let unknown = || TokenFault::UnknownKey { key_id: key_id.clone() };
    let key = keys.set.find(key_id).ok_or_else(unknown)?;
    rules.accept(token.open(key)?, now)
}

fn with_causes(fault: &TokenFault) -> String {
    let mut message = fault.to_string();
    // The first cause is a part of the fault's own message.
    let mut cause = fault.source().and_then(|cause| cause.source());
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

/// The keys to explain with, and the names of all that their issuer listed, usable or not.
#[derive(Debug)]
pub struct ListedKeys {
    set: JwkSet,
    listed: Vec<Box<str>>,
    issuer: Issuer,
}

impl ListedKeys {
    /// Reads the JWK Set (RFC 7517 §5) of `issuer`.
    ///
    /// # Errors
    ///
    /// [`FetchFault`] when it is none, or holds no usable key.
    pub fn parse(text: &[u8], issuer: Issuer) -> Result<Self, FetchFault> {
        #[derive(Deserialize)]
        struct Listed {
            keys: Vec<Value>,
        }
        let set = JwkSet::parse(text, &issuer)?;
        let Listed { keys } = serde_json::from_slice(text)
            .map_err(|error| FetchFault::NotAJwkSet(Arc::new(error)))?;
        let kid = |key: &Value| key.get("kid").and_then(Value::as_str).map(Box::from);
        Ok(Self { set, listed: keys.iter().filter_map(kid).collect(), issuer })
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
    checks: [Check; Step::ALL.len()],
    problem: Option<Problem>,
}

impl Explanation {
    /// Whether the token proves somebody.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.problem.is_none()
    }

    /// Every check, in the order in which they are made.
    #[must_use]
    pub const fn checks(&self) -> &[Check] {
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

/// The checks, in the order in which [`UnverifiedToken`], the keys and [`ClaimRules`] make them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Size,
    Shape,
    Header,
    Algorithm,
    Key,
    Signature,
    Json,
    Kind,
    Issuer,
    Audience,
    Issued,
    NotBefore,
    Expiry,
    Subject,
    OtherClaims,
    Age,
}

impl Step {
    const ALL: [Self; 16] = [
        Self::Size,
        Self::Shape,
        Self::Header,
        Self::Algorithm,
        Self::Key,
        Self::Signature,
        Self::Json,
        Self::Kind,
        Self::Issuer,
        Self::Audience,
        Self::Issued,
        Self::NotBefore,
        Self::Expiry,
        Self::Subject,
        Self::OtherClaims,
        Self::Age,
    ];

    fn that_refused(fault: &TokenFault) -> Self {
        match fault {
            TokenFault::Oversized { .. } => Self::Size,
            TokenFault::Malformed(malformation) => Self::that_found(malformation),
            TokenFault::UnsupportedHeader { .. } => Self::Header,
            TokenFault::Algorithm { .. } => Self::Algorithm,
            TokenFault::UnknownKey { .. } => Self::Key,
            TokenFault::Signature(_) => Self::Signature,
            TokenFault::Notification => Self::Kind,
            TokenFault::Issuer { .. } => Self::Issuer,
            TokenFault::Audience { .. } => Self::Audience,
            TokenFault::Expired { .. } => Self::Expiry,
            TokenFault::TooOld { .. } => Self::Age,
            TokenFault::Claim { claim, .. } | TokenFault::NotYetValid { claim, .. } => {
                Self::of_claim(claim)
            }
            // Only callers who expect something ask for these two.
            TokenFault::Nonce(_) | TokenFault::CodeHash(_) => Self::OtherClaims,
        }
    }

    const fn that_found(malformation: &Malformation) -> Self {
        match malformation {
            Malformation::Parts(_) | Malformation::Empty(_) | Malformation::Character => {
                Self::Shape
            }
            Malformation::HeaderMember(_) => Self::Header,
            Malformation::Base64(part) | Malformation::Json(part, _) => match part {
                Part::Header => Self::Header,
                Part::Claims => Self::Json,
                Part::Signature => Self::Signature,
            },
        }
    }

    fn of_claim(claim: &str) -> Self {
        match claim {
            "iss" => Self::Issuer,
            "aud" => Self::Audience,
            "iat" => Self::Issued,
            "nbf" => Self::NotBefore,
            "exp" => Self::Expiry,
            "sub" => Self::Subject,
            _ => Self::OtherClaims,
        }
    }

    fn outcome(self, failed: Option<Self>) -> Outcome {
        match failed {
            Some(failed) if self == failed => Outcome::Failed,
            Some(failed) if self > failed => Outcome::NotReached,
            Some(_) | None => Outcome::Ok,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Shape => "shape",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Json => "claims",
            Self::Kind => "kind",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Issued => "issued",
            Self::NotBefore => "not before",
            Self::Expiry => "expiry",
            Self::Subject => "subject",
            Self::OtherClaims => "other claims",
            Self::Age => "age",
        }
    }

    /// What a good token has there.
    fn asks(self, keys: &ListedKeys, rules: &ClaimRules) -> String {
        let give_or_take = || format!("give or take {}", shown(rules.leeway()));
        match self {
            Self::Size => format!("at most {} bytes", UnverifiedToken::MAX_BYTES),
            Self::Shape => "three parts of base64url between dots".to_owned(),
            Self::Header => "a JSON object that asks for nothing unsupported".to_owned(),
            Self::Algorithm => "RS256".to_owned(),
            Self::Key => format!("`kid` is one of {}", keys.names()),
            Self::Signature => "made with that key over exactly this text".to_owned(),
            Self::Json => "a JSON object with unique members".to_owned(),
            Self::Kind => "an identity token, no server-to-server notification".to_owned(),
            Self::Issuer => format!("`iss` is {}", keys.issuer.as_str()),
            Self::Audience => format!("`aud` is one of {}", rules.client_id_names()),
            Self::Issued => format!("`iat` is not ahead, {}", give_or_take()),
            Self::NotBefore => format!("`nbf`, if there, is not ahead, {}", give_or_take()),
            Self::Expiry => format!("`exp` is ahead, {}", give_or_take()),
            Self::Subject => "`sub` is 1 to 255 visible ASCII characters".to_owned(),
            Self::OtherClaims => "of the types that Apple sends".to_owned(),
            Self::Age => rules.max_token_age().map_or_else(
                || "no limit".to_owned(),
                |age| format!("`iat` is at most {} ago, {}", shown(age), give_or_take()),
            ),
        }
    }
}

impl ListedKeys {
    /// Those that can be used; what their issuer listed besides makes no key.
    fn names(&self) -> String {
        let usable =
            |kid: &&Box<str>| KeyId::new(kid).is_some_and(|kid| self.set.find(&kid).is_some());
        listed(self.listed.iter().filter(usable).map(|kid| &**kid))
    }
}

impl ClaimRules {
    fn client_id_names(&self) -> String {
        listed(self.client_ids().iter().map(ClientId::as_str))
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| Printable::new(name).to_string()).collect::<Vec<_>>().join(", ")
}

fn shown(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
