//! Takes traces, and reads them by the messages of those who define them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{application, awaited, read_head};

/// Takes what is exported, and reads it by the messages of those who define them.
pub(crate) struct Collector {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let received: Arc<Mutex<Vec<_>>> = Arc::default();
        let receiving = Arc::clone(&received);
        let address = application(move |mut stream, _| {
            let received = Arc::clone(&receiving);
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
                    assert!(head.contains("application/x-protobuf"), "{head}");
                    let length = head.to_lowercase();
                    let (_, length) = length.split_once("content-length: ").unwrap();
                    let (length, _) = length.split_once('\r').unwrap();
                    let mut body = vec![0; length.parse().unwrap()];
                    stream.read_exact(&mut body).await.unwrap();
                    let batch = ExportTraceServiceRequest::decode(&*body).unwrap();
                    received.lock().unwrap().push(batch);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            }
        })
        .await;
        Self { url: format!("http://{address}"), received }
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let batches = self.received.lock().unwrap();
        let scopes = batches.iter().flat_map(|batch| &batch.resource_spans);
        scopes.flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans).cloned().collect()
    }

    /// Waits for a span with that name and the others of its trace that ended before it.
    pub(crate) async fn trace_of(&self, name: &str) -> HashMap<String, Span> {
        awaited("spans arrive", async || {
            let spans = self.spans();
            let found = spans.iter().find(|span| span.name == name)?;
            let of_it = spans.iter().filter(|span| span.trace_id == found.trace_id);
            Some(of_it.map(|span| (span.name.clone(), span.clone())).collect())
        })
        .await
    }

    pub(crate) fn resource(&self, key: &str) -> Option<String> {
        let batches = self.received.lock().unwrap();
        let resource = batches.first()?.resource_spans.first()?.resource.clone()?;
        let attribute = resource.attributes.into_iter().find(|it| it.key == key)?;
        let Value::StringValue(text) = attribute.value?.value? else { return None };
        Some(text)
    }
}
