//! A connection of a transport: opened on first use, and again when it has ended.

use std::{iter, sync::Arc, time::Duration};

use amqp_client::{Channel, ConnectOptions, Connection, Event, Recovery, Report, State};
use futures_util::future::join_all;
use tokio::{
    sync::MutexGuard,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{
        brokers::Brokers,
        event::Teller,
        history::History,
        left::Left,
        metrics::TransportMetrics,
        server::is_rabbitmq_since,
        setup::Setup,
        setup_error::SetupError,
        silence::{PATIENCE, Silence},
        state::{ConnectionState, Role},
    },
    error::Error,
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

/// A connection that is opened when it is asked for.
#[derive(Clone)]
pub(crate) struct LazyConnection {
    shared: Arc<Inner>,
    /// Whether callers wait until the connection can be opened, within the limits of
    /// [`ConnectionSettings::recovery`].
    is_patient: bool,
}

/// The settings with which a connection is opened.
pub(crate) struct ConnectionSettings {
    pub(crate) brokers: Brokers,
    pub(crate) options: ConnectOptions,
    /// The largest body that is published or accepted, in bytes.
    pub(crate) max_message_size: u64,
    /// The limits within which the first connect is retried, if at all.
    pub(crate) recovery: Recovery,
}

struct Inner {
    role: Role,
    settings: Arc<ConnectionSettings>,
    teller: Teller,
    opened: Mutex<Opened>,
    /// The opening of the connection, shared by all callers that wait for it.
    connecting: Setup<Connection>,
    /// The number of the present attempt to open it; 0 when there is none.
    attempt: Arc<AtomicU32>,
    /// The signal that ends all work in progress.
    closing: CancellationToken,
    /// How many attempts to publish were retries.
    retried: AtomicU64,
    history: Arc<Mutex<History>>,
    /// Held by the one caller that has a connection of its own.
    alone: tokio::sync::Mutex<()>,
}

/// The connections that were opened.
#[derive(Default)]
struct Opened {
    /// The last connection; it may have ended since.
    connection: Option<Connection>,
    /// Set when the messages are in a Redis.
    is_on_redis: bool,
    /// How many connections there have been.
    count: u64,
    /// How long the connection has not opened a channel that was asked for.
    silence: Silence,
    /// The reason why the connection could not be opened since.
    failure: Option<amqp_client::Error>,
    /// The task that forwards the events of the last connection.
    telling: Option<JoinHandle<()>>,
    /// Earlier connections that may still be in use.
    left: Vec<Left>,
    /// The counts of earlier connections that have ended.
    before: TransportMetrics,
}

impl LazyConnection {
    pub(crate) fn new(role: Role, settings: ConnectionSettings, teller: Teller) -> Self {
        let (opened, connecting, attempt, closing, retried, history, alone) = Default::default();
        let settings = Arc::new(settings);
        let shared =
            Inner { role, settings, teller, opened, connecting, attempt, closing, retried, history, alone };
        LazyConnection { shared: Arc::new(shared), is_patient: false }
    }

    /// Returns a handle whose callers wait until the connection can be opened, if the settings say
    /// so.
    pub(crate) fn patient(&self) -> Self {
        LazyConnection {
            shared: self.shared.clone(),
            is_patient: self.shared.settings.recovery.is_for_first_connect(),
        }
    }

    /// Returns the connection, and opens it if needed. A connection that is being recovered counts
    /// as open.
    ///
    /// # Errors
    /// [`SetupError::Connect`]; [`SetupError::Closed`] as soon as it is closed for good.
    ///
    /// # Cancel safety
    /// Opening continues after this future is dropped, and the next caller gets the connection.
    pub(crate) async fn connection(&self) -> Result<Connection, SetupError> {
        if let Some(connection) = self.shared.connection()? {
            return Ok(connection);
        }
        let opening = async {
            if self.is_patient { self.shared.open_at_last().await } else { self.shared.open(1).await }
        };
        self.shared.closing.run_until_cancelled(opening).await.unwrap_or(Err(SetupError::Closed))
    }

    /// Returns the pause before a caller that waits for the first connection does again what a lost
    /// connection has ended, after this many attempts and this much time; `None` when it does not
    /// wait, or the limits allow no more.
    pub(crate) fn next_pause(&self, attempts: u32, elapsed: Duration) -> Option<Duration> {
        if !self.is_patient {
            return None;
        }
        self.shared.settings.recovery.next_pause(attempts, elapsed)
    }

    /// Tells whether the messages are in a Redis: what the broker says that was connected to last.
    pub(crate) fn is_on_redis(&self) -> bool {
        self.shared.opened.lock().is_on_redis
    }

    /// Tells whether the broker that was connected to last is a RabbitMQ of this version or later.
    pub(crate) fn is_on_rabbitmq_since(&self, version: (u32, u32)) -> bool {
        let connection = self.shared.opened.lock().connection.clone();
        connection.is_some_and(|connection| is_rabbitmq_since(&connection.server_properties(), version))
    }

    /// Returns the counts that only a Redis has, of this connection and others.
    pub(crate) fn redis_metrics(&self) -> TransportMetrics {
        self.shared.settings.brokers.redis_metrics()
    }

    pub(crate) fn max_message_size(&self) -> u64 {
        self.shared.settings.max_message_size
    }

    /// Opens a new channel on the connection.
    pub(crate) async fn open_channel(&self) -> Result<Channel, SetupError> {
        let connection = self.connection().await?;
        connection.open_channel().await.map_err(SetupError::broker("open a channel"))
    }

    /// Opens a new channel and runs `work` on it. If the connection falls silent meanwhile, starts
    /// over on another connection.
    pub(crate) async fn with_channel<T, W>(&self, work: impl Fn(Channel) -> W) -> Result<T, SetupError>
    where
        W: Future<Output = Result<T, SetupError>>,
    {
        let (number, channel) = self.open_channel_soon().await?;
        tokio::select! {
            biased;
            done = work(channel) => return done,
            () = self.falls_silent(number) => {}
        }
        let (_, channel) = self.open_channel_soon().await?;
        work(channel).await
    }

    /// Opens a channel as [`open_channel`](Self::open_channel) does, on another connection if this
    /// one does not answer soon. Also returns the number of the connection. RabbitMQ stops reading
    /// from a connection while one of its channels has sent more to a quorum queue without a
    /// majority than that accepts (<https://www.rabbitmq.com/docs/flow-control>). Work in progress
    /// on the old connection continues.
    async fn open_channel_soon(&self) -> Result<(u64, Channel), SetupError> {
        let (number, connection) = self.numbered_connection().await?;
        if let Some(opened) = self.answer(number, &connection).await {
            return Ok((number, opened.map_err(SetupError::broker("open a channel"))?));
        }
        let (number, connection) = self.numbered_connection().await?;
        let opened = connection.open_channel().await.map_err(SetupError::broker("open a channel"))?;
        Ok((number, opened))
    }

    async fn numbered_connection(&self) -> Result<(u64, Connection), SetupError> {
        let connection = self.connection().await?;
        // A newer connection may have replaced it meanwhile. The newer number serves as well,
        // because the old connection is no longer used.
        Ok((self.shared.opened.lock().count, connection))
    }

    /// Returns a connection's answer to a request for a channel; `None` when there is no answer,
    /// and then the connection is abandoned unless the broker blocks it.
    async fn answer(&self, number: u64, connection: &Connection) -> Option<amqp_client::Result<Channel>> {
        let waiting = self.shared.opened.lock().silence.wait();
        let answer = timeout_at(waiting.until(), connection.open_channel()).await.ok();
        if answer.is_some() || self.blocked().is_some() {
            waiting.answered();
        } else {
            self.shared.opened.lock().leave(number);
        }
        answer
    }

    /// Completes when this connection does not answer any more, or is not the one in use.
    async fn falls_silent(&self, number: u64) {
        sleep(PATIENCE).await;
        while let Some(connection) = self.connection_of(number) {
            // Dropping the channel that came as the answer closes it.
            if self.answer(number, &connection).await.is_some() {
                sleep(PATIENCE).await;
            }
        }
    }

    /// Returns the connection with this number, while it is in use.
    fn connection_of(&self, number: u64) -> Option<Connection> {
        let opened = self.shared.opened.lock();
        opened.connection.clone().filter(|_| opened.count == number)
    }

    /// Opens a connection for one caller, who is the only one to have such a connection while the
    /// guard lives.
    pub(crate) async fn connect_alone(&self) -> Result<(MutexGuard<'_, ()>, Connection), SetupError> {
        let Inner { alone, closing, settings, .. } = &*self.shared;
        let turn = alone.lock().await;
        let connecting = settings.brokers.connect(&settings.options);
        let connected = closing.run_until_cancelled(connecting).await;
        Ok((turn, connected.unwrap_or(Err(SetupError::Closed))?))
    }

    /// Whether there is a connection at this moment.
    #[cfg(feature = "oslo")]
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state(), ConnectionState::Connected | ConnectionState::Blocked { .. })
    }

    /// Whether it was closed for good by its user.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closing.is_cancelled()
    }

    /// Returns the state of the connection.
    pub(crate) fn state(&self) -> ConnectionState {
        if self.is_closed() {
            return ConnectionState::Closed;
        }
        let (connection, failure) = {
            let opened = self.shared.opened.lock();
            (opened.connection.clone(), opened.failure.clone())
        };
        let ended = match connection.as_ref().map(Connection::state) {
            Some(State::Open) => return ConnectionState::Connected,
            Some(State::Blocked(reason)) => return ConnectionState::Blocked { reason },
            Some(State::Recovering { attempt, reason }) => {
                return ConnectionState::Recovering { attempt, reason };
            }
            Some(State::Closing(reason) | State::Closed(reason)) => Some(reason),
            Some(_) | None => None,
        };
        match (self.shared.attempt.load(Relaxed), failure.or(ended)) {
            (0, Some(reason)) => ConnectionState::Lost { reason },
            (0, None) => ConnectionState::Idle,
            (attempt, _) => ConnectionState::Connecting { attempt },
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.shared.role
    }

    pub(crate) fn history(&self) -> History {
        self.shared.history.lock().clone()
    }

    /// Returns the reason why the broker blocks publishing, if it does.
    pub(crate) fn blocked(&self) -> Option<amqp_client::Error> {
        match self.state() {
            ConnectionState::Blocked { reason } => Some(amqp_client::Error::Blocked { reason }),
            _ => None,
        }
    }

    /// Sends the broker a request, and returns how long the answer took.
    ///
    /// # Errors
    /// When there is no connection, or the broker blocks it and so would not answer.
    pub(crate) async fn probe(&self) -> Result<Duration, Error> {
        self.connection().await?;
        if let Some(source) = self.blocked() {
            return Err(Error::broker("publish")(source));
        }
        let asked = Instant::now();
        let channel = self.open_channel().await?;
        let took = asked.elapsed();
        channel.close().await.map_err(Error::broker("close a channel"))?;
        Ok(took)
    }

    /// Returns what its connections have done, and what the present one holds.
    pub(crate) fn metrics(&self) -> TransportMetrics {
        let opened = self.shared.opened.lock();
        let before = opened.left.iter().fold(opened.before, |before, left| left.count(before));
        let present = opened.connection.as_ref().map(Connection::metrics);
        let metrics = present.map_or(before, |present| before.with(&present));
        TransportMetrics { retried: self.shared.retried.load(Relaxed), ..metrics }
    }

    /// Counts a retry of a message.
    pub(crate) fn count_retry(&self) {
        self.shared.retried.fetch_add(1, Relaxed);
    }

    /// Closes the connection for good, also one that is being opened or recovered, and those that
    /// were abandoned.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.end(async |connection| connection.close().await.map_err(Error::broker("close the connection")))
            .await
    }

    /// Closes as [`close`](Self::close) does, but first waits until all publishes are confirmed or
    /// the deadline has passed.
    pub(crate) async fn drain(&self, deadline: Duration) -> Result<(), Error> {
        self.end(|connection| async move {
            connection.drain(deadline).await.map_err(Error::broker("drain the connection"))
        })
        .await
    }

    /// Ends all connections with `end`, and waits until all their events were forwarded.
    async fn end<F>(&self, end: impl Fn(Connection) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let (connections, telling) = self.shared.leave();
        let ended = join_all(connections.into_iter().map(end)).await;
        // These tasks do not panic.
        join_all(telling).await;
        ended.into_iter().collect()
    }
}

