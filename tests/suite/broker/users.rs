//! Topic permissions and tags of users, on the embedded broker and on RabbitMQ.

use amqp_broker::{Listener, RabbitMq, TopicPermissions, UserTag};
use amqp_client::{
    Binding, Channel, Confirmation, Destination, Exchange, GetOptions, Message, Properties, Queue, connect,
};
use amqp_codec::{Array, ShortString, Table, Value};
use tests::Node;

use super::within;

/// A broker whose users can be administered.
enum Administered {
    Embedded(amqp_broker::Broker, Listener),
    RabbitMq(&'static Node),
}

impl Administered {
    async fn embedded() -> Self {
        Self::embedded_like(RabbitMq::default()).await
    }

    async fn embedded_like(version: RabbitMq) -> Self {
        let broker = amqp_broker::Broker::builder().like(version).build();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        Administered::Embedded(broker, listener)
    }

    async fn ctl(node: &Node, args: &[&str]) {
        node.ctl(args).await.unwrap();
    }

    /// Adds a user who may do everything.
    async fn add_user(&self, user: &str) {
        match self {
            Administered::Embedded(broker, _) => broker.add_user(user, "secret"),
            Administered::RabbitMq(node) => {
                Self::ctl(node, &["add_user", user, "secret"]).await;
                Self::ctl(node, &["set_permissions", user, ".*", ".*", ".*"]).await;
            }
        }
    }

    async fn delete_user(&self, user: &str) {
        match self {
            Administered::Embedded(broker, _) => assert!(broker.delete_user(user)),
            Administered::RabbitMq(node) => Self::ctl(node, &["delete_user", user]).await,
        }
    }

    async fn set_topics(&self, user: &str, exchange: &str, write: &str, read: &str) {
        match self {
            Administered::Embedded(broker, _) => {
                let permissions = TopicPermissions::new(write, read).unwrap();
                broker.set_topic_permissions(user, "/", exchange, permissions);
            }
            Administered::RabbitMq(node) => {
                Self::ctl(node, &["set_topic_permissions", user, exchange, write, read]).await;
            }
        }
    }

    async fn clear_topics(&self, user: &str, exchange: &str) {
        match self {
            Administered::Embedded(broker, _) => {
                assert!(broker.clear_topic_permissions(user, "/", exchange));
            }
            Administered::RabbitMq(node) => {
                Self::ctl(node, &["clear_topic_permissions", user, exchange]).await;
            }
        }
    }

    async fn set_tags(&self, user: &str, tags: &[UserTag]) {
        match self {
            Administered::Embedded(broker, _) => broker.set_user_tags(user, tags.iter().copied()),
            Administered::RabbitMq(node) => {
                let tags: Vec<&str> = tags.iter().map(|tag| tag.name()).collect();
                Self::ctl(node, &[&["set_user_tags", user], &tags[..]].concat()).await;
            }
        }
    }

    async fn channel(&self, user: &str) -> Channel {
        self.channel_and_version(user).await.0
    }

