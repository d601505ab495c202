//! A decision as a `CheckResponse`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::{
    Allowed, Client, Gate, ProxyBody, denied,
    messages::{
        self, CheckResponse, DeniedHttpResponse, HeaderAppendAction, HeaderValueOption,
        HttpResponse, HttpStatus, Kind, OkHttpResponse, Status, Struct, Value,
    },
    unary,
};
use crate::{authn::Rejection, verify::Identity};

/// Lets the request through.
pub(super) fn allow(allowed: &Allowed) -> Response<ProxyBody> {
    let Allowed { identity, set, remove } = allowed;
    unary::answer(&CheckResponse {
        status: Some(Status::default()),
        http_response: Some(HttpResponse::Ok(OkHttpResponse {
            headers: overwriting(set),
            headers_to_remove: remove.iter().map(HeaderName::to_string).collect(),
        })),
        dynamic_metadata: identity.as_deref().map(metadata_of),
    })
}

/// Has the gateway answer its client as we would.
pub(super) fn deny(rejection: &Rejection, client: &Client, gate: &Gate) -> Response<ProxyBody> {
    let (head, body) = denied(rejection, client, gate).into_parts();
    unary::answer(&CheckResponse {
        status: Some(Status { code: rejection.grpc_code().into(), message: rejection.to_string() }),
        http_response: Some(HttpResponse::Denied(DeniedHttpResponse {
            status: Some(HttpStatus { code: head.status.as_u16().into() }),
            headers: overwriting(&head.headers),
            // JSON, or the rejection's own words.
            body: String::from_utf8_lossy(&body).into_owned(),
        })),
        dynamic_metadata: None,
    })
}

/// Appended, which is the default, ours would stand behind a spoofed one.
fn overwriting(headers: &HeaderMap) -> Vec<HeaderValueOption> {
    let option = |(name, value): (&HeaderName, &HeaderValue)| HeaderValueOption {
        header: Some(messages::HeaderValue {
            key: name.to_string(),
            // Envoy does not look at `raw_value` of an answer.
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            raw_value: Bytes::new(),
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    };
    headers.iter().map(option).collect()
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
