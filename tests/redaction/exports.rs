//! What is exported, if this build exports anything.

/// Where traces go, if this build has any.
pub(super) struct Exports {
    #[cfg(feature = "otlp")]
    collector: crate::support::collector::Collector,
}

impl Exports {
    #[cfg(feature = "otlp")]
    pub(super) async fn start() -> Self {
        Self { collector: crate::support::collector::Collector::start().await }
    }

    #[cfg(not(feature = "otlp"))]
    pub(super) async fn start() -> Self {
        Self {}
    }

    #[cfg(feature = "otlp")]
    pub(super) fn variables(&self) -> Vec<(&str, &str)> {
        vec![("OTEL_EXPORTER_OTLP_ENDPOINT", &self.collector.url)]
    }

    #[cfg(not(feature = "otlp"))]
    pub(super) fn variables(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    #[cfg(feature = "otlp")]
    pub(super) fn text(&self, least: usize) -> String {
        let spans = self.collector.spans();
        assert!(spans.len() >= least, "{} spans", spans.len());
        format!("{spans:#?}")
    }

    #[cfg(not(feature = "otlp"))]
    pub(super) fn text(&self, _least: usize) -> String {
        String::new()
    }
}
