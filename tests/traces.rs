//! Traces: one goes on through the proxy whether or not it exports its own spans, and what it exports a collector can read.

use crate::support::{House, Reply};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn get(house: &House, headers: &[(&str, &str)]) -> Reply {
    let authorization = house.bearer();
    house.get("/", &[&[("Authorization", &*authorization)], headers].concat()).await
}

#[tokio::test]
async fn a_trace_goes_through_unchanged_where_none_are_exported() {
    let house = House::start().await;
    get(&house, &[("traceparent", PARENT), ("tracestate", "a=1"), ("Tracestate", "b=2")]).await;
    let request = house.application.only_request();
    assert_eq!(request.header("traceparent"), [PARENT]);
    assert_eq!(request.header("tracestate"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn what_is_no_trace_goes_no_further() {
    let house = House::start().await;
    let upper = PARENT.to_uppercase();
    let twice = [("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")];
    for headers in [
        &[("tracestate", "a=1")][..],
        &[("traceparent", "everything"), ("tracestate", "a=1")],
        &[("traceparent", &*upper)],
        &twice,
    ] {
        get(&house, headers).await;
    }
    let requests = house.application.requests();
    assert_eq!(requests.len(), 4);
    for request in requests {
        assert!(request.header("traceparent").is_empty(), "{request:?}");
        assert!(request.header("tracestate").is_empty(), "{request:?}");
    }
}

#[cfg(feature = "otlp")]
mod exported {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::{common::v1::any_value::Value, trace::v1::Span};
    use rustix::process::Signal;
    use siwa_proxy::{
        clock::SystemClock,
        sim::{Apple, event::Event, presets::SUBJECT, token::TokenTemplate},
    };

    use super::*;
    #[cfg(feature = "ext-authz")]
    use crate::ext_authz::ask;
    use crate::support::{
        Recorder,
        collector::Collector,
        get,
        notifying::{PATH, post_notification},
        program::{LogFile, Program},
    };

    fn attribute(span: &Span, key: &str) -> Option<Value> {
        let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
        found.value.clone()?.value
    }

    fn text(text: &str) -> Value {
        Value::StringValue(text.to_owned())
    }

    struct Traced {
        apple: Apple,
        application: Recorder,
        collector: Collector,
        program: Program,
        log: LogFile,
    }

    impl Traced {
        async fn start(variables: &[(&str, &str)]) -> Self {
            let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
            let application = Recorder::start().await;
            let collector = Collector::start().await;
            let own = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
                ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ];
            let variables = [&own, variables].concat();
            let (program, log) =
                Program::start_logging(&apple, application.address, &[], &variables).await;
            Self { apple, application, collector, program, log }
        }

        fn bearer(&self) -> String {
            let token = self.apple.mint(&TokenTemplate::native().audience("com.example.app"));
            format!("Bearer {token}")
        }

        async fn get(&self, headers: &[(&str, &str)]) -> Reply {
            self.get_at("/", headers).await
        }

        async fn get_at(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
            let authorization = self.bearer();
            let headers = [&[("Authorization", &*authorization)], headers].concat();
            get(self.program.address, path, &headers).await
        }

        /// Waits for the trace of the one request, in which `child` must be a part of it.
        async fn tells_of(&self, child: &str) {
            let spans = self.collector.trace_of("request").await;
            let told: Vec<_> = spans.keys().collect();
            let child = spans.get(child).unwrap_or_else(|| panic!("{child} in {told:?}"));
            assert_eq!(child.parent_span_id, spans["request"].span_id, "{child:?}");
        }
    }

    #[tokio::test]
    async fn a_request_is_a_span_with_children_and_the_application_is_the_last_ones() {
        let traced = Traced::start(&[]).await;
        let reply = traced.get(&[("traceparent", PARENT), ("tracestate", "a=1")]).await;
        let spans = traced.collector.trace_of("request").await;
        let (request, verify, upstream) = (&spans["request"], &spans["verify"], &spans["upstream"]);

        assert_eq!(hex(&request.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
        assert_eq!((request.kind, upstream.kind), (2, 3), "server and client");
        for child in [verify, upstream] {
            assert_eq!(child.parent_span_id, request.span_id, "{child:?}");
        }
        assert_eq!(attribute(request, "siwa.outcome"), Some(text("forwarded")));
        assert_eq!(attribute(request, "http.route"), Some(text("default")));
        assert_eq!(attribute(request, "http.request.method"), Some(text("GET")));
        assert_eq!(attribute(request, "http.response.status_code"), Some(Value::IntValue(200)));
        assert_eq!(attribute(upstream, "http.response.status_code"), Some(Value::IntValue(200)));

        let told = traced.application.only_request();
        let parent = format!("00-{}-{}-01", hex(&upstream.trace_id), hex(&upstream.span_id));
        assert_eq!(told.header("traceparent"), [parent]);
        assert_eq!(told.header("tracestate"), ["a=1"]);

        let id = reply.header("x-request-id")[0];
        assert_eq!(attribute(request, "siwa.request_id"), Some(text(id)));
        assert_eq!(traced.log.request(id).await["trace_id"], hex(&request.trace_id));
        assert_eq!(traced.collector.resource("service.name").as_deref(), Some("siwa-proxy"));
    }

    #[tokio::test]
    async fn a_wait_for_keys_is_a_span_of_the_request_that_waits() {
        let traced = Traced::start(&[
            ("OTEL_SERVICE_NAME", "gate"),
            ("SIWA_JWKS__UNKNOWN_KEY_COOLDOWN", "10ms"),
        ])
        .await;
        traced.apple.keys().rotate();
        assert_eq!(traced.get(&[]).await.status, 200);
        let spans = traced.collector.trace_of("request").await;
        assert_eq!(spans["key_fetch"].parent_span_id, spans["verify"].span_id);
        assert_eq!(spans["verify"].parent_span_id, spans["request"].span_id);
        assert_eq!(traced.collector.resource("service.name").as_deref(), Some("gate"));
    }

    #[tokio::test]
    async fn what_is_decided_for_another_gateway_is_a_part_of_its_question() {
        let traced = Traced::start(&[("SIWA_EXT_AUTHZ__PATH_PREFIXES", "/envoy")]).await;
        assert_eq!(traced.get_at("/envoy/orders", &[]).await.status, 200);
        traced.tells_of("verify").await;
    }

    #[cfg(feature = "ext-authz")]
    #[tokio::test]
    async fn what_is_decided_in_answer_to_a_call_is_a_part_of_the_request_that_it_is_about() {
        let traced = Traced::start(&[("SIWA_EXT_AUTHZ__GRPC", "true")]).await;
        let headers = [("authorization", &*traced.bearer()), ("traceparent", PARENT)];
        assert!(ask(traced.program.address, "GET /orders", &headers).await.ok_response.is_some());
        traced.tells_of("verify").await;
        let request = &traced.collector.trace_of("request").await["request"];
        assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    }

    #[tokio::test]
    async fn a_wait_for_keys_is_a_span_of_the_notification_that_waits() {
        let variables =
            [("SIWA_NOTIFICATIONS__PATH", PATH), ("SIWA_JWKS__UNKNOWN_KEY_COOLDOWN", "10ms")];
        let traced = Traced::start(&variables).await;
        traced.apple.keys().rotate();
        let event = TokenTemplate::notification(Event::consent_revoked(SUBJECT));
        let payload = traced.apple.mint(&event.audience("com.example.app"));
        assert_eq!(post_notification(traced.program.address, &payload).await.status, 200);
        traced.tells_of("key_fetch").await;
    }

    #[tokio::test]
    async fn a_trace_that_is_not_sampled_goes_on_unsampled_and_is_not_exported() {
        let traced = Traced::start(&[]).await;
        traced.get(&[("traceparent", &PARENT.replace("-01", "-00"))]).await;
        let told = traced.application.only_request();
        assert!(told.header("traceparent")[0].starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(told.header("traceparent")[0].ends_with("-00"));
        // The next one is, and comes after it.
        traced.get(&[]).await;
        assert!(!hex(&traced.collector.trace_of("request").await["request"].trace_id).is_empty());
        let unsampled = |span: &Span| hex(&span.trace_id) == "4bf92f3577b34da6a3ce929d0e0e4736";
        assert!(!traced.collector.spans().iter().any(unsampled));
    }

    #[tokio::test]
    async fn what_is_left_of_the_traces_goes_out_at_the_end() {
        let never = "3600000";
        let traced = Traced::start(&[("OTEL_BSP_SCHEDULE_DELAY", never)]).await;
        traced.get(&[]).await;
        assert!(traced.collector.spans().is_empty());
        traced.program.signal(Signal::TERM);
        assert_eq!(traced.program.exit_code().await, Some(0));
        assert!(traced.collector.spans().iter().any(|span| span.name == "request"));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}
