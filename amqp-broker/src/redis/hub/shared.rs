//! The connections to Redis that all links use.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redis::{Cmd, FromRedisValue, Pipeline, PushInfo, RedisError, RedisResult, aio::MultiplexedConnection};
use uuid::Uuid;

use super::{arrivals::Arrivals, channels::Channels, counts::Counts, held::Held, leases::Leases};
use crate::{
    backend::BackendError,
    kombu::envelope::EnvelopeEncoder,
    redis::{
        connect::{
            Dialer, Seat, Spare, Spares, backend_error, check_server, is_forbidden, is_lost, is_repeatable,
        },
        declared::Holder,
        options::RedisOptions,
        wire::Keys,
    },
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// How long what is read is kept where Redis does not tell of changes.
const UNTRACKED: Duration = Duration::from_secs(1);

/// The most transactions that run at once, each on a connection of its own.
const MOST_TRANSACTIONS: u32 = 4;

/// The most exchanges that are remembered for the log.
const MOST_NOTED: usize = 1000;

/// What the links of a [`Redis`](crate::redis::Redis) share. It lives until its connections are
/// lost; the next link that is opened makes a new one.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) options: Arc<RedisOptions>,
    pub(crate) keys: Keys,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) held: Held,
    pub(crate) leases: Leases,
    pub(crate) counts: Arc<Counts>,
    /// Exchanges that were taken for direct ones, which was logged.
    taken_for_direct: Mutex<HashSet<String>>,
    /// The holder of the queues and consumers of all links.
    pub(crate) holder: Holder,
    pub(super) encoder: Mutex<EnvelopeEncoder>,
    /// Held while channels are subscribed to or left.
    pub(super) subscribing: tokio::sync::Mutex<()>,
    commands: MultiplexedConnection,
    listening: MultiplexedConnection,
    /// For publishes that wait for replicas.
    pub(super) waiting: Spares,
    /// Connections for transactions that watch keys.
    pub(super) transactions: Spares,
    /// What channels are listened to on where `listening` cannot do it.
    pub(super) channels: Option<Channels>,
    dialer: Dialer,
    scripting: AtomicBool,
    /// Precedes the number of a claim in its tag. No other hub has the same.
    claims: String,
    next_claim: AtomicU64,
    next_link: AtomicU64,
}

impl Hub {
    /// Connects to Redis. What it does is counted together with what others do.
    ///
    /// # Errors
    /// When Redis cannot be reached, refuses the login, is a cluster, or is too old.
    pub(crate) async fn connect(
        options: Arc<RedisOptions>,
        counts: Arc<Counts>,
    ) -> Result<Arc<Self>, BackendError> {
        let keys = Keys::new(options.key_options());
        let dialer = Dialer::find(&options).await?;
        let lifetime = (!dialer.resp3()).then_some(UNTRACKED);
        let arrivals = Arc::new(Arrivals::new(&keys, lifetime));
        let mut commands = open(&dialer, &arrivals).await?;
        check_server(&mut commands).await?;
        let mut listening = open(&dialer, &arrivals).await?;
        if dialer.resp3() {
            let tracking = redis::cmd("CLIENT").arg("TRACKING").arg("ON").exec_async(&mut listening).await;
            tracking.map_err(|error| backend_error(&error))?;
        }
        let seat = Seat::find(&mut commands).await.map_err(|error| backend_error(&error))?;
        let channels = match dialer.resp3() {
            true => None,
            false => Some(Channels::new(dialer.listen().await?, dialer.answer_time())),
        };
        let waiting = Spares::new(options.max_connections);
        Ok(Arc::new(Hub {
            scripting: AtomicBool::new(options.scripting),
            encoder: Mutex::new(options.encoder()),
            options,
            keys,
            arrivals,
            held: Held::default(),
            leases: Leases::default(),
            counts,
            taken_for_direct: Mutex::default(),
            holder: Holder { id: Uuid::new_v4(), seat },
            subscribing: tokio::sync::Mutex::default(),
            commands,
            listening,
            waiting,
            transactions: Spares::new(MOST_TRANSACTIONS),
            channels,
            dialer,
            claims: format!("{}.", Uuid::new_v4()),
            next_claim: AtomicU64::new(0),
            next_link: AtomicU64::new(0),
        }))
    }

    /// Notes that an exchange is taken for a direct one; tells whether that is new.
    pub(crate) fn takes_for_direct(&self, exchange: &str) -> bool {
        let mut taken = self.taken_for_direct.lock();
        if taken.len() >= MOST_NOTED {
            taken.clear();
        }
        !taken.contains(exchange) && taken.insert(exchange.to_owned())
    }

    /// A number that no other link of this hub has.
    pub(crate) fn link_number(&self) -> u64 {
        self.next_link.fetch_add(1, Ordering::Relaxed)
    }

    /// The first of so many numbers for claims, which nobody else gets.
    pub(crate) fn claim_numbers(&self, count: u64) -> u64 {
        self.next_claim.fetch_add(count, Ordering::Relaxed)
    }

    /// The tag of a claim, up to its number.
    pub(crate) fn tag_prefix(&self) -> &str {
        &self.claims
    }

    /// The tag of a claim. It is not the message's own delivery tag: kombu gives that to each copy
    /// of a message, and again when it is delivered again, so that claims would replace each other.
    pub(crate) fn tag(&self, number: u64) -> String {
        format!("{}{number}", self.claims)
    }

    /// Whether scripts can be run.
    pub(crate) fn scripting(&self) -> bool {
        self.scripting.load(Ordering::Relaxed)
    }

