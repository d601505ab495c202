//! The spans of a request. They cost nothing unless traces are exported, as nobody else listens to them.

use std::net::IpAddr;

use tracing::{Span, field::Empty, info_span};

use super::traceparent::TraceParent;

/// The target of all spans, and of nothing else.
pub(super) const SPANS: &str = "siwa_proxy::span";

/// What a request's span is told when it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning<'a> {
    /// The door it comes through.
    pub(crate) door: &'static str,
    /// Its method, or `other`.
    pub(crate) method: &'a str,
    /// What it is called in the log.
    pub(crate) request_id: &'a str,
    /// Who asks.
    pub(crate) client: IpAddr,
    /// Of which trace it is, if it says so.
    pub(crate) parent: Option<TraceParent>,
}

/// One request, from its head to the head of its answer. Names as in OpenTelemetry's conventions for HTTP:
/// <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>
pub(crate) fn request(beginning: &Beginning<'_>) -> Span {
    let Beginning { door, method, request_id, client, parent } = beginning;
    let span = info_span!(
        target: SPANS,
        parent: None,
        "request",
        otel.kind = "server",
        http.request.method = method,
        http.response.status_code = Empty,
        http.route = Empty,
        client.address = %client,
        siwa.door = door,
        siwa.request_id = request_id,
        siwa.outcome = Empty,
        siwa.fault = Empty,
    );
    if let Some(parent) = parent {
        adopt(&span, *parent);
    }
    span
}

/// Writes down how a request ended.
pub(crate) fn end(
    span: &Span,
    route: &str,
    status: Option<u16>,
    (outcome, fault): (&'static str, &'static str),
) {
    span.record("http.route", route);
    span.record("http.response.status_code", status.map(i64::from));
    span.record("siwa.outcome", outcome);
    span.record("siwa.fault", fault);
}

/// Finding out whom a token proves.
pub(crate) fn verify() -> Span {
    info_span!(target: SPANS, "verify")
}

/// A wait for keys that are being fetched.
pub(crate) fn key_fetch() -> Span {
    info_span!(target: SPANS, "key_fetch")
}

/// An exchange with the application, to the head of its response.
pub(crate) fn upstream() -> Span {
    info_span!(target: SPANS, "upstream", otel.kind = "client", http.response.status_code = Empty)
}

/// Writes down how the application answered.
pub(crate) fn answered(span: &Span, status: u16) {
    // A signed number: another kind becomes text on the wire.
    span.record("http.response.status_code", i64::from(status));
}

#[cfg(feature = "otlp")]
use super::otlp::{adopt, traceparent_of as parent_of};

#[cfg(not(feature = "otlp"))]
const fn adopt(_: &Span, _: TraceParent) {}

#[cfg(not(feature = "otlp"))]
const fn parent_of(_: &Span) -> Option<TraceParent> {
    None
}

/// What the children of `span` elsewhere are told; none where it is no part of a trace.
pub(crate) fn traceparent_of(span: &Span) -> Option<TraceParent> {
    if span.is_disabled() { None } else { parent_of(span) }
}
