//! Calling methods of other processes.

use std::{fmt, future::IntoFuture, marker::PhantomData, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::timeout_at;

use super::wire::{ReceivedReply, Request};
use crate::{
    context::Context,
    envelope,
    error::{Error, RemoteError},
    id::Id,
    json_message::json_message,
    producer::Producer,
    reply::Expected,
    retry::{Retry, RetryPolicy},
    serialize,
    target::Target,
    transport::Transport,
    version::Version,
};

/// Calls the methods of a target. Cloning is cheap, and all clones can call at once.
///
/// ```
/// use std::time::Duration;
/// use messaging::{Target, Transport, rpc};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Add { a: i64, b: i64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://rpc-example").await?;
/// let server = rpc::Server::new(&transport, Target::topic("math").server("host-1"))
///     .endpoint(rpc::Endpoint::new().version(1, 3).method("add", |_, args: Add| async move { Ok(args.a + args.b) }))
///     .start()
///     .await?;
///
/// let math = rpc::Client::new(&transport, Target::topic("math").version(1, 3));
/// let sum: i64 = math.call("add", &Add { a: 1, b: 2 }).timeout(Duration::from_secs(2)).await?;
/// assert_eq!(sum, 3);
///
/// server.stop().await?;
/// transport.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    context: Arc<Context>,
    timeout: Duration,
    wait_for_server: bool,
}

struct Shared {
    transport: Transport,
    target: Target,
    routing_key: String,
    producer: Producer,
    fanout: Producer,
}

impl Client {
    /// For the methods of a target.
    #[must_use]
    pub fn new(transport: &Transport, target: Target) -> Self {
        let topology = transport.topology();
        let shared = Shared {
            routing_key: target.routing_key(),
            producer: transport.producer(topology.exchange(target.exchange_name())).mandatory(true),
            fanout: transport.producer(topology.fanout_exchange(target.topic_name())),
            transport: transport.clone(),
            target,
        };
        Client {
            shared: Arc::new(shared),
            context: Arc::default(),
            timeout: Duration::from_secs(60),
            wait_for_server: false,
        }
    }

    /// The time for each call, cast or fanout, from connecting to the answer; default 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What travels with every request; default nothing.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = Arc::new(context);
        self
    }

    /// Whether a request that no server's queue takes is tried again until its time is up, instead of failing at once;
    /// default false.
    #[must_use]
    pub fn wait_for_server(mut self, wait: bool) -> Self {
        self.wait_for_server = wait;
        self
    }

    /// Calls a method and waits for its result: `await` what this returns.
    ///
    /// Arguments go by name: they are a struct, a map, or `()` for none.
    pub fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &(impl Serialize + ?Sized),
    ) -> Call<'_, R> {
        Call {
            client: self,
            method: method.to_owned(),
            arguments: encode_arguments(method, arguments),
            timeout: self.timeout,
            context: None,
            result: PhantomData,
        }
    }

    /// Asks one server to run a method; there is no answer. Done when the broker has the request.
    ///
    /// # Errors
    /// As [`Producer::ensure_publish`]; [`Outcome::Unroutable`](crate::Outcome::Unroutable) when there is no server.
    ///
    /// # Cancel safety
    /// When the future is dropped the request may or may not be sent.
    pub async fn cast(&self, method: &str, arguments: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let arguments = encode_arguments(method, arguments)?;
        let request = self.request(method, &arguments, None, &self.context);
        self.send(&self.shared.producer, &self.shared.routing_key, &request, self.timeout, None).await
    }

    /// Asks all servers of the topic to run a method; there is no answer, and no error when there are no servers.
    ///
    /// # Errors
    /// As [`Producer::ensure_publish`].
    ///
    /// # Cancel safety
    /// When the future is dropped the request may or may not be sent.
    pub async fn fanout(&self, method: &str, arguments: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let arguments = encode_arguments(method, arguments)?;
        let request = self.request(method, &arguments, None, &self.context);
        self.send(&self.shared.fanout, "", &request, self.timeout, None).await
    }

    fn request<'a>(
        &'a self,
        method: &'a str,
        arguments: &'a RawValue,
        reply_to: Option<Id>,
        context: &'a Context,
    ) -> Request<'a> {
        let target = &self.shared.target;
        Request {
            method,
            arguments,
            namespace: target.namespace_name(),
            version: target.interface_version(),
            reply_to: reply_to.map(|id| (id, self.shared.transport.replies().name())),
            context,
        }
    }

    async fn send(
        &self,
        producer: &Producer,
        routing_key: &str,
        request: &Request<'_>,
        within: Duration,
        expires: Option<Duration>,
    ) -> Result<(), Error> {
        let body = envelope::encode(request).map_err(|source| Error::Encode { what: "a request", source })?;
        let message = json_message(body, expires);
        let producer = producer
            .clone()
            .retry(RetryPolicy::default().deadline(within))
            .wait_for_route(self.wait_for_server);
        producer.deliver(routing_key, &message, None).await.map(drop)
    }

    fn failed(&self, method: String, failure: Box<RemoteError>) -> Error {
        if failure.is_from_dispatcher("NoSuchMethod") {
            Error::NoSuchMethod { method }
        } else if failure.is_from_dispatcher("UnsupportedVersion") {
            let version = self.shared.target.interface_version().unwrap_or(Version::DEFAULT);
            Error::UnsupportedVersion { method, version: version.to_string() }
        } else {
            Error::Remote(failure)
        }
    }
}

