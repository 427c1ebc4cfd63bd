//! One connection of a transport: opened on first use, and again when it has ended.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use amqp_client::{Channel, ConnectOptions, Connection, Event, Recovery, Report, State};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{
        brokers::Brokers,
        event::Teller,
        left::Left,
        metrics::TransportMetrics,
        setup::Setup,
        setup_error::SetupError,
        silence::{PATIENCE, Silence},
        state::{ConnectionState, Role},
    },
    error::Error,
};

/// A connection that is there when it is asked for.
#[derive(Clone)]
pub(crate) struct LazyConnection {
    shared: Arc<Inner>,
    /// Whether whoever asks for it waits until it can be opened, as far as
    /// [`ConnectionSettings::recovery`] has it.
    is_patient: bool,
}

/// How a connection is opened.
pub(crate) struct ConnectionSettings {
    pub(crate) brokers: Brokers,
    pub(crate) options: ConnectOptions,
    /// Bodies over this are neither published nor taken.
    pub(crate) max_message_size: u64,
    /// How the first connect is tried again, if at all.
    pub(crate) recovery: Recovery,
}

struct Inner {
    role: Role,
    settings: Arc<ConnectionSettings>,
    teller: Teller,
    opened: Mutex<Opened>,
    /// All who wait get the one connection.
    connecting: Setup<Connection>,
    /// The attempt to open it that is under way; 0 when none is.
    attempt: Arc<AtomicU32>,
    /// Whatever is under way ends with it.
    closing: CancellationToken,
    /// Attempts to publish beyond the first of a message.
    retried: AtomicU64,
}

/// What was opened.
#[derive(Default)]
struct Opened {
    /// The last one; it may have ended since.
    connection: Option<Connection>,
    /// How many there have been.
    count: u64,
    /// How long it has not opened a channel that was asked for.
    silence: Silence,
    /// Why it could not be opened since.
    failure: Option<amqp_client::Error>,
    /// Tells the events of the last one.
    telling: Option<JoinHandle<()>>,
    /// Those before it that may still be used.
    left: Vec<Left>,
    /// What those before it have done that have ended.
    before: TransportMetrics,
}

impl LazyConnection {
    pub(crate) fn new(role: Role, settings: ConnectionSettings, teller: Teller) -> Self {
        let (opened, connecting, attempt, closing, retried) = Default::default();
        let settings = Arc::new(settings);
        let shared = Inner { role, settings, teller, opened, connecting, attempt, closing, retried };
        LazyConnection { shared: Arc::new(shared), is_patient: false }
    }

    /// The same for those who wait until it can be opened, where that is wanted.
    pub(crate) fn patient(&self) -> Self {
        LazyConnection {
            shared: self.shared.clone(),
            is_patient: self.shared.settings.recovery.is_for_first_connect(),
        }
    }

    /// The connection, opened when it is not. One that is being recovered is as good as open.
    ///
    /// # Errors
    /// [`SetupError::Connect`]; [`SetupError::Closed`] as soon as it is closed for good.
    ///
    /// # Cancel safety
    /// A connection that is being opened goes on without whoever gives up, and is there for the
    /// next.
    pub(crate) async fn connection(&self) -> Result<Connection, SetupError> {
        if let Some(connection) = self.shared.connection()? {
            return Ok(connection);
        }
        let opening = async {
            if self.is_patient { self.shared.open_at_last().await } else { self.shared.open(1).await }
        };
        self.shared.closing.run_until_cancelled(opening).await.unwrap_or(Err(SetupError::Closed))
    }

    pub(crate) fn max_message_size(&self) -> u64 {
        self.shared.settings.max_message_size
    }

    /// A new channel on the connection.
    pub(crate) async fn open_channel(&self) -> Result<Channel, SetupError> {
        let connection = self.connection().await?;
        connection.open_channel().await.map_err(SetupError::broker("open a channel"))
    }

    /// A new channel with what is done on it first, another one on another connection when this one
    /// falls silent meanwhile.
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

