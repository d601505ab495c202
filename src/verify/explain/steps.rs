//! The checks of a token: their names, their order, what each asks, and which of them each fault belongs to.

use super::{
    super::{
        claims::ClaimRules,
        error::{Malformation, Part, TokenFault},
        token::UnverifiedToken,
    },
    ListedKeys, Outcome, shown,
};

/// The checks, in the order in which [`UnverifiedToken`], the keys and [`ClaimRules`] make them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
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
    pub(super) const ALL: [Self; 16] = [
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

    pub(super) fn that_refused(fault: &TokenFault) -> Self {
        match fault {
            TokenFault::Oversized { .. } => Self::Size,
            TokenFault::Malformed(malformation) => Self::that_found(malformation),
            TokenFault::UnsupportedHeader { .. } => Self::Header,
            TokenFault::Algorithm { .. } => Self::Algorithm,
            TokenFault::UnknownKey { .. } => Self::Key,
            TokenFault::Signature(_) => Self::Signature,
            TokenFault::Notification | TokenFault::Session(_) => Self::Kind,
            TokenFault::Issuer { .. } => Self::Issuer,
            TokenFault::Audience { .. } => Self::Audience,
            TokenFault::Expired { .. } => Self::Expiry,
            // Only a running proxy knows of revocations: all that a token says of it is its age.
            TokenFault::TooOld { .. } | TokenFault::Revoked { .. } => Self::Age,
            TokenFault::Claim { claim, .. } | TokenFault::NotYetValid { claim, .. } => {
                Self::of_claim(claim)
            }
            // Only callers who expect something ask for these.
            TokenFault::Nonce(_) | TokenFault::CodeHash(_) | TokenFault::AccessTokenHash(_) => {
                Self::OtherClaims
            }
        }
    }

    const fn that_found(malformation: &Malformation) -> Self {
        match malformation {
            Malformation::Parts(_) | Malformation::Empty(_) | Malformation::Character => {
                Self::Shape
            }
            Malformation::HeaderParameter(_) => Self::Header,
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

    pub(super) fn outcome(self, failed: Option<Self>) -> Outcome {
        match failed {
            Some(failed) if self == failed => Outcome::Failed,
            Some(failed) if self > failed => Outcome::NotReached,
            Some(_) | None => Outcome::Ok,
        }
    }

    pub(super) const fn name(self) -> &'static str {
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
    pub(super) fn asks(self, keys: &ListedKeys, rules: &ClaimRules) -> String {
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
            Self::Issuer => format!("`iss` is {}", keys.issuers()),
            Self::Audience => format!("`aud` is one of {}", rules.client_id_names()),
            Self::Issued => format!("`iat` is not in the future, {}", give_or_take()),
            Self::NotBefore => format!("`nbf`, if there, is not in the future, {}", give_or_take()),
            Self::Expiry => format!("`exp` is in the future, {}", give_or_take()),
            Self::Subject => "`sub` is 1 to 255 visible ASCII characters".to_owned(),
            Self::OtherClaims => "of the types that Apple sends".to_owned(),
            Self::Age => rules.max_token_age().map_or_else(
                || "no limit".to_owned(),
                |age| format!("`iat` is at most {} ago, {}", shown(age), give_or_take()),
            ),
        }
    }
}
