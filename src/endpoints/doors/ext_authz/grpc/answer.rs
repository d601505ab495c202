//! A decision as a `CheckResponse`.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CACHE_CONTROL, SET_COOKIE},
};

use super::{
    Allowed, ForBrowser, ProxyBody,
    messages::{
        self, CheckResponse, DeniedHttpResponse, HeaderAppendAction, HeaderValueOption,
        HttpResponse, HttpStatus, Kind, OkHttpResponse, Status, Struct, Value,
    },
    unary,
};
use crate::{authn::Rejection, verify::Identity};

/// Lets the request through.
pub(super) fn allow(allowed: &Allowed) -> Response<ProxyBody> {
    let Allowed { identity, set, remove, set_cookie } = allowed;
    unary::answer(&CheckResponse {
        status: Some(Status::default()),
        http_response: Some(HttpResponse::Ok(OkHttpResponse {
            headers: overwriting(set),
            headers_to_remove: remove.iter().map(HeaderName::to_string).collect(),
            response_headers_to_add: set_cookie.iter().flat_map(beside_the_answer).collect(),
        })),
        dynamic_metadata: identity.as_deref().map(metadata_of),
    })
}

/// Has the gateway answer its client with `denied`.
pub(super) fn deny(rejection: &Rejection, denied: Response<Bytes>) -> Response<ProxyBody> {
    let (head, body) = denied.into_parts();
    unary::answer(&CheckResponse {
        status: Some(Status { code: rejection.grpc_code().into(), message: rejection.to_string() }),
        http_response: Some(HttpResponse::Denied(DeniedHttpResponse {
            status: Some(HttpStatus { code: head.status.as_u16().into() }),
            headers: overwriting(&head.headers),
            // JSON, a page, or the rejection's own words.
            body: String::from_utf8_lossy(&body).into_owned(),
        })),
        dynamic_metadata: None,
    })
}

/// Appended, which is the default, ours would stand behind a spoofed one.
fn overwriting(headers: &HeaderMap) -> Vec<HeaderValueOption> {
    let option = |(name, value)| option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd);
    headers.iter().map(option).collect()
}

/// The session's next cookie, and what keeps caches from handing it on with the application's answer, as
/// [`ForBrowser::tell`] does where the answer is in our hands.
fn beside_the_answer(cookie: &HeaderValue) -> impl Iterator<Item = HeaderValueOption> {
    use HeaderAppendAction::{AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};

    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    // No number and no date: what it stands in for is over.
    let over = |name| option(&HeaderName::from_static(name), &NO_STORE, OverwriteIfExists);
    let first = [
        option(&SET_COOKIE, cookie, AppendIfExistsOrAdd),
        option(&CACHE_CONTROL, &NO_STORE, OverwriteIfExistsOrAdd),
    ];
    first.into_iter().chain(ForBrowser::OTHER_CACHE_HEADERS.into_iter().map(over))
}

fn option(name: &HeaderName, value: &HeaderValue, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(messages::HeaderValue {
            key: name.to_string(),
            // Envoy does not look at `raw_value` of an answer.
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            raw_value: Bytes::new(),
        }),
        append_action: action.into(),
    }
}

/// Who it is, who says so and until when (seconds since 1970), by the names that Apple's claims have.
fn metadata_of(identity: &Identity) -> Struct {
    let text = |text: &str| Kind::String(text.to_owned());
    let expires_at = Duration::from_secs(identity.expires_at().as_secs());
    let fields = [
        ("iss", text(identity.issuer().as_str())),
        ("sub", text(identity.subject().as_str())),
        ("aud", text(identity.client_id().as_str())),
        ("exp", Kind::Number(expires_at.as_secs_f64())),
    ];
    let field = |(name, kind): (&str, Kind)| (name.to_owned(), Value { kind: Some(kind) });
    Struct { fields: fields.into_iter().map(field).collect() }
}
