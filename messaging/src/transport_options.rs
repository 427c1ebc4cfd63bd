//! The settings of a transport.

use std::time::Duration;

use amqp_client::{ConnectOptions, Recovery};

#[cfg(feature = "memory")]
use crate::connection::brokers::Streams;
#[cfg(feature = "oslo")]
use crate::oslo::settings::{topology::Topology, traffic::Traffic};
#[cfg(feature = "opentelemetry")]
use crate::telemetry::providers::Telemetry;
use crate::{
    connection::state::Role,
    trace_context::{TraceContext, TraceSource},
};

/// The default of the largest body, in bytes.
const MAX_MESSAGE_SIZE: u64 = 64 * 1024 * 1024;

/// The default of how long closing waits for work in progress.
const DRAIN: Duration = Duration::from_secs(5);

/// The settings of a transport: how to connect, and how the entities of RPC and notifications are
/// declared.
#[derive(Clone, Debug, Default)]
pub struct TransportOptions {
    name: Option<String>,
    connect_timeout: Option<Duration>,
    heartbeat: Option<Duration>,
    shuffle_hosts: bool,
    drain: Option<Duration>,
    pub(crate) wait_for_release: Option<Duration>,
    max_message_size: Option<u64>,
    pub(crate) trace: Option<TraceSource>,
    #[cfg(feature = "opentelemetry")]
    pub(crate) telemetry: Option<Telemetry>,
    #[cfg(feature = "oslo")]
    pub(crate) topology: Topology,
    #[cfg(feature = "oslo")]
    pub(crate) traffic: Traffic,
    pub(crate) recovery: Recovery,
    #[cfg(feature = "memory")]
    pub(crate) streams: Option<Streams>,
}

impl TransportOptions {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        TransportOptions::default()
    }

    /// Sets a name for the connections, which the broker's tools show.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the deadline for opening a connection: name look-up, TCP and handshake; default 10 s.
    /// An option in the URL takes precedence.
    #[must_use]
    pub fn connect_timeout(mut self, deadline: Duration) -> Self {
        self.connect_timeout = Some(deadline);
        self
    }

    /// Sets the heartbeat interval to propose; default 60 s. An option in the URL takes precedence.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }

    /// Tries several hosts in random order each time, so that many clients spread over them.
    /// Default: in the order given.
    #[must_use]
    pub fn shuffle_hosts(mut self, shuffle: bool) -> Self {
        self.shuffle_hosts = shuffle;
        self
    }

    /// Sets how long [`Transport::close`](crate::Transport::close) waits for publishes to be
    /// confirmed; default 5 s.
    #[must_use]
    pub fn drain_timeout(mut self, deadline: Duration) -> Self {
        self.drain = Some(deadline);
        self
    }

    /// Sets for how long an exclusive queue, or the
    /// [exclusive](crate::ConsumerBuilder::exclusive) use of a queue, is tried again after a lost
    /// connection. The broker may still keep it for the lost connection, or somebody else may have
    /// it. After this time the consumer, worker, server or listener ends with
    /// [`Error::QueueTaken`](crate::Error::QueueTaken) or
    /// [`Error::ConsumerEnded`](crate::Error::ConsumerEnded). Default 5 minutes.
    #[must_use]
    pub fn wait_for_release(mut self, deadline: Duration) -> Self {
        self.wait_for_release = Some(deadline);
        self
    }

    /// Sets the largest body in either direction, in bytes; default 64 MiB. Publishing a larger one
    /// is refused. When a larger one arrives, its body is dropped: see
    /// [`WorkerBuilder::max_message_size`](crate::WorkerBuilder::max_message_size), which overrides
    /// this for one queue. Servers and listeners treat such a message like one that cannot be
    /// decoded.
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// Sets the source of the trace that messages carry in their headers (`traceparent`,
    /// `tracestate`), for example a bridge to OpenTelemetry. It is asked for each message that
    /// carries no trace yet, also those of RPC and notifications. Default: no trace is carried.
    #[must_use]
    pub fn trace_context(
        mut self,
        current: impl Fn() -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Self {
        self.trace = Some(TraceSource::new(current));
        self
    }

    /// Sets which providers of OpenTelemetry get the spans and metrics of the transport, see
    /// [`Telemetry`]. Default: the global ones, if a program has set a tracer provider before it
    /// makes the transport.
    #[cfg(feature = "opentelemetry")]
    #[must_use]
    pub fn telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = Some(telemetry);
        self
    }

    /// Sets how a consuming connection is recovered after it was lost, and whether callers wait for
    /// the first connection. Publishing uses a [retry policy](crate::RetryPolicy) instead, except
    /// for the first connection. Default [`Recovery::new`]: recovered without limit, and the first
    /// connection is not waited for.
    ///
    /// With [`first_connect`](Recovery::first_connect), [`connect`](Self::connect) and the start of
    /// consumers, workers, servers and listeners retry within the limits of the recovery, so that
    /// they may start before the broker does. A failure that retrying cannot change, such as a
    /// refused login, is an error at once.
    ///
    /// ```no_run
    /// use messaging::{Recovery, TransportOptions};
    ///
    /// # async fn example() -> Result<(), messaging::Error> {
    /// let patient = Recovery::new().first_connect(true);
    /// let options = TransportOptions::new().recovery(patient);
    /// let transport = options.connect("amqp://broker.example").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn with(self, topology: Topology, traffic: Traffic) -> Self {
        TransportOptions { topology, traffic, ..self }
    }

    /// Returns how long closing waits for work in progress.
    pub(crate) fn drains_for(&self) -> Duration {
        self.drain.unwrap_or(DRAIN)
    }

    /// Returns the largest body, in bytes.
    pub(crate) fn largest_body(&self) -> u64 {
        self.max_message_size.unwrap_or(MAX_MESSAGE_SIZE)
    }

    /// Returns how to open a connection of this role.
    pub(crate) fn connect_options(&self, role: Role) -> ConnectOptions {
        let mut options =
            ConnectOptions::new().shuffle_hosts(self.shuffle_hosts).max_message_size(self.largest_body());
        if let Some(name) = &self.name {
            options = options.name(format!("{name} ({role})"));
        }
        if let Some(deadline) = self.connect_timeout {
            options = options.connect_timeout(deadline);
        }
        if let Some(interval) = self.heartbeat {
            options = options.heartbeat(interval);
        }
        match role {
            // A consuming connection is recovered when it is lost. The first connect is retried
            // elsewhere, where its failures become events.
            Role::Consume => {
                let recovery = self.recovery.clone().first_connect(false);
                options.recovery(match self.wait_for_release {
                    Some(deadline) => recovery.wait_for_release(deadline),
                    None => recovery,
                })
            }
            // Publishing has its own retries, which know the outcome of each message. A reader of a
            // stream continues at another offset each time.
            Role::Publish | Role::Stream => options,
        }
    }
}
