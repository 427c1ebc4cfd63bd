//! Links, and what tests ask of them.

use std::time::Duration;

use amqp_codec::{Method, Properties, ReplyCode, ShortString, Table, Value, method::channel};
use bytes::Bytes;
use redis::{FromRedisValue, aio::MultiplexedConnection};
use tokio::time::timeout;

use super::server::RedisServer;
use crate::{
    Broker,
    backend::{
        Backend, Binding, Claimed, ExchangeDeclaration, ExchangeKind, Link, Message, Published,
        QueueDeclaration, Source, Wakes,
    },
    redis::{Redis, RedisClaim, RedisLink, RedisOptions},
    tests::peer::Peer,
};

/// A server, a backend on it, and a plain connection.
pub(super) struct Setting {
    pub(super) server: RedisServer,
    pub(super) redis: Redis,
    pub(super) plain: MultiplexedConnection,
}

impl Setting {
    /// `None` when no server is installed.
    pub(super) async fn new(test: &str) -> Option<Self> {
        Self::with(test, |options| options).await
    }

    pub(super) async fn with(test: &str, change: impl FnOnce(RedisOptions) -> RedisOptions) -> Option<Self> {
        let server = RedisServer::start(test).await?;
        let options = change(RedisOptions::parse(&server.url()).unwrap());
        let plain = server.connect().await;
        Some(Setting { server, redis: Redis::new(options), plain })
    }

    pub(super) async fn open(&self) -> Client {
        Client::open(&self.redis).await
    }

    /// Runs a command on the plain connection.
    pub(super) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        ask(&self.plain, words).await
    }
}

pub(super) async fn ask<T: FromRedisValue>(plain: &MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut plain.clone()).await.unwrap()
}

/// A link with its wakes.
pub(super) struct Client {
    pub(super) link: RedisLink,
    pub(super) wakes: Wakes,
}

impl Client {
    pub(super) async fn open(redis: &Redis) -> Self {
        let wakes = Wakes::default();
        Client { link: redis.open(wakes.clone()).await.unwrap(), wakes }
    }

    pub(super) async fn declare(&mut self, name: &str, arguments: &[(&str, Value)]) -> u32 {
        self.link.declare_queue(&queue(name, arguments)).await.unwrap()
    }

    pub(super) async fn exchange(&mut self, name: &str, kind: ExchangeKind) {
        self.link.declare_exchange(&exchange(name, kind)).await.unwrap();
    }

    pub(super) async fn bind(&mut self, exchange: &str, routing_key: &str, queue: &str) {
        self.link.bind(&binding(exchange, routing_key, queue)).await.unwrap();
    }

    pub(super) async fn publish(&mut self, exchange: &str, routing_key: &str, body: &str) -> Published {
        let mut published = self.link.publish(&[message(exchange, routing_key, body)]).await.unwrap();
        published.pop().unwrap()
    }

    /// Watches a queue, which is declared if it does not exist.
    pub(super) async fn watch(&mut self, queue: &str) {
        if self.link.find_queue(queue).await.is_err() {
            self.declare(queue, &[]).await;
        }
        self.link.watch(queue).await.unwrap();
    }

    /// Claims up to so many messages of a queue.
    pub(super) async fn claim(&mut self, queue: &str, most: usize) -> Vec<Claimed<RedisClaim>> {
        self.link.claim(&[Source { queue, no_ack: false, most }]).await.unwrap()
    }

    /// Waits until a queue is announced.
    pub(super) async fn woken(&self, queue: &str) {
        let woken = async { while !self.wakes.next().await.queues.contains(queue) {} };
        timeout(Duration::from_secs(60), woken).await.expect("a wake-up");
    }

    /// Claims one message as soon as there is one. The queue must be watched.
    pub(super) async fn next(&mut self, queue: &str) -> Claimed<RedisClaim> {
        loop {
            if let Some(claimed) = self.claim(queue, 1).await.pop() {
                return claimed;
            }
            self.woken(queue).await;
        }
    }
}

pub(super) fn queue(name: &str, arguments: &[(&str, Value)]) -> QueueDeclaration {
    let mut table = Table::new();
    for (name, value) in arguments {
        table.insert(name, value.clone()).unwrap();
    }
    let (durable, exclusive, auto_delete) = (true, false, false);
    QueueDeclaration { name: name.to_owned(), durable, exclusive, auto_delete, arguments: table }
}

pub(super) fn exchange(name: &str, kind: ExchangeKind) -> ExchangeDeclaration {
    let (durable, auto_delete, internal) = (true, false, false);
    ExchangeDeclaration {
        name: name.to_owned(),
        kind,
        durable,
        auto_delete,
        internal,
        arguments: Table::new(),
    }
}

pub(super) fn binding(exchange: &str, routing_key: &str, queue: &str) -> Binding {
    Binding { exchange: exchange.to_owned(), queue: queue.to_owned(), routing_key: routing_key.to_owned() }
}

pub(super) fn message(exchange: &str, routing_key: &str, body: &str) -> Message {
    Message {
        exchange: ShortString::try_from(exchange).unwrap(),
        routing_key: ShortString::try_from(routing_key).unwrap(),
        properties: Properties::default(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

pub(super) fn bodies(claimed: &[Claimed<RedisClaim>]) -> Vec<&str> {
    claimed.iter().map(|claimed| std::str::from_utf8(&claimed.message.body).unwrap()).collect()
}

/// Has nothing look at queues, so that only what Redis announces wakes anybody.
pub(super) fn without_looks(mut options: RedisOptions) -> RedisOptions {
    options.periods.look = Duration::from_secs(24 * 3600);
    options.health_check_interval(Duration::ZERO)
}

/// A broker whose messages are on Redis.
pub(super) fn broker(server: &RedisServer) -> Broker {
    broker_at(&server.url())
}

pub(super) fn broker_at(url: &str) -> Broker {
    Broker::builder().backend("/", Redis::new(RedisOptions::parse(url).unwrap())).build()
}

/// Sends a method that is refused; returns the code and text, and opens the channel again.
pub(super) async fn refusal(peer: &mut Peer, method: impl Into<Method>) -> (ReplyCode, String) {
    peer.send(1, method).await;
    let close: channel::Close = peer.expect(1).await;
    peer.send(1, channel::CloseOk {}).await;
    peer.call(1, channel::Open::default()).await;
    (ReplyCode(close.reply_code), close.reply_text.to_text().into_owned())
}