    /// A channel of a user, and whether the broker is, or plays, RabbitMQ 4.0 or later.
    async fn channel_and_version(&self, user: &str) -> (Channel, bool) {
        let uri = match self {
            Administered::Embedded(_, listener) => format!("amqp://{user}:secret@{}", listener.local_addr()),
            Administered::RabbitMq(node) => node.uri_for(user, "secret", "/"),
        };
        let connection = within(connect(&uri)).await.unwrap();
        let version = connection.server_properties().get("version").unwrap();
        let is_from_4_0 = !version.as_str().unwrap().starts_with("3.");
        (within(connection.open_channel()).await.unwrap(), is_from_4_0)
    }
}

/// An act of a user with a routing key.
#[derive(Clone, Copy, Debug)]
enum Act {
    Publish,
    /// Publishes with this key and the other one in `CC`.
    PublishCopied(&'static str),
    /// Publishes with a `user-id` that is refused too.
    PublishAsOther,
    Bind,
    Unbind,
    /// Binds a queue that does not exist.
    BindNoQueue,
    BindExchange,
    UnbindExchange,
    /// Binds another exchange to this one: this one is written to.
    BindToIt,
}
use Act::*;

/// The names of one run.
struct Names {
    user: String,
    topic: String,
    direct: String,
    other: String,
    queue: String,
}

impl Names {
    fn new(run: &str) -> Self {
        let name = |name| format!("users-{run}-{}-{name}", std::process::id());
        Names {
            user: name("user"),
            topic: name("topic"),
            direct: name("direct"),
            other: name("other"),
            queue: name("queue"),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a function for `map_err`")]
fn of(error: amqp_client::Error) -> String {
    let close = error.close().unwrap_or_else(|| panic!("{error}"));
    format!("{} {}", close.code.0, close.text)
}

async fn publish(channel: &Channel, exchange: &str, key: &str, properties: Properties) -> Result<(), String> {
    let publisher = within(channel.publisher()).await.unwrap();
    let message = Message::with_properties("x", properties);
    let confirm = within(publisher.publish((exchange, key), message)).await.map_err(of)?;
    let confirmation = within(confirm).await.map_err(of)?;
    assert!(matches!(confirmation, Confirmation::Ack));
    Ok(())
}

fn user_id(user: &str) -> Properties {
    Properties { user_id: Some(ShortString::try_from(user.to_owned()).unwrap()), ..Properties::default() }
}

/// The broker's answer; `Ok` when it does it.
async fn answer(channel: &Channel, names: &Names, exchange: &str, act: Act, key: &str) -> Result<(), String> {
    let to_queue = |queue: &str| Binding::new(queue, exchange).routing_key(key);
    let to_other = Binding::new(Destination::Exchange(names.other.clone()), exchange).routing_key(key);
    let bound = match act {
        Publish => return publish(channel, exchange, key, Properties::default()).await,
        PublishAsOther => return publish(channel, exchange, key, user_id("other")).await,
        PublishCopied(copy) => {
            let mut headers = Table::new();
            let mut copies = Array::new();
            copies.push(copy).unwrap();
            headers.insert("CC", Value::Array(copies)).unwrap();
            let properties = Properties { headers: Some(headers), ..Properties::default() };
            return publish(channel, exchange, key, properties).await;
        }
        Bind => within(channel.bind(to_queue(&names.queue))).await,
        Unbind => within(channel.unbind(to_queue(&names.queue))).await,
        BindNoQueue => within(channel.bind(to_queue("users-no-queue"))).await,
        BindExchange => within(channel.bind(to_other)).await,
        UnbindExchange => within(channel.unbind(to_other)).await,
        BindToIt => {
            let to_it = Binding::new(Destination::Exchange(exchange.to_owned()), &names.other);
            within(channel.bind(to_it.routing_key(key))).await
        }
    };
    bound.map_err(of)
}

/// An act of a user with an exchange, and whether its topic permissions allow it.
async fn check(broker: &Administered, names: &Names, exchange: &str, cases: &[(Act, &str, bool)]) {
    for (act, key, is_allowed) in cases {
        let (channel, is_from_4_0) = broker.channel_and_version(&names.user).await;
        let (act, refused_key, is_allowed) = match act {
            PublishCopied(copy) if is_from_4_0 => (act, copy, &false),
            _ => (act, key, is_allowed),
        };
        let (answer, user) = (answer(&channel, names, exchange, *act, key).await, &names.user);
        let named = match act {
            _ if !is_from_4_0 => "",
            Publish | PublishCopied(_) | PublishAsOther => "write ",
            Bind | Unbind | BindNoQueue | BindExchange | UnbindExchange | BindToIt => "read ",
        };
        let refused = format!(
            "403 ACCESS_REFUSED - {named}access to topic '{refused_key}' in exchange '{exchange}' in vhost '/' refused for user '{user}'"
        );
        let expected = if *is_allowed { Ok(()) } else { Err(refused) };
        assert_eq!(answer, expected, "{act:?} {key:?}");
    }
}

async fn topics_limit_who_has_permissions_on_them(broker: &Administered, run: &str) {
    let names = Names::new(run);
    broker.add_user(&names.user).await;
    let channel = broker.channel(&names.user).await;
    within(channel.declare(Exchange::topic(&names.topic))).await.unwrap();
    within(channel.declare(Exchange::topic(&names.other))).await.unwrap();
    within(channel.declare(Exchange::direct(&names.direct))).await.unwrap();
    within(channel.declare(Queue::new(&names.queue))).await.unwrap();
    check(broker, &names, &names.topic, &[(Publish, "x", true), (Bind, "x", true)]).await;

    broker.set_topics(&names.user, &names.topic, "^a", "^r").await;
    broker.set_topics(&names.user, &names.direct, "^a", "^r").await;
    let limited = [
        (Publish, "a.b", true),
        (Publish, "r.a", false),
        (PublishCopied("x"), "a.b", true),
        (PublishAsOther, "r", false),
        (Bind, "r.x", true),
        (Bind, "a.x", false),
        (Unbind, "r.x", true),
        (Unbind, "x", false),
        (BindNoQueue, "x", false),
        (BindExchange, "r", true),
        (BindExchange, "a", false),
        (UnbindExchange, "a", false),
        (BindToIt, "x", true),
    ];
    check(broker, &names, &names.topic, &limited).await;
    check(broker, &names, &names.direct, &[(Publish, "x", true), (Bind, "x", true)]).await;
    check(broker, &names, &names.other, &[(Publish, "x", true), (Bind, "x", true)]).await;

    // A channel may no longer do what it has done already; in RabbitMQ it may for a while.
    publish(&channel, &names.topic, "a", Properties::default()).await.unwrap();
    broker.set_topics(&names.user, &names.topic, "^{username}-{vhost}-{client_id}$", "").await;
    let again = publish(&channel, &names.topic, "a", Properties::default()).await;
    assert!(again.is_err() || matches!(broker, Administered::RabbitMq(_)));
    let own = format!("{}-/-{{client_id}}", names.user);
    let variables = [(Publish, &*own, true), (Publish, "x-/-y", false), (Bind, "", true), (Bind, "x", false)];
    check(broker, &names, &names.topic, &variables).await;

    broker.clear_topics(&names.user, &names.topic).await;
    check(broker, &names, &names.topic, &[(Publish, "x", true), (Bind, "x", true)]).await;

    let channel = broker.channel(&names.user).await;
    within(channel.delete_queue(&names.queue, Default::default())).await.unwrap();
    for exchange in [&names.topic, &names.direct, &names.other] {
        within(channel.delete_exchange(exchange, Default::default())).await.unwrap();
    }
    broker.delete_user(&names.user).await;
}

#[tokio::test]
async fn topics_limit_who_has_permissions_on_them_in_the_embedded_broker() {
    topics_limit_who_has_permissions_on_them(&Administered::embedded().await, "ours").await;
}

#[tokio::test]
async fn topics_limit_who_has_permissions_on_them_in_the_embedded_broker_like_4_0() {
    let broker = Administered::embedded_like(RabbitMq::V4_0).await;
    topics_limit_who_has_permissions_on_them(&broker, "like-4-0").await;
}

#[tokio::test]
async fn topics_limit_who_has_permissions_on_them_in_rabbitmq() {
    let test = "broker::users::topics_limit_who_has_permissions_on_them_in_rabbitmq";
    let Some(node) = Node::require(test) else { return };
    topics_limit_who_has_permissions_on_them(&Administered::RabbitMq(node), "rabbitmq").await;
}

async fn an_impersonator_publishes_for_others_and_nobody_else_does(broker: &Administered, run: &str) {
    let Names { user, queue, .. } = Names::new(&format!("tags-{run}"));
    let refused = Err(format!(
        "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was '{user}'"
    ));
    broker.add_user(&user).await;
    let channel = broker.channel(&user).await;
    within(channel.declare(Queue::new(&queue))).await.unwrap();
    let before = broker.channel(&user).await;
    let others = [UserTag::Administrator, UserTag::Management, UserTag::Monitoring, UserTag::Policymaker];
    broker.set_tags(&user, &others).await;
    assert_eq!(publish(&channel, "", &queue, user_id(&user)).await, Ok(()));
    assert_eq!(publish(&channel, "", &queue, user_id("other")).await, refused);
    assert_eq!(publish(&broker.channel(&user).await, "", &queue, user_id("other")).await, refused);

    broker.set_tags(&user, &[UserTag::Impersonator]).await;
    // A connection has the tags that its user had when it logged in.
    assert_eq!(publish(&before, "", &queue, user_id("other")).await, refused);
    let channel = broker.channel(&user).await;
    within(channel.purge(&queue)).await.unwrap();
    broker.set_tags(&user, &[]).await;
    assert_eq!(publish(&channel, "", &queue, user_id("other")).await, Ok(()));
    let came = within(channel.get(&queue, GetOptions::default())).await.unwrap().unwrap();
    assert_eq!(came.properties().unwrap().user_id.unwrap(), "other");
    assert_eq!(publish(&broker.channel(&user).await, "", &queue, user_id("other")).await, refused);

    within(channel.delete_queue(&queue, Default::default())).await.unwrap();
    broker.delete_user(&user).await;
}

#[tokio::test]
async fn an_impersonator_publishes_for_others_in_the_embedded_broker() {
    an_impersonator_publishes_for_others_and_nobody_else_does(&Administered::embedded().await, "ours").await;
}

#[tokio::test]
async fn an_impersonator_publishes_for_others_in_rabbitmq() {
    let test = "broker::users::an_impersonator_publishes_for_others_in_rabbitmq";
    let Some(node) = Node::require(test) else { return };
    let broker = Administered::RabbitMq(node);
    an_impersonator_publishes_for_others_and_nobody_else_does(&broker, "rabbitmq").await;
}
