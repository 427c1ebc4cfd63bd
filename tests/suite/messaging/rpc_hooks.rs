//! Extensions by users of clients and servers: serializers of their values, types with methods,
//! compression.

use amqp_client::{Binding, ConsumeOptions, Exchange, Queue};
use messaging::{
    BoxError, Compression, Context, EntitySerializer, Error, OsloError, Target, Transport,
    rpc::{AccessPolicy, Arguments, Client, Endpoint, Failure, Methods, Output, RunningServer, Server},
};
use serde_json::{Value, json};

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

/// A serializer that tags what it sends and accepts only tagged values. Of a context it sends the
/// user without the password, and it refuses the user nobody.
struct Tagging;

impl EntitySerializer for Tagging {
    fn serialize_entity(&self, context: &Context, entity: Value) -> Result<Value, BoxError> {
        if entity == "unspeakable" {
            return Err("not to be said".into());
        }
        assert_ne!(entity, "dreadful");
        Ok(json!({"for": context.get("user"), "is": entity}))
    }

    fn deserialize_entity(&self, context: &Context, mut entity: Value) -> Result<Value, BoxError> {
        if context.get("user") != entity.get("for") {
            return Err("for somebody else".into());
        }
        Ok(entity.get_mut("is").ok_or("untagged")?.take())
    }

    fn serialize_context(&self, context: &Context) -> Result<Context, BoxError> {
        let user = context.get("user").ok_or("nobody")?;
        Ok(Context::new().with("user", user.clone()))
    }

    fn deserialize_context(&self, context: Context) -> Result<Context, BoxError> {
        if context.get("user").is_none() {
            return Err("nobody".into());
        }
        Ok(context.with("looked_up", true))
    }
}

fn methods() -> Endpoint {
    Endpoint::new()
        .method("echo", |_, args: Value| async move { Ok(args) })
        .method("say", |_, _: Value| async move { Ok("unspeakable") })
        .method("shout", |_, _: Value| async move { Ok("dreadful") })
        .method("context", |context: Context, (): ()| async move {
            Ok(context.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>())
        })
}

async fn serve(transport: &Transport, topic: &str, change: impl FnOnce(Server) -> Server) -> RunningServer {
    let server = transport.rpc_server(Target::topic(topic).server("s1")).endpoint(methods());
    within(change(server).start()).await.unwrap()
}

async fn call(client: &Client, method: &str, args: Value) -> Result<Value, Error> {
    within(client.call(method, &args).into_future()).await
}

async fn a_serializer_converts_arguments_results_and_contexts(broker: Broker) {
    let topic = broker.name("t");
    let transport = broker.transport().await;
    let server = serve(&transport, &topic, |server| server.serializer(Tagging)).await;
    let plain = transport.rpc_client(Target::topic(&topic));
    let context = Context::new().with("user", "alice").with("password", "secret");
    let client = plain.clone().context(context).serializer(Tagging);

    let args = json!({"a": [1, {"b": null}], "c": "d"});
    assert_eq!(call(&client, "echo", args.clone()).await.unwrap(), args);
    assert_eq!(call(&client, "context", json!({})).await.unwrap(), json!(["looked_up", "user"]));
    let bob = client.call::<Value>("echo", &args).context(Context::new().with("user", "bob"));
    assert_eq!(within(bob.into_future()).await.unwrap(), args);
    within(client.cast("echo", &args)).await.unwrap();
    within(client.fanout("echo", &args)).await.unwrap();

    // A value that it refuses to send is not sent.
    for refused in [
        call(&client, "echo", json!({"a": "unspeakable"})).await.map(drop),
        within(client.cast("echo", &json!({"a": "unspeakable"}))).await,
        within(client.fanout("echo", &json!({"a": "unspeakable"}))).await,
        call(&plain.clone().serializer(Tagging), "echo", json!({})).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Oslo(OsloError::Entity { .. }))), "{refused:?}");
    }
    // Callers are told what a server's serializer refuses to accept or to send, even if the
    // serializer panics.
    let alice = plain.clone().context(Context::new().with("user", "alice"));
    for (client, method, args, why) in [
        (&plain, "echo", json!({}), "nobody"),
        (&alice, "echo", json!({"a": {"for": "bob"}}), "for somebody else"),
        (&alice, "echo", json!({"a": {"for": "alice"}}), "untagged"),
        (&client, "say", json!({}), "not to be said"),
        (&client, "shout", json!({}), "panicked"),
    ] {
        let Err(Error::Oslo(OsloError::Remote(remote))) = call(client, method, args).await else {
            panic!("{why}")
        };
        assert!(remote.message.contains(why), "{remote}");
    }
    // A result that its caller's serializer refuses is an error of the call.
    let echo = serve(&transport, &broker.name("plain"), |server| server).await;
    let other = client.prepare(|_| Target::topic(broker.name("plain")));
    assert!(matches!(
        call(&other, "context", json!({})).await,
        Err(Error::Oslo(OsloError::Entity { what: "a result", .. }))
    ));
    within(echo.stop()).await.unwrap();
    within(server.stop()).await.unwrap();
}

struct Named {
    name: &'static str,
    methods: &'static [&'static str],
}

impl Methods for Named {
    fn has(&self, method: &str) -> bool {
        assert_ne!(method, "fatal", "it is asked for");
        self.methods.contains(&method)
    }