/// A call about to be made: `await` it.
///
/// # Cancel safety
/// When the future is dropped the call is forgotten: the method may run or not, and its reply is ignored.
#[must_use = "a call is made when it is awaited"]
pub struct Call<'a, R> {
    client: &'a Client,
    method: String,
    arguments: Result<Box<RawValue>, Error>,
    timeout: Duration,
    context: Option<Context>,
    result: PhantomData<fn() -> R>,
}

impl<R> Call<'_, R> {
    /// The time for connecting, sending and waiting for the result; default the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What travels with this request; default the client's.
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }
}

impl<'a, R: DeserializeOwned + 'a> IntoFuture for Call<'a, R> {
    /// # Errors
    /// [`Error::Undelivered`] when the request reached no server's queue, [`Error::Timeout`] when no answer came,
    /// [`Error::NoSuchMethod`], [`Error::UnsupportedVersion`], [`Error::Remote`] when the method failed, [`Error::Decode`]
    /// when its result is no `R`.
    type Output = Result<R, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

impl<R: DeserializeOwned> Call<'_, R> {
    async fn run(self) -> Result<R, Error> {
        let arguments = self.arguments?;
        let client = self.client;
        let clock = Retry::start(RetryPolicy::default().deadline(self.timeout));
        let replies = client.shared.transport.replies();
        let listening = Retry::until_permanent(self.timeout, || replies.ensure());
        timeout_at(clock.deadline(), listening).await.map_err(|_| out_of_time(&clock, "connecting"))??;

        let mut expected = replies.expect();
        let context = self.context.as_ref().unwrap_or(&client.context);
        let request = client.request(&self.method, &arguments, Some(expected.id()), context);
        let remaining = self.timeout.saturating_sub(clock.elapsed());
        let Shared { producer, routing_key, .. } = &*client.shared;
        let sending = client.send(producer, routing_key, &request, remaining, Some(remaining));
        let reply = wait(&mut expected, sending, &clock).await?;
        match reply.into_answer() {
            Ok(result) => decode_result(result.as_deref()),
            Err(failure) => Err(client.failed(self.method, failure)),
        }
    }
}

/// Sends and waits. The reply may come before the broker's confirm of the request.
async fn wait(
    expected: &mut Expected,
    sending: impl Future<Output = Result<(), Error>>,
    clock: &Retry,
) -> Result<ReceivedReply, Error> {
    tokio::select! {
        reply = expected.reply() => return reply,
        sent = sending => sent?,
    }
    let reply = timeout_at(clock.deadline(), expected.reply()).await;
    reply.map_err(|_| out_of_time(clock, "waiting for the reply"))?
}

fn out_of_time(clock: &Retry, during: &'static str) -> Error {
    Error::Timeout { after: clock.elapsed(), during }
}

/// Arguments are a JSON object; none are an empty one.
fn encode_arguments(method: &str, arguments: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, Error> {
    let encoded = |source| Error::Encode { what: "the arguments of a method", source };
    let raw = to_raw_value(arguments).map_err(encoded)?;
    match raw.get() {
        object if object.starts_with('{') => Ok(raw),
        "null" => to_raw_value(&serde_json::Map::new()).map_err(encoded),
        _ => Err(Error::Arguments { method: method.to_owned() }),
    }
}

fn decode_result<R: DeserializeOwned>(result: Option<&RawValue>) -> Result<R, Error> {
    serialize::from_json(result.map_or("null", RawValue::get))
        .map_err(|source| Error::Decode { what: "the result of a method", source })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("target", &self.shared.target).finish_non_exhaustive()
    }
}
