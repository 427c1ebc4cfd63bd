//! A call, from its request to its reply.

use std::{fmt, future::IntoFuture, marker::PhantomData, sync::Arc, time::Duration};

use amqp_client::Message;
use futures_util::future::{BoxFuture, FutureExt as _};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::{sleep_until, timeout, timeout_at};

use crate::{
    compress::Compression,
    error::Error,
    oslo::{
        error::{oslo::OsloError, remote::RemoteError},
        rpc::{
            client::route::{Kind, Route, Sending},
            message::wire::{ReceivedReply, Request},
            waiting::reply_queue::Expected,
        },
        wire::{context::Context, entity_serializer::Conversion, envelope, id::Id, target::Target},
    },
    publish::{json_message::json_message, options::compressed},
    retry::{Retry, RetryPolicy},
    serialize,
    transport::Transport,
    version::Version,
};

/// The shortest time of monitoring. Servers send two heartbeats in this time, counted in whole
/// seconds, and Python's send none when it is shorter.
const LEAST_MONITOR: Duration = Duration::from_secs(2);

/// The sender of requests, with its settings.
#[derive(Clone)]
pub(crate) struct Caller {
    destination: Arc<Destination>,
    pub(crate) context: Arc<Context>,
    pub(crate) timeout: Duration,
    pub(crate) monitor: Option<Duration>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) wait_for_server: bool,
    pub(crate) conversion: Conversion,
    pub(crate) compression: Option<Compression>,
    /// How long casts and fanouts wait to be taken.
    pub(crate) expiry: Option<Duration>,
}

/// The routes to a target.
struct Destination {
    transport: Transport,
    target: Target,
    routing_key: String,
    route: Route,
    fanout: Route,
}

impl Caller {
    pub(crate) fn new(transport: &Transport, target: Target) -> Self {
        Caller {
            destination: Arc::new(Destination::new(transport, target)),
            context: Arc::default(),
            timeout: Duration::from_secs(60),
            monitor: None,
            retry: None,
            wait_for_server: false,
            conversion: Conversion::default(),
            compression: transport.traffic().compression,
            expiry: None,
        }
    }

    pub(crate) fn retargeted(&self, target: Target) -> Self {
        Caller { destination: Arc::new(Destination::new(self.transport(), target)), ..self.clone() }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.destination.transport
    }

    pub(crate) fn target(&self) -> &Target {
        &self.destination.target
    }

    pub(crate) async fn cast(&self, method: &str, arguments: &RawValue) -> Result<(), Error> {
        self.observed(method, self.unobserved_cast(method, arguments)).await
    }

    pub(crate) async fn fanout(&self, method: &str, arguments: &RawValue) -> Result<(), Error> {
        self.observed(method, self.unobserved_fanout(method, arguments)).await
    }

    /// Makes a call as an operation of its own.
    async fn observed<T>(
        &self,
        method: &str,
        calling: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let operation = self.transport().observer().call(self.target().namespace_name(), method);
        let called = operation.around(calling).await;
        operation.end(called.as_ref().map(drop));
        called
    }

    async fn unobserved_cast(&self, method: &str, arguments: &RawValue) -> Result<(), Error> {
        let context = self.conversion.serialize_context(&self.context)?;
        let arguments = self.conversion.serialize_arguments(&self.context, arguments)?;
        self.send(&self.request(method, &arguments, &context), self.timeout, self.expiry).await
    }

    async fn unobserved_fanout(&self, method: &str, arguments: &RawValue) -> Result<(), Error> {
        let context = self.conversion.serialize_context(&self.context)?;
        let arguments = self.conversion.serialize_arguments(&self.context, arguments)?;
        let message = self.message(&self.request(method, &arguments, &context), self.expiry)?;
        let Destination { transport, target, fanout, .. } = &*self.destination;
        fanout.send((transport, target), ("", &message), &self.sending(self.timeout)).await
    }

    /// Returns a request that asks for no reply.
    fn request<'a>(&'a self, method: &'a str, arguments: &'a RawValue, context: &'a Context) -> Request<'a> {
        Request {
            method,
            arguments,
            namespace: self.target().namespace_name(),
            version: self.target().interface_version(),
            reply_to: None,
            monitor: None,
            context,
        }
    }

    async fn send(
        &self,
        request: &Request<'_>,
        within: Duration,
        expires: Option<Duration>,
    ) -> Result<(), Error> {
        let message = self.message(request, expires)?;
        let Destination { transport, target, routing_key, route, .. } = &*self.destination;
        route.send((transport, target), (routing_key, &message), &self.sending(within)).await
    }

    fn message(&self, request: &Request<'_>, expires: Option<Duration>) -> Result<Message, Error> {
        let body = envelope::encode(request).map_err(|source| Error::Encode { what: "a request", source })?;
        compressed(json_message(body, expires), self.compression)
    }

    fn sending(&self, within: Duration) -> Sending {
        let retry = match self.retry {
            Some(policy) => policy.within(within),
            None => RetryPolicy::default().deadline(within),
        };
        Sending { retry, wait_for_route: self.wait_for_server }
    }

    fn failed(&self, method: String, failure: Box<RemoteError>) -> OsloError {
        if failure.is_from_dispatcher("NoSuchMethod") {
            OsloError::NoSuchMethod { method }
        } else if failure.is_from_dispatcher("UnsupportedVersion") {
            let version = self.target().interface_version().unwrap_or(Version::DEFAULT);
            OsloError::UnsupportedVersion { method, version: version.to_string() }
        } else {
            OsloError::Remote(failure)
        }
    }
}