impl Opened {
    /// Abandons this connection: the next caller gets another one.
    fn leave(&mut self, number: u64) {
        if self.count == number
            && let Some(left) = self.connection.take()
        {
            tracing::warn!("the broker does not answer on a connection; later publishes use another one");
            self.forget_those_over();
            self.left.push(Left::new(&left, self.telling.take()));
        }
    }

    fn forget_those_over(&mut self) {
        for over in self.left.extract_if(.., |left| left.is_over()) {
            self.before = over.count(self.before);
        }
    }

    /// Takes all connections, and the tasks that forward their events.
    fn end(&mut self) -> (Vec<Connection>, Vec<JoinHandle<()>>) {
        let present = (self.connection.clone(), self.telling.take());
        let all = iter::once(present).chain(self.left.iter_mut().map(Left::end));
        let (connections, telling): (Vec<_>, Vec<_>) = all.unzip();
        (connections.into_iter().flatten().collect(), telling.into_iter().flatten().collect())
    }
}

impl Inner {
    /// Returns the connection, unless it has ended.
    fn connection(&self) -> Result<Option<Connection>, SetupError> {
        if self.closing.is_cancelled() {
            return Err(SetupError::Closed);
        }
        Ok(self.opened.lock().connection.clone().filter(|connection| !connection.is_closed()))
    }

