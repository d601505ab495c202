//! Traces on their way out: OpenTelemetry's SDK, which batches spans and posts them on a thread of its own.

use opentelemetry::{
    Context, Key, KeyValue,
    trace::{
        SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
    },
};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use super::{TraceParent, TraceSettings, spans::SPANS};

/// Exports spans until it is dropped, and then what is left of them.
#[derive(Debug)]
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    pub(crate) fn new(settings: &TraceSettings) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint().as_str())
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        Ok(Self(provider))
    }

    /// The layer that hears our spans, and nothing else.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(filter_fn(|it| it.is_span() && it.target() == SPANS))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // A collector that does not answer keeps nobody from ending, and there is no log left to tell.
        drop(self.0.shutdown_with_timeout(std::time::Duration::from_secs(5)));
    }
}

/// What the SDK finds in the environment, under our name if it finds no other.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = Key::from_static_str("service.name");
    let is_unnamed = found.get(&name).is_none_or(|it| it.as_str().starts_with("unknown_service"));
    let own = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let resource = Resource::builder().with_attributes(own);
    let resource =
        if is_unnamed { resource.with_service_name(env!("CARGO_PKG_NAME")) } else { resource };
    resource.build()
}

/// Makes `span` a child of `parent`, which is somebody else's.
pub(super) fn adopt(span: &Span, parent: TraceParent) {
    let flags = if parent.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace, id) = (TraceId::from(parent.trace_id), SpanId::from(parent.parent_id));
    let parent = SpanContext::new(trace, id, flags, true, TraceState::default());
    // Nobody to hear it is the usual case, and no error.
    span.set_parent(Context::new().with_remote_span_context(parent)).ok();
}

pub(super) fn traceparent_of(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let span = context.span();
    let own = span.span_context();
    own.is_valid().then(|| TraceParent {
        trace_id: u128::from_be_bytes(own.trace_id().to_bytes()),
        parent_id: u64::from_be_bytes(own.span_id().to_bytes()),
        is_sampled: own.is_sampled(),
    })
}
