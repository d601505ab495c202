//! For each fault the sentence that says what to do, and who can.

use super::{
    super::{
        claims::ClaimRules,
        error::{ClaimProblem, Malformation, TokenFault},
        identity::ClientId,
        printable::Printable,
        seal::Purpose,
    },
    ListedKeys, shown,
};
use crate::clock::UnixTime;

/// A signature alone has 342 characters.
const SHORTEST: usize = 342;
const NO_TOKEN: &str = "send the whole identity token (`identityToken` in an app, `id_token` on the web): it is often mixed up with the authorization code, the user identifier or a part of itself";

const NO_SESSION: &str = "send the identity token: this is of a session of this proxy, and only a running one can open it";

pub(super) fn mend(
    fault: &TokenFault,
    text: &str,
    keys: &ListedKeys,
    rules: &ClaimRules,
) -> String {
    match fault {
        TokenFault::Oversized { .. } => {
            "send the identity token alone: Apple's have 640 to 880 bytes, so something was added to this one or sent in its place".to_owned()
        }
        TokenFault::Malformed(malformation) => of_malformation(malformation, text).to_owned(),
        TokenFault::UnsupportedHeader { parameter } => format!(
            "Apple sends no `{parameter}`: find out who made this token, as it was not Apple"
        ),
        TokenFault::Algorithm { .. } => {
            "find out who made this token, as it was not Apple: a session token of your own, or of another provider, is often sent by mistake".to_owned()
        }
        TokenFault::UnknownKey { key_id } => of_unknown_key(key_id.as_str(), keys),
        TokenFault::Signature(_) => {
            "copy the token anew and whole, as its text was changed or cut after it was signed; a token of a simulator needs that simulator's keys".to_owned()
        }
        TokenFault::Claim { claim, problem } => of_claim(claim, *problem),
        TokenFault::Issuer { expected, .. } => format!(
            "send a token of {expected}, to whom the signing key belongs; if this one is a simulator's, name its issuer in the settings"
        ),
        TokenFault::Audience { found } => of_audience(found, rules),
        TokenFault::Expired { expired_at, now } => format!(
            "ask the app for a new token: this one expired {} ago, and Apple's tokens live 24 hours",
            since(*expired_at, *now)
        ),
        TokenFault::NotYetValid { claim, valid_from, now } => format!(
            "set this machine's clock: by it, the token's `{claim}` is {} ahead, and the leeway is {}",
            since(*now, *valid_from),
            shown(rules.leeway())
        ),
        TokenFault::TooOld { issued_at, limit, now } => format!(
            "ask the app for a new token: this one was issued {} ago; if {} is too short for your users, raise max_token_age",
            since(*issued_at, *now),
            shown(*limit)
        ),
        TokenFault::Nonce(_) | TokenFault::CodeHash(_) | TokenFault::AccessTokenHash(_) => {
            "sign in again, and send the token together with what that sign-in began with".to_owned()
        }
        TokenFault::Revoked { .. } => {
            "have the user sign in again: they withdrew their consent, or deleted the account, after this token was issued".to_owned()
        }
        TokenFault::Notification => {
            "send it to where notifications are received: it tells something about a user, and signs nobody in".to_owned()
        }
        TokenFault::Session(_) => NO_SESSION.to_owned(),
    }
}

fn since(earlier: UnixTime, later: UnixTime) -> String {
    shown(later.saturating_since(earlier))
}

fn of_malformation(malformation: &Malformation, text: &str) -> &'static str {
    match malformation {
        Malformation::Parts(_) if Purpose::of(text).is_some() => NO_SESSION,
        Malformation::Parts(5) => {
            "send the identity token: five parts are an encrypted token (JWE), which Apple does not send"
        }
        Malformation::Parts(_) | Malformation::Empty(_) => NO_TOKEN,
        Malformation::Character if text.contains(char::is_whitespace) => {
            "send the token in one line: it holds white space, as a copy from a wrapped display does"
        }
        Malformation::Character => {
            "send the token as it came from Apple, without padding (`=`), quotes or encoding"
        }
        Malformation::Base64(_) | Malformation::Json(_, _) | Malformation::HeaderParameter(_)
            if text.len() < SHORTEST =>
        {
            NO_TOKEN
        }
        Malformation::Base64(_) => {
            "copy the token anew and whole: one of its characters was changed or is missing"
        }
        Malformation::Json(_, _) | Malformation::HeaderParameter(_) => {
            "find out who made this token, as Apple's hold a `kid`, an `alg` and each member once"
        }
    }
}

fn of_unknown_key(key_id: &str, keys: &ListedKeys) -> String {
    if keys.lists(key_id) {
        return format!(
            "ask whoever publishes the keys: {key_id} is listed, but is no RSA key of 2048 to 8192 bits for RS256 signatures"
        );
    }
    format!(
        "fetch the keys anew if they are from a file: the set has {}; a token of a simulator needs that simulator's keys",
        keys.names()
    )
}

fn of_claim(claim: &str, problem: ClaimProblem) -> String {
    let wrong = match problem {
        ClaimProblem::Missing => "always sends",
        ClaimProblem::WrongType => "sends another type of",
        ClaimProblem::Illegal => "never puts such characters into",
    };
    format!(
        "find out who made this token: Apple {wrong} `{claim}`; a simulator's template can be mended"
    )
}

fn of_audience(found: &Printable, rules: &ClaimRules) -> String {
    let ours = rules.client_id_names();
    if found.as_str() == ClientId::EXPO_GO {
        return format!(
            "build your app as a development build with its own bundle id: {found} is Expo Go, which all projects share, so accepting it admits everybody's users; your client ids are {ours}"
        );
    }
    format!(
        "your client ids are {ours}: add {found} to them if it is the bundle id or Services ID of an app of yours; if it is not, the token was issued to somebody else's app and is rightly refused"
    )
}