    async fn call(&self, method: &str, context: Context, arguments: Arguments) -> Result<Output, Failure> {
        match method {
            "fail" => Err(Failure::new("KeyError", "no")),
            "user" => Output::new(&context.get("user")),
            "sum" => Output::new(
                &arguments.read::<std::collections::BTreeMap<String, i64>>()?.values().sum::<i64>(),
            ),
            "nothing" => arguments.read::<()>().and_then(|()| Output::new(&())),
            "json" => Output::new(arguments.as_json()),
            _ => Output::new(&format!("{method} of {}", self.name)),
        }
    }
}

async fn types_have_methods_as_closures_are_methods(broker: Broker) {
    let topic = broker.name("t");
    let transport = broker.transport().await;
    let first = Endpoint::of(Named { name: "first", methods: &["x", "sum", "closed", "_private", "fail"] })
        .methods(Named { name: "second", methods: &["x", "y", "user", "nothing", "json"] })
        .method("closed", |_, (): ()| async { Ok("by a closure") });
    let later = Endpoint::of(Named { name: "later", methods: &["x", "z"] }).version(1, 1);
    let server = transport.rpc_server(Target::topic(&topic).server("s1")).endpoint(first).endpoint(later);
    let server = within(server.start()).await.unwrap();
    let client = transport.rpc_client(Target::topic(&topic)).context(Context::new().with("user", "alice"));
    for (method, args, answer) in [
        ("x", json!({}), json!("x of first")),
        ("y", json!({}), json!("y of second")),
        ("z", json!({}), json!("z of later")),
        ("closed", json!({}), json!("by a closure")),
        ("sum", json!({"a": 1, "b": 2}), json!(3)),
        ("user", json!({}), json!("alice")),
        ("nothing", json!({}), Value::Null),
        ("json", json!({"a": 1}), json!(r#"{"a":1}"#)),
    ] {
        assert_eq!(call(&client, method, args).await.unwrap(), answer, "{method}");
    }
    for (method, args, class) in [
        ("sum", json!({"a": "x"}), "TypeError"),
        ("fail", json!({}), "KeyError"),
        ("fatal", json!({}), "RuntimeError"),
    ] {
        let Err(Error::Oslo(OsloError::Remote(remote))) = call(&client, method, args).await else {
            panic!("{method}")
        };
        assert_eq!(remote.class, class);
    }
    for method in ["w", "_private"] {
        assert!(
            matches!(
                call(&client, method, json!({})).await,
                Err(Error::Oslo(OsloError::NoSuchMethod { .. }))
            ),
            "{method}"
        );
    }
    within(server.stop()).await.unwrap();
    let explicit = Endpoint::of(Named { name: "n", methods: &["x", "y"] }).expose("x");
    let server = transport.rpc_server(Target::topic(&topic).server("s1")).endpoint(explicit);
    let server = within(server.access_policy(AccessPolicy::Explicit).start()).await.unwrap();
    assert_eq!(call(&client, "x", json!({})).await.unwrap(), "x of n");
    assert!(matches!(call(&client, "y", json!({})).await, Err(Error::Oslo(OsloError::NoSuchMethod { .. }))));
    within(server.stop()).await.unwrap();
}

async fn requests_and_replies_are_compressed_where_that_is_wanted(broker: Broker) {
    let transport = broker.transport().await;
    // These consumers see the request and the reply.
    let channel = broker.channel().await;
    channel.declare(&Exchange::topic("openstack")).await.unwrap();
    let text = json!({"text": "x".repeat(100_000)});
    for compression in
        [Compression::Zlib, Compression::Zstd, Compression::Bzip2, Compression::Xz, Compression::Brotli]
    {
        let topic = broker.name(compression.name());
        let server = serve(&transport, &topic, |server| server.compression(compression)).await;
        let client = transport.rpc_client(Target::topic(&topic)).compression(compression);
        let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
        channel.bind(Binding::new(&queue, "openstack").routing_key(&topic)).await.unwrap();
        let mut requests = channel.consume(&queue, ConsumeOptions::new()).await.unwrap();
        assert_eq!(call(&client, "echo", text.clone()).await.unwrap(), text, "{compression}");

        let replies = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
        let mut answers = channel.consume(&replies, ConsumeOptions::new()).await.unwrap();
        let request = json!({"method": "echo", "args": text, "_msg_id": "1", "_reply_q": replies.name});
        within(transport.producer(Exchange::topic("openstack")).ensure_publish(&topic, &request))
            .await
            .unwrap();
        for arrived in [within(requests.recv()).await, within(answers.recv()).await] {
            let delivery = arrived.unwrap().unwrap();
            let headers = delivery.properties().unwrap().headers.unwrap();
            let named = headers.get("compression").unwrap();
            assert_eq!(named.as_str(), Some(compression.content_type()));
            assert!(delivery.body().len() < 10_000, "{compression}");
            delivery.ack().await.unwrap();
        }
        within(server.stop()).await.unwrap();
    }
}

on_every_broker_and_redis! {
    a_serializer_converts_arguments_results_and_contexts,
    types_have_methods_as_closures_are_methods,
    requests_and_replies_are_compressed_where_that_is_wanted,
}