    /// Closes for good: takes the connections that are to be closed, and the tasks that forward
    /// their events.
    fn leave(&self) -> (Vec<Connection>, Vec<JoinHandle<()>>) {
        self.closing.cancel();
        let (mut connections, telling) = self.opened.lock().end();
        connections.retain(|connection| !connection.is_closed());
        (connections, telling)
    }

    /// Opens the connection as soon as that is possible, within the limits set.
    async fn open_at_last(self: &Arc<Self>) -> Result<Connection, SetupError> {
        let begun = Instant::now();
        let mut attempt = 1;
        loop {
            let error = match self.open(attempt).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            let delay = self.settings.recovery.next_pause(attempt, begun.elapsed());
            let Some(delay) = delay.filter(|_| !error.is_permanent()) else { return Err(error) };
            attempt += 1;
            let connection = self.role;
            tracing::warn!(%connection, error = %Report(&Error::from(error)), attempt, ?delay, "cannot connect yet; the next attempt follows after the delay");
            self.teller.tell(connection, Event::Reconnecting { attempt, delay });
            let _attempting = Attempting::begin(&self.attempt, attempt);
            sleep(delay).await;
        }
    }

    /// Makes one attempt to open the connection.
    async fn open(self: &Arc<Self>, attempt: u32) -> Result<Connection, SetupError> {
        let ready = || self.connection().ok().flatten();
        self.connecting.wait(ready, || self.connect(attempt)).await
    }

