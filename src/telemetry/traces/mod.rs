//! Traces: which one a request belongs to, its spans there, and their export, if the crate is built with `otlp` and the
//! variables of OpenTelemetry ask for it.

#[cfg(feature = "otlp")]
mod otlp;
mod settings;
pub(crate) mod spans;
mod traceparent;

#[cfg(feature = "otlp")]
pub(crate) use self::otlp::Exporter;
pub(crate) use self::traceparent::{TRACEPARENT, TRACESTATE};
pub use self::{
    settings::{InvalidVariable, TraceSettings},
    traceparent::TraceParent,
};
