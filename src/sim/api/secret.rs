//! Reading client secrets as Apple reads them (<https://developer.apple.com/documentation/technotes/tn3107>).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use thiserror::Error;

use super::super::{State, teams::TeamKey};

/// For whom a secret is.
const AUDIENCE: &str = "https://appleid.apple.com";
/// How far ahead a secret may end, in seconds: about half a year.
const LONGEST: u64 = 15_777_000;

/// What is wrong with a client secret. To Apple it is `invalid_client`, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(in super::super) enum SecretFault {
    #[error("the client secret is no JWT")]
    NoJwt,
    #[error("the client secret is not signed with ES256")]
    Algorithm,
    #[error("no key has this kid")]
    UnknownKey,
    #[error("the key is not for this client")]
    OtherGroup,
    #[error("iss is not the team of the key")]
    Issuer,
    #[error("aud is not https://appleid.apple.com")]
    Audience,
    #[error("sub is not the client_id")]
    Subject,
    #[error("the client secret has expired")]
    Expired,
    #[error("exp is more than 15777000 seconds ahead")]
    TooLong,
    #[error("iat is in the future")]
    IssuedInFuture,
    #[error("the signature is DER, and not r and s in 64 bytes")]
    Der,
    #[error("the signature is wrong")]
    Signature,
}

/// Whose `secret` it is, if `client_id` may use it now.
pub(super) fn check(state: &State, secret: &str, client_id: &str) -> Result<TeamKey, SecretFault> {
    let (signed, signature) = secret.rsplit_once('.').ok_or(SecretFault::NoJwt)?;
    let (header, claims) = signed.split_once('.').ok_or(SecretFault::NoJwt)?;
    let (header, claims) = (json(header)?, json(claims)?);
    if header["alg"] != "ES256" {
        return Err(SecretFault::Algorithm);
    }
    let kid = header["kid"].as_str().ok_or(SecretFault::UnknownKey)?;
    let key = state.teams.find(kid).ok_or(SecretFault::UnknownKey)?;
    check_signature(&key, signed, signature)?;
    check_claims(&claims, &key, client_id, state.clock.now().as_secs())?;
    if key.serves(client_id) { Ok(key) } else { Err(SecretFault::OtherGroup) }
}

fn json(part: &str) -> Result<Value, SecretFault> {
    let text = URL_SAFE_NO_PAD.decode(part).map_err(|_no_reason| SecretFault::NoJwt)?;
    serde_json::from_slice(&text).map_err(|_no_reason| SecretFault::NoJwt)
}

fn check_signature(key: &TeamKey, signed: &str, signature: &str) -> Result<(), SecretFault> {
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_no_reason| SecretFault::NoJwt)?;
    // A SEQUENCE of 68 to 72 bytes.
    if signature.len() > 64 && signature.first() == Some(&0x30) {
        return Err(SecretFault::Der);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.public)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_no_reason| SecretFault::Signature)
}

fn check_claims(
    claims: &Value,
    key: &TeamKey,
    client_id: &str,
    now: u64,
) -> Result<(), SecretFault> {
    let exp = claims["exp"].as_u64().ok_or(SecretFault::Expired)?;
    let is_ahead = |iat: u64| iat > now;
    let first = [
        (claims["iss"] != key.team_id, SecretFault::Issuer),
        (claims["aud"] != AUDIENCE, SecretFault::Audience),
        (claims["sub"] != client_id, SecretFault::Subject),
        (claims["iat"].as_u64().is_none_or(is_ahead), SecretFault::IssuedInFuture),
        (exp <= now, SecretFault::Expired),
        (exp - now.min(exp) > LONGEST, SecretFault::TooLong),
    ]
    .into_iter()
    .find(|(is_wrong, _)| *is_wrong);
    first.map_or(Ok(()), |(_, fault)| Err(fault))
}