    /// Takes note of an answer to a script; `true` when scripts are forbidden, so that the commands
    /// must be sent in another way.
    pub(crate) fn no_scripting<T>(&self, answer: &RedisResult<T>) -> bool {
        let forbidden = answer.as_ref().is_err_and(is_forbidden);
        if forbidden && self.scripting.swap(false, Ordering::Relaxed) {
            tracing::warn!("this Redis runs no scripts: transactions take their place");
        }
        forbidden
    }

    /// The connection for commands that answer at once.
    pub(crate) fn commands(&self) -> MultiplexedConnection {
        self.commands.clone()
    }

    /// The connection that is told of changes of what is read on it.
    pub(crate) fn listening(&self) -> MultiplexedConnection {
        self.listening.clone()
    }

    /// Opens a connection of its own, for transactions that watch keys.
    async fn own_connection(&self) -> Result<MultiplexedConnection, BackendError> {
        let opened = self.dialer.open(&self.dialer.config()).await;
        opened.inspect_err(|error| self.lost_by(error))
    }

    /// Takes a connection for transactions that watch keys, as soon as one may be taken. It goes
    /// back by [`put_back`](Self::put_back) if it watches nothing any more.
    pub(crate) async fn transaction_connection(&self) -> Result<Spare, BackendError> {
        self.transactions.take(self.own_connection()).await
    }

    pub(crate) fn put_back(&self, spare: Spare) {
        self.transactions.put(spare);
    }

    /// Sends a command, and waits for its answer.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BackendError> {
        let answer = command.query_async(&mut self.commands()).await;
        if self.is_repeated(&answer, [command]) {
            return self.checked(command.query_async(&mut self.commands()).await);
        }
        self.checked(answer)
    }

    /// Tells whether commands are sent again, because they took too long and change nothing more.
    /// With the answer to the second the first has come too.
    pub(super) fn is_repeated<'a, T>(
        &self,
        answer: &RedisResult<T>,
        commands: impl IntoIterator<Item = &'a Cmd>,
    ) -> bool {
        self.options.retry_on_timeout
            && answer.as_ref().is_err_and(RedisError::is_timeout)
            && commands.into_iter().all(is_repeatable)
    }

    /// The time of Redis's clock in milliseconds since 1970, by which kombu sets and compares
    /// deadlines.
    pub(crate) async fn server_milliseconds(&self) -> Result<u64, BackendError> {
        Ok(server_milliseconds(self.command(&redis::cmd("TIME")).await?))
    }

    /// Sends commands together, and waits for their answers.
    pub(crate) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, BackendError> {
        let answer = pipeline.query_async(&mut self.commands()).await;
        if self.is_repeated(&answer, pipeline.cmd_iter()) {
            return self.checked(pipeline.query_async(&mut self.commands()).await);
        }
        self.checked(answer)
    }

    /// As [`pipeline`](Self::pipeline) for commands of which the last waits so long in Redis: on a
    /// connection of their own, because Redis answers nothing else on it meanwhile.
    pub(crate) async fn waiting_pipeline<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
        longest: Duration,
    ) -> Result<T, BackendError> {
        let mut spare = self.waiting.take(self.waiting_connection(longest)).await?;
        let answers = self.checked(pipeline.query_async(&mut spare.connection).await)?;
        self.waiting.put(spare);
        Ok(answers)
    }

    /// Declares Redis lost.
    pub(crate) fn lose(&self, why: &str) {
        self.arrivals.loss.declare(BackendError::Unavailable(why.to_owned()));
    }

    /// Opens a connection for commands that wait so long in Redis.
    pub(crate) async fn waiting_connection(
        &self,
        longest: Duration,
    ) -> Result<MultiplexedConnection, BackendError> {
        let most = self.dialer.answer_time().saturating_add(longest);
        self.dialer.open(&self.dialer.config().set_response_timeout(Some(most))).await
    }

    /// Translates a failure of a connection that others can replace.
    pub(crate) fn understood<T>(answer: RedisResult<T>) -> Result<T, BackendError> {
        answer.map_err(|error| backend_error(&error))
    }

    fn lost_by(&self, error: &BackendError) {
        if error.closes_connection() {
            self.arrivals.loss.declare(error.clone());
        }
    }

    /// How further connections are opened.
    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Declares Redis lost if an answer shows that it is.
    pub(crate) fn checked<T>(&self, answer: RedisResult<T>) -> Result<T, BackendError> {
        answer.map_err(|error| {
            let failure = backend_error(&error);
            if is_lost(&error) {
                self.arrivals.loss.declare(failure.clone());
            }
            failure
        })
    }
}

/// Connects; what Redis sends without being asked arrives at `arrivals`.
async fn open(dialer: &Dialer, arrivals: &Arc<Arrivals>) -> Result<MultiplexedConnection, BackendError> {
    let mut config = dialer.config();
    if dialer.resp3() {
        let arrivals = Arc::downgrade(arrivals);
        config = config.set_push_sender(move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            arrivals.upgrade().ok_or(redis::aio::SendError)?.push(push);
            Ok(())
        });
    }
    dialer.open(&config).await
}

/// The time in seconds since 1970, as kombu writes it into the index of claims.
pub(crate) fn now_seconds() -> f64 {
    since_1970().as_secs_f64()
}

/// An answer to `TIME` in milliseconds since 1970.
pub(crate) fn server_milliseconds((seconds, microseconds): (u64, u64)) -> u64 {
    seconds.saturating_mul(1000).saturating_add(microseconds / 1000)
}

/// The time in milliseconds since 1970.
pub(crate) fn now_milliseconds() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
