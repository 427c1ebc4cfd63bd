//! The client: calling methods of other processes.

pub(crate) mod call;
mod route;

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    compress::Compression,
    error::Error,
    oslo::{
        error::oslo::OsloError,
        rpc::{
            client::call::{Call, Caller},
            waiting::metrics::Metrics,
        },
        wire::{
            context::Context,
            entity_serializer::{Conversion, EntitySerializer},
            target::Target,
        },
    },
    retry::RetryPolicy,
    transport::Transport,
    version::Version,
};

/// Calls the methods of a target. [`Transport::rpc_client`](crate::Transport::rpc_client) makes it.
/// Cloning is cheap, and all clones can call concurrently.
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
/// let server = transport.rpc_server(Target::topic("math").server("host-1"))
///     .endpoint(
///         rpc::Endpoint::new()
///             .version(1, 3)
///             .method("add", |_, args: Add| async move { Ok(args.a + args.b) }),
///     )
///     .start()
///     .await?;
///
/// let math = transport.rpc_client(Target::topic("math").version(1, 3));
/// let sum: i64 = math.call("add", &Add { a: 1, b: 2 }).timeout(Duration::from_secs(2)).await?;
/// assert_eq!(sum, 3);
///
/// server.stop().await?;
/// transport.close().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    caller: Caller,
    version_cap: Option<Version>,
}

impl Client {
    pub(crate) fn new(transport: &Transport, target: Target) -> Self {
        Client { caller: Caller::new(transport, target), version_cap: None }
    }

    /// Returns a variant of this client with another target: one server of the topic, another
    /// namespace, a later version. All other settings are the same, and can be changed by the other
    /// setters.
    ///
    /// ```
    /// # fn example(math: &messaging::rpc::Client) {
    /// let newest_on_host_1 = math.prepare(|target| target.server("host-1").version(1, 4));
    /// # let _ = newest_on_host_1;
    /// # }
    /// ```
    #[must_use]
    pub fn prepare(&self, change: impl FnOnce(Target) -> Target) -> Self {
        let target = change(self.caller.target().clone());
        Client { caller: self.caller.retargeted(target), version_cap: self.version_cap }
    }

    /// Sets the time for each call, cast or fanout, from connecting to the answer; default 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.caller.timeout = timeout;
        self
    }

    /// Monitors calls: the server is asked to send heartbeats while it works on a call, and a call
    /// fails when none has come for this time. The timeout still limits the whole call. This is
    /// Python's `call_monitor_timeout`.
    ///
    /// A server sends two heartbeats in this time, which it counts in whole seconds; therefore less
    /// than 2 s is taken for 2 s. Default: calls are not monitored.
    #[must_use]
    pub fn monitor(mut self, patience: Duration) -> Self {
        self.caller.monitor = Some(patience);
        self
    }

    /// Sets the latest version that may be called, for as long as older servers run. Calls of a
    /// later version, or without a version, fail with [`OsloError::VersionCap`] and are not sent.
    /// Default: none.
    #[must_use]
    pub fn version_cap(mut self, cap: Version) -> Self {
        self.version_cap = Some(cap);
        self
    }

    /// Whether the version cap covers this version.
    #[must_use]
    pub fn can_send_version(&self, version: Version) -> bool {
        self.version_cap.is_none_or(|cap| cap.supports(version))
    }

    /// Sets when sending a request is retried. Its deadline applies if it is earlier than the
    /// timeout. Default: as [`RetryPolicy::default`], until the timeout.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.caller.retry = Some(policy);
        self
    }

    /// Sets the context that is sent with every request; default nothing.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.caller.context = Arc::new(context);
        self
    }

    /// Sets whether a request that no server's queue takes is retried until its time is up, instead
    /// of failing at once; default false.
    #[must_use]
    pub fn wait_for_server(mut self, wait: bool) -> Self {
        self.caller.wait_for_server = wait;
        self
    }

    /// Sets the conversion of arguments, contexts and results. The servers have to use the same.
    /// Default: they are sent unchanged.
    #[must_use]
    pub fn serializer(mut self, serializer: impl EntitySerializer) -> Self {
        self.caller.conversion = Conversion::by(serializer);
        self
    }

    /// Sets how long a cast or fanout may wait in its queue. If no server has taken it by then it
    /// is dropped, as a call is at its timeout. Default: without limit, as in Python.
    #[must_use]
    pub fn cast_expiry(mut self, expiry: Duration) -> Self {
        self.caller.expiry = Some(expiry);
        self
    }

    /// Compresses requests, which all servers can read, Python's included: `kombu_compression`.
    /// This pays off for large arguments. Default: as the
    /// [transport](crate::TransportOptions::oslo_compression) says.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.caller.compression = Some(compression);
        self
    }

    /// Calls a method: `await` the returned call to get the result.
    ///
    /// Arguments are passed by name: they are a struct, a map, or `()` for none.
    pub fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &(impl Serialize + ?Sized),
    ) -> Call<'_, R> {
        Call::new(&self.caller, method, self.encode_arguments(method, arguments))
    }

    /// Asks one server to run a method, without an answer. Returns when the broker has the request.
    ///
    /// # Errors
    /// As [`Producer::ensure_publish`](crate::Producer::ensure_publish);
    /// [`Outcome::Unroutable`](crate::Outcome::Unroutable) when there is no server;
    /// [`OsloError::VersionCap`].
    ///
    /// # Cancel safety
    /// When the future is dropped the request may or may not be sent.
    pub async fn cast(&self, method: &str, arguments: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let arguments = self.encode_arguments(method, arguments)?;
        self.caller.cast(method, &arguments).await
    }

    /// Asks all servers of the topic to run a method, without an answer. It is no error if there
    /// are no servers.
    ///
    /// # Errors
    /// As [`Producer::ensure_publish`](crate::Producer::ensure_publish); [`OsloError::VersionCap`].
    ///
    /// # Cancel safety
    /// When the future is dropped the request may or may not be sent.
    pub async fn fanout(&self, method: &str, arguments: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let arguments = self.encode_arguments(method, arguments)?;
        self.caller.fanout(method, &arguments).await
    }

    /// Returns counts of the calls of all clients of this client's transport.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let replies = self.caller.transport().replies();
        Metrics { in_flight: replies.waiting(), late_replies: replies.late() }
    }

    /// Checks whether the request may be sent at all, and encodes its arguments as JSON.
    fn encode_arguments(
        &self,
        method: &str,
        arguments: &(impl Serialize + ?Sized),
    ) -> Result<Box<RawValue>, Error> {
        let version = self.caller.target().interface_version();
        if let Some(cap) = self.version_cap
            && !version.is_some_and(|version| cap.supports(version))
        {
            return Err(OsloError::VersionCap { version, cap }.into());
        }
        encode_arguments(method, arguments)
    }
}

/// Encodes the arguments as a JSON object, which is empty when there are none.
fn encode_arguments(method: &str, arguments: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, Error> {
    let encoded = |source| Error::Encode { what: "the arguments of a method", source };
    let raw = to_raw_value(arguments).map_err(encoded)?;
    match raw.get() {
        object if object.starts_with('{') => Ok(raw),
        "null" => to_raw_value(&serde_json::Map::new()).map_err(encoded),
        _ => Err(OsloError::Arguments { method: method.to_owned() }.into()),
    }
}