    /// Opens the connection for all callers that wait for it. The work ends when the last handle is
    /// dropped.
    fn connect(
        self: &Arc<Self>,
        attempt: u32,
    ) -> impl Future<Output = Result<Connection, SetupError>> + use<> {
        let (shared, settings, closing) = (Arc::downgrade(self), self.settings.clone(), self.closing.clone());
        let attempting = Attempting::begin(&self.attempt, attempt);
        async move {
            let _attempting = attempting;
            let connected = closing.run_until_cancelled(settings.brokers.connect(&settings.options)).await;
            let shared = shared.upgrade().ok_or(SetupError::Closed)?;
            let connected = connected.unwrap_or(Err(SetupError::Closed));
            connected.inspect_err(|error| shared.failed(attempt, error)).and_then(|new| shared.opened(new))
        }
    }

    fn failed(&self, attempt: u32, error: &SetupError) {
        if let SetupError::Connect { source, .. } = error {
            self.opened.lock().failure = Some(source.clone());
            self.history.lock().failed(source);
            self.teller.tell(self.role, Event::NotConnected { attempt, reason: source.clone() });
        }
    }

    fn opened(&self, connection: Connection) -> Result<Connection, SetupError> {
        let is_on_redis = self.settings.brokers.are_on_redis(&connection);
        let mut opened = self.opened.lock();
        if self.closing.is_cancelled() {
            // The last handle was dropped; dropping the connection closes it.
            return Err(SetupError::Closed);
        }
        if let Some(ended) = opened.connection.replace(connection.clone()) {
            opened.before = opened.before.after(&ended.metrics());
            opened.before.reconnects += 1;
            self.teller.reopened(self.role);
        }
        opened.is_on_redis = is_on_redis;
        opened.failure = None;
        opened.count += 1;
        self.history.lock().connected();
        opened.silence = Silence::default();
        opened.telling = Some(self.teller.follow(self.role, self.history.clone(), connection.events()));
        Ok(connection)
    }
}

/// An attempt to connect, or the pause before it.
///
/// # On drop
/// The attempt counter goes back to 0.
struct Attempting(Arc<AtomicU32>);

impl Attempting {
    fn begin(attempt: &Arc<AtomicU32>, number: u32) -> Self {
        attempt.store(number, Relaxed);
        Attempting(attempt.clone())
    }
}

impl Drop for Attempting {
    fn drop(&mut self) {
        self.0.store(0, Relaxed);
    }
}