impl Destination {
    fn new(transport: &Transport, target: Target) -> Self {
        Destination {
            routing_key: target.routing_key(),
            route: Route::new(Kind::Request, transport, &target),
            fanout: Route::new(Kind::Fanout, transport, &target),
            transport: transport.clone(),
            target,
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("target", self.target())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A call that is made when it is awaited.
///
/// # Cancel safety
/// When the future is dropped the call is forgotten. The method may or may not run. A reply is
/// dropped and counted ([`Metrics::late_replies`](crate::rpc::Metrics::late_replies)).
#[must_use = "a call is made when it is awaited"]
pub struct Call<'a, R> {
    caller: &'a Caller,
    method: String,
    arguments: Result<Box<RawValue>, Error>,
    timeout: Duration,
    monitor: Option<Duration>,
    context: Option<Context>,
    result: PhantomData<fn() -> R>,
}

impl<'a, R> Call<'a, R> {
    pub(crate) fn new(caller: &'a Caller, method: &str, arguments: Result<Box<RawValue>, Error>) -> Self {
        Call {
            caller,
            method: method.to_owned(),
            arguments,
            timeout: caller.timeout,
            monitor: caller.monitor,
            context: None,
            result: PhantomData,
        }
    }

    /// Sets the time for connecting, sending and waiting for the result; default the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the call fail when no heartbeat has come from the server for this time; default the
    /// client's, see [`Client::monitor`](crate::rpc::Client::monitor).
    pub fn monitor(mut self, patience: Duration) -> Self {
        self.monitor = Some(patience);
        self
    }

    /// Sets the context that is sent with this request; default the client's.
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }
}

impl<'a, R: DeserializeOwned + 'a> IntoFuture for Call<'a, R> {
    /// # Errors
    /// [`Error::Undelivered`] when the request reached no server's queue, [`Error::Timeout`] when
    /// no answer came in time or the server's heartbeats stopped, [`OsloError::NoSuchMethod`],
    /// [`OsloError::UnsupportedVersion`], [`OsloError::VersionCap`], [`OsloError::Remote`] when the
    /// method failed, [`Error::Decode`] when its result is not an `R`.
    type Output = Result<R, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (caller, method) = (self.caller, self.method.clone());
        async move { caller.observed(&method, self.run()).await }.boxed()
    }
}

impl<R: DeserializeOwned> Call<'_, R> {
    async fn run(self) -> Result<R, Error> {
        let arguments = self.arguments?;
        let caller = self.caller;
        let clock = Retry::start(RetryPolicy::default().deadline(self.timeout));
        let replies = caller.transport().replies();
        if !replies.is_consumed() {
            let listening = Box::pin(Retry::until_permanent(self.timeout, || replies.ensure()));
            timeout_at(clock.deadline(), listening)
                .await
                .map_err(|_| out_of_time(&clock, "connecting"))??;
        }

        let monitor = self.monitor.map(|patience| patience.max(LEAST_MONITOR));
        let mut expected = replies.expect(monitor.is_some(), clock.deadline());
        let context = self.context.as_ref().unwrap_or(&caller.context);
        let arguments = caller.conversion.serialize_arguments(context, &arguments)?;
        let sent_context = caller.conversion.serialize_context(context)?;
        let reply_to: Option<(Id, &str)> = Some((expected.id(), replies.name()));
        let request =
            Request { reply_to, monitor, ..caller.request(&self.method, &arguments, &sent_context) };
        let remaining = self.timeout.saturating_sub(clock.elapsed());
        let sending = caller.send(&request, remaining, Some(remaining));
        let mut reply = wait(&mut expected, sending, monitor, &clock).await?;
        let _room = reply.room.take();
        match reply.into_answer() {
            Ok(result) => decode_result(caller.conversion.deserialize_result(context, result)?.as_deref()),
            Err(failure) => Err(caller.failed(self.method, failure).into()),
        }
    }
}

/// Sends the request and waits for the reply, which may come before the broker's confirm of the
/// request.
async fn wait(
    expected: &mut Expected,
    sending: impl Future<Output = Result<(), Error>>,
    monitor: Option<Duration>,
    clock: &Retry,
) -> Result<ReceivedReply, Error> {
    let heartbeats = expected.heartbeats();
    tokio::select! {
        reply = expected.reply() => return reply,
        sent = sending => sent?,
    }
    if let (Some(heartbeats), Some(patience)) = (heartbeats, monitor) {
        let silence = async {
            loop {
                let heard = timeout(patience, heartbeats.notified()).await;
                if heard.is_err() {
                    return;
                }
            }
        };
        return tokio::select! {
            biased;
            reply = expected.reply() => reply,
            () = sleep_until(clock.deadline()) => Err(out_of_time(clock, WAITING)),
            () = silence => Err(out_of_time(clock, "waiting for the next heartbeat of the server")),
        };
    }
    let reply = timeout_at(clock.deadline(), expected.reply()).await;
    reply.map_err(|_| out_of_time(clock, WAITING))?
}

const WAITING: &str = "waiting for the reply";

fn out_of_time(clock: &Retry, during: &'static str) -> Error {
    Error::Timeout { after: clock.elapsed(), during }
}

fn decode_result<R: DeserializeOwned>(result: Option<&RawValue>) -> Result<R, Error> {
    serialize::from_json(result.map_or("null", RawValue::get))
        .map_err(|source| Error::Decode { what: "the result of a method", source })
}
