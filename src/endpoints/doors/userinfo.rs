//! Who the caller is, as JSON: for front ends, and for people with `curl`. The names are those of the token's claims, most of
//! which are OpenID Connect's (<https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims>).

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE,
        CONTENT_TYPE,
    },
    request::Parts,
};
use serde::Serialize;

use super::super::{
    cors::is_preflight, exchange::Exchange, gate::Gate, personal_claims::PersonalClaims,
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
            // Strings, flags and numbers: serialising them cannot fail.
            let mut text = serde_json::to_vec(&UserInfo::of(&identity, gate)).unwrap_or_default();
            text.push(b'\n');
            let mut response = Response::new(text.into());
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            Ok(response)
        }
        _ if is_preflight(&head.method, &head.headers) => Ok(preflight()),
        _ => Err(Rejection::MethodNotAllowed { allow: "GET, HEAD" }),
    }
}

/// A page must ask before it may send `Authorization` (<https://fetch.spec.whatwg.org/#http-cors-protocol>). Whether pages
/// of its origin may read the answer is said beside this, as on every answer of ours.
fn preflight() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
