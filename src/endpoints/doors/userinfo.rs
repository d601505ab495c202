//! Who the caller is, as JSON: for front ends, and for people with `curl`. The names are those of the token's claims, most of
//! which are OpenID Connect's (<https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims>).

use bytes::Bytes;
use http::{Method, Response, request::Parts};
use serde::Serialize;

use super::super::{
    cors::{answer_preflight, is_preflight},
    exchange::Exchange,
    gate::Gate,
    json::json,
    personal_claims::PersonalClaims,
};
use crate::{
    authn::Rejection,
    verify::{ClientId, Identity},
};

/// What is told of the caller, and left out where Apple said nothing.
#[derive(Serialize)]
struct UserInfo<'a> {
    iss: &'a str,
    sub: &'a str,
    #[serde(flatten)]
    claims: PersonalClaims<'a>,
    aud: Vec<&'a str>,
    /// Seconds since 1970, as in the token.
    iat: u64,
    exp: u64,
}

impl<'a> UserInfo<'a> {
    /// The email address is told where the application would be told it.
    fn of(identity: &'a Identity, gate: &Gate) -> Self {
        Self {
            iss: identity.issuer().as_str(),
            sub: identity.subject().as_str(),
            claims: PersonalClaims::of(identity, gate.told_email_of(identity)),
            aud: identity.audience().map(ClientId::as_str).collect(),
            iat: identity.issued_at().as_secs(),
            exp: identity.expires_at().as_secs(),
        }
    }
}

pub(super) async fn answer(
    gate: &Gate,
    head: &Parts,
    exchange: &mut Exchange,
) -> Result<Response<Bytes>, Rejection> {
    match head.method {
        Method::GET | Method::HEAD => {
            let identity = gate.caller(&head.method, &head.headers, exchange).await?;
            Ok(json(&UserInfo::of(&identity, gate)))
        }
        // A page must ask before it may send `Authorization`.
        _ if is_preflight(&head.method, &head.headers) => {
            Ok(answer_preflight("GET, HEAD", "Authorization"))
        }
        _ => Err(Rejection::MethodNotAllowed { allow: "GET, HEAD" }),
    }
}