    /// As [`open_channel`](Self::open_channel), on another connection when this one does not answer
    /// soon, and the number of that connection. RabbitMQ reads nothing from a connection while one
    /// of its channels has more for a quorum queue without a majority than it takes
    /// (<https://www.rabbitmq.com/docs/flow-control>). What is under way on the connection that is
    /// left goes on.
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
        // Another one since is as good: what is left of this one's time is not its own.
        Ok((self.shared.opened.lock().count, connection))
    }

    /// What a connection answers when it is asked for a channel; `None` when it does not, and is
    /// left unless the broker blocks it.
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

    /// Ends when this connection does not answer any more, or is not the one that is used.
    async fn falls_silent(&self, number: u64) {
        sleep(PATIENCE).await;
        while let Some(connection) = self.connection_of(number) {
            // The channel that it answers with is closed again when it is dropped.
            if self.answer(number, &connection).await.is_some() {
                sleep(PATIENCE).await;
            }
        }
    }

    /// The connection with this number, while it is used.
    fn connection_of(&self, number: u64) -> Option<Connection> {
        let opened = self.shared.opened.lock();
        opened.connection.clone().filter(|_| opened.count == number)
    }

    /// Whether there is a connection at this moment.
    #[cfg(feature = "oslo")]
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state(), ConnectionState::Connected | ConnectionState::Blocked { .. })
    }

    /// How the connection is doing.
    pub(crate) fn state(&self) -> ConnectionState {
        if self.shared.closing.is_cancelled() {
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

    /// Why the broker takes no publishes, while it does not.
    pub(crate) fn blocked(&self) -> Option<amqp_client::Error> {
        match self.state() {
            ConnectionState::Blocked { reason } => Some(amqp_client::Error::Blocked { reason }),
            _ => None,
        }
    }

    /// Asks the broker for something, and waits for its answer: how long that took.
    ///
    /// # Errors
    /// When there is no connection, or the broker blocks: it would not answer.
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

    /// What its connections have done, and the present one holds.
    pub(crate) fn metrics(&self) -> TransportMetrics {
        let opened = self.shared.opened.lock();
        let before = opened.left.iter().fold(opened.before, |before, left| left.count(before));
        let present = opened.connection.as_ref().map(Connection::metrics);
        let metrics = present.map_or(before, |present| before.with(&present));
        TransportMetrics { retried: self.shared.retried.load(Relaxed), ..metrics }
    }

    /// A message is published once more.
    pub(crate) fn count_retry(&self) {
        self.shared.retried.fetch_add(1, Relaxed);
    }

    /// Closes the connection for good, one that is being recovered or opened, too, and those that
    /// were left.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.end(async |connection| connection.close().await.map_err(Error::broker("close the connection")))
            .await
    }

    /// As [`close`](Self::close), once all that was published is confirmed, or the deadline has
    /// come.
    pub(crate) async fn drain(&self, deadline: Duration) -> Result<(), Error> {
        self.end(|connection| async move {
            connection.drain(deadline).await.map_err(Error::broker("drain the connection"))
        })
        .await
    }

    /// Ends all connections so, and waits until all that happened to them has been told.
    async fn end<F>(&self, end: impl Fn(Connection) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let (connections, telling) = self.shared.leave();
        let ended = join_all(connections.into_iter().map(end)).await;
        // None of them panics.
        join_all(telling).await;
        ended.into_iter().collect()
    }
}

impl Opened {
    /// Whoever asks for a connection next gets another one than this.
    fn leave(&mut self, number: u64) {
        if self.count == number
            && let Some(left) = self.connection.take()
        {
            tracing::warn!("a connection does not answer; what is published next goes over another");
            self.forget_those_over();
            self.left.push(Left::new(&left, self.telling.take()));
        }
    }

    fn forget_those_over(&mut self) {
        for over in self.left.extract_if(.., |left| left.is_over()) {
            self.before = over.count(self.before);
        }
    }

    /// All connections, and what tells their events.
    fn end(&mut self) -> (Vec<Connection>, Vec<JoinHandle<()>>) {
        let present = (self.connection.clone(), self.telling.take());
        let all = iter::once(present).chain(self.left.iter_mut().map(Left::end));
        let (connections, telling): (Vec<_>, Vec<_>) = all.unzip();
        (connections.into_iter().flatten().collect(), telling.into_iter().flatten().collect())
    }
}

impl Inner {
    /// The connection, unless it has ended.
    fn connection(&self) -> Result<Option<Connection>, SetupError> {
        if self.closing.is_cancelled() {
            return Err(SetupError::Closed);
        }
        Ok(self.opened.lock().connection.clone().filter(|connection| !connection.is_closed()))
    }

    /// The connections to be closed, for good, and what tells their events.
    fn leave(&self) -> (Vec<Connection>, Vec<JoinHandle<()>>) {
        self.closing.cancel();
        let (mut connections, telling) = self.opened.lock().end();
        connections.retain(|connection| !connection.is_closed());
        (connections, telling)
    }

    /// Opens it as soon as that is possible, within the limits set.
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
            tracing::warn!(%connection, error = %Report(&Error::from(error)), attempt, ?delay, "not connected yet; it is tried again");
            self.teller.tell(connection, Event::Reconnecting { attempt, delay });
            let _attempting = Attempting::begin(&self.attempt, attempt);
            sleep(delay).await;
        }
    }

    /// One attempt.
    async fn open(self: &Arc<Self>, attempt: u32) -> Result<Connection, SetupError> {
        let ready = || self.connection().ok().flatten();
        self.connecting.wait(ready, || self.connect(attempt)).await
    }

    /// The same, for all who wait. It ends when nobody has the link any more.
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
            self.teller.tell(self.role, Event::NotConnected { attempt, reason: source.clone() });
        }
    }

    fn opened(&self, connection: Connection) -> Result<Connection, SetupError> {
        let mut opened = self.opened.lock();
        if self.closing.is_cancelled() {
            // Dropping the last handle closes it.
            return Err(SetupError::Closed);
        }
        if let Some(ended) = opened.connection.replace(connection.clone()) {
            opened.before = opened.before.after(&ended.metrics());
            opened.before.reconnects += 1;
        }
        opened.failure = None;
        opened.count += 1;
        opened.silence = Silence::default();
        opened.telling = Some(self.teller.follow(self.role, connection.events()));
        Ok(connection)
    }
}

/// An attempt to connect, or the pause before it.
///
/// # On drop
/// It is over.
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
