//! The spans of remote methods.

use messaging::{
    Target,
    rpc::{Endpoint, Failure},
};
use opentelemetry::trace::SpanKind;
use serde::de::IgnoredAny;

use super::{
    on_every_broker,
    recorded::{Recorded, Shown as _},
};
use crate::messaging::fixture::{Broker, within};

async fn a_call_is_one_trace_from_client_to_server_and_back(broker: Broker) {
    let (recorded, topic) = (Recorded::new(), broker.name("t"));
    let transport = recorded.transport(&broker).await;
    let target = Target::topic(&topic).namespace("math");
    let endpoint = Endpoint::new()
        .namespace("math")
        .method("double", |_, number: IgnoredAny| async move {
            let _ = number;
            Ok(2)
        })
        .method("fail", |_, _: IgnoredAny| async { Err::<u32, _>(Failure::new("ValueError", "no")) });
    let server = within(transport.rpc_server(target.clone().server("s")).endpoint(endpoint).start());
    let server = server.await.unwrap();
    let client = transport.rpc_client(target);
    assert_eq!(within(async { client.call::<u32>("double", &()).await }).await.unwrap(), 2);
    let (calling, serving) = both(&recorded, "math/double").await;
    assert_eq!(calling.text("rpc.system.name").as_deref(), Some("oslo.messaging"));
    assert_eq!(calling.text("rpc.method").as_deref(), Some("math/double"));
    let published = recorded.span(&format!("publish openstack:{topic}")).await;
    let handled = recorded.span(&format!("process openstack:{topic}")).await;
    let reply = recorded.span("publish").await;
    for (child, parent) in
        [(&published, &calling), (&handled, &published), (&serving, &handled), (&reply, &serving)]
    {
        assert!(child.is_child_of(&parent.span_context), "{child:?} of {parent:?}");
    }
    assert!(!calling.has_failed() && !serving.has_failed());

    within(async { client.call::<u32>("fail", &()).await }).await.unwrap_err();
    let (calling, serving) = both(&recorded, "math/fail").await;
    assert_eq!(calling.text("error.type").as_deref(), Some("remote_error"));
    assert_eq!(serving.text("error.type").as_deref(), Some("ValueError"));

    within(async { client.call::<u32>("made.up", &()).await }).await.unwrap_err();
    let serving = recorded.span("_OTHER").await;
    assert_eq!(serving.text("rpc.method_original").as_deref(), Some("made.up"));
    assert_eq!(serving.text("error.type").as_deref(), Some("NoSuchMethod"));
    let calling = recorded.span("math/made.up").await;
    assert_eq!(calling.text("error.type").as_deref(), Some("no_such_method"));
    within(server.stop()).await.unwrap();
}

async fn both(
    recorded: &Recorded,
    method: &str,
) -> (opentelemetry_sdk::trace::SpanData, opentelemetry_sdk::trace::SpanData) {
    let mut spans = recorded.some(2, method).await;
    spans.sort_by_key(|span| span.kind() == SpanKind::Server);
    let serving = spans.pop().unwrap();
    let calling = spans.pop().unwrap();
    assert_eq!((calling.kind(), serving.kind()), (SpanKind::Client, SpanKind::Server));
    (calling, serving)
}

async fn casts_and_fanouts_are_calls_without_an_answer(broker: Broker) {
    let (recorded, topic) = (Recorded::new(), broker.name("t"));
    let transport = recorded.transport(&broker).await;
    let client = transport.rpc_client(Target::topic(&topic));
    within(client.fanout("tell", &())).await.unwrap();
    let calling = recorded.span("tell").await;
    assert_eq!(calling.kind(), SpanKind::Client);
    let published = recorded.span(&format!("publish {topic}_fanout")).await;
    assert!(published.is_child_of(&calling.span_context), "{published:?}");
}

on_every_broker!(
    a_call_is_one_trace_from_client_to_server_and_back,
    casts_and_fanouts_are_calls_without_an_answer,
);
