//! One trace through pika, which OpenTelemetry instruments, and through ours, in both directions.

use amqp_client::Queue;
use messaging::{Exchange, Incoming};
use opentelemetry_sdk::trace::SpanData;
use serde::Deserialize;
use tests::Python;

use super::recorded::{Recorded, Shown as _};
use crate::messaging::fixture::{Broker, within};

const SCRIPT: &str = include_str!("pika.py");

/// A span that Python has written.
#[derive(Debug, Deserialize)]
struct PythonSpan {
    name: String,
    kind: String,
    trace: String,
    span: String,
    parent: Option<String>,
}

impl PythonSpan {
    fn is_child_of(&self, parent: &SpanData) -> bool {
        let context = &parent.span_context;
        self.trace == context.trace_id().to_string()
            && self.parent.as_deref() == Some(&context.span_id().to_string())
    }

    fn is_parent_of(&self, child: &SpanData) -> bool {
        self.trace == child.span_context.trace_id().to_string()
            && self.span == child.parent_span_id.to_string()
    }
}

/// Python asks, our handler publishes to it, its callback answers, our handler gets the answer: all
/// in one trace.
async fn one_trace_goes_both_ways(python: Python, broker: Broker) {
    let (recorded, folder) = (Recorded::new(), tempfile::tempdir().unwrap());
    let transport = recorded.transport(&broker).await;
    let (ours, theirs) = (broker.name("ours"), broker.name("theirs"));
    let _theirs = within(broker.channel().await.declare(Queue::new(&theirs))).await.unwrap();
    let (producer, key) = (transport.producer(Exchange::default()), theirs.clone());
    let worker = transport.worker(Queue::new(&ours)).start(move |message: Incoming<String>| {
        let (producer, key, is_question) = (producer.clone(), key.clone(), message.body() == "question");
        async move {
            if is_question { producer.ensure_publish(&key, "ours").await.map(drop) } else { Ok(()) }
        }
    });
    let worker = within(worker).await.unwrap();
    let file = folder.path().join("spans");
    let arguments = [&*broker.url, &theirs, &ours, file.to_str().unwrap()];
    let output = within(python.run(SCRIPT, &arguments)).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read_to_string(&file).unwrap();
    let written: Vec<PythonSpan> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let their = |name: &str| written.iter().filter(|span| span.name == name).collect::<Vec<_>>();

    let handled = recorded.some(2, &format!("process {ours}")).await;
    let published = recorded.span(&format!("publish {theirs}")).await;
    let [asked, answered] = their(&format!("{ours} send"))[..] else { panic!("{written:?}") };
    let [called] = their(&format!("{theirs} receive"))[..] else { panic!("{written:?}") };
    assert_eq!((asked.kind.as_str(), called.kind.as_str()), ("PRODUCER", "CONSUMER"));
    assert!(asked.is_parent_of(&handled[0]), "{asked:?} {handled:?}");
    assert!(published.is_child_of(&handled[0].span_context), "{published:?}");
    assert!(called.is_child_of(&published), "{called:?} {published:?}");
    assert_eq!(answered.parent.as_ref(), Some(&called.span));
    assert!(answered.is_parent_of(&handled[1]), "{answered:?} {handled:?}");
    within(worker.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_both_ways_on_the_embedded_broker() {
    let test = "messaging::telemetry::pika::one_trace_goes_both_ways_on_the_embedded_broker";
    let Some(python) = Python::require(test) else { return };
    one_trace_goes_both_ways(python, Broker::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_both_ways_on_rabbitmq() {
    let test = "messaging::telemetry::pika::one_trace_goes_both_ways_on_rabbitmq";
    let Some(python) = Python::require(test) else { return };
    let Some(broker) = Broker::rabbitmq(test) else { return };
    one_trace_goes_both_ways(python, broker).await;
}
