//! The load: in each virtual host a client that declares, publishes, fetches, acknowledges, purges,
//! deletes and commits, one step after the other, as a seed says.

use std::{collections::VecDeque, fmt};

use amqp_client::{
    Binding, Channel, Confirmation, ConnectOptions, Connection, DeleteOptions, Error, Exchange, GetOptions,
    Message, Publisher, Queue, Uri,
};
use fastrand::Rng;

use super::{
    body::{body, number},
    history::{Effect, History},
    program::VHOSTS,
};

/// The number of queues of a virtual host.
pub(super) const QUEUES: usize = 3;
/// The exchange to which queues are bound.
pub(super) const EXCHANGE: &str = "all";

pub(super) fn queue_name(queue: usize) -> String {
    format!("queue-{queue}")
}

pub(super) async fn connect(port: u16, vhost: usize) -> Result<Connection, Error> {
    let vhost = VHOSTS[vhost].replace('/', "%2f");
    let uri = Uri::parse(&format!("amqp://guest:guest@127.0.0.1:{port}/{vhost}"))?;
    ConnectOptions::new().connect(&uri).await
}

/// Why a client stops early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// A call failed.
    Failed(Error),
    /// The broker has refused a publish.
    Nacked,
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Failed(error)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Failed(error) => write!(to, "a client fails: {error}"),
            Stopped::Nacked => to.write_str("a publish is refused"),
        }
    }
}

/// The outcome of a step.
type Done = Result<(), Stopped>;

/// The client of a virtual host, and what it knows of it.
pub(super) struct Load<'a> {
    history: &'a History,
    vhost: usize,
    random: Rng,
    next: u64,
    /// The messages of each queue, if it is there.
    queues: [Option<VecDeque<u64>>; QUEUES],
    bound: [bool; QUEUES],
    /// Removals that are promised with the next confirm.
    removals: Vec<usize>,
    has_exchange: bool,
    /// All that came and was not what had to come.
    pub(super) wrong: Vec<String>,
}

/// An open connection with its channels.
struct Session {
    _connection: Connection,
    channel: Channel,
    publisher: Publisher,
    transactions: Channel,
}

impl<'a> Load<'a> {
    pub(super) fn new(history: &'a History, vhost: usize, seed: u64) -> Self {
        let random = Rng::with_seed(seed << 4 | vhost as u64);
        let (queues, bound) = (Default::default(), Default::default());
        let (removals, wrong) = (Vec::new(), Vec::new());
        Load { history, vhost, random, next: 1, queues, bound, removals, has_exchange: false, wrong }
    }

    /// Runs so many steps on the program at this port.
    ///
    /// # Errors
    /// When the broker refuses one, or is gone.
    pub(super) async fn run(&mut self, port: u16, steps: usize) -> Done {
        let connection = connect(port, self.vhost).await?;
        let channel = connection.open_channel().await?;
        let publisher = connection.open_channel().await?.publisher().await?;
        let transactions = connection.open_channel().await?;
        transactions.tx_select().await?;
        let session = Session { _connection: connection, channel, publisher, transactions };
        if !self.has_exchange {
            session.channel.declare(Exchange::fanout(EXCHANGE).durable(true)).await?;
            self.has_exchange = true;
        }
        for _ in 0..steps {
            self.step(&session).await?;
        }
        // A confirm promises the removals before it, which might come back after a kill otherwise.
        if self.queues[0].is_none() {
            self.declare(&session, 0).await?;
        }
        self.publish(&session, 0).await
    }

    async fn step(&mut self, session: &Session) -> Done {
        let queue = self.random.usize(..QUEUES);
        if self.queues[queue].is_none() {
            return self.declare(session, queue).await;
        }
        match self.random.u32(..100) {
            0..50 => self.publish(session, queue).await,
            50..70 => self.fetch(session, queue).await,
            70..84 => self.transaction(session, queue).await,
            84..88 => self.bind(session, queue).await,
            88..95 => self.purge(session, queue).await,
            _ => self.delete(session, queue).await,
        }
    }

    fn begin(&self, effects: Vec<Effect>, is_atomic: bool) -> usize {
        self.history.begin(self.vhost, effects, is_atomic)
    }

    async fn declare(&mut self, session: &Session, queue: usize) -> Done {
        let step = self.begin(vec![Effect::Declared(queue)], false);
        session.channel.declare(Queue::durable(queue_name(queue))).await?;
        self.history.promised([step]);
        self.queues[queue] = Some(VecDeque::new());
        Ok(())
    }

    fn message(&mut self, queue: usize) -> (u64, Message) {
        let number = self.next;
        self.next += 1;
        if let Some(messages) = &mut self.queues[queue] {
            messages.push_back(number);
        }
        (number, Message::new(body(self.vhost, number)).persistent())
    }

    async fn publish(&mut self, session: &Session, queue: usize) -> Done {
        let mut waiting = Vec::new();
        let earlier = std::mem::take(&mut self.removals);
        for _ in 0..self.random.usize(1..8) {
            let (number, message) = self.message(queue);
            let step = self.begin(vec![Effect::Published { queue, number }], false);
            let confirm = session.publisher.publish(("", &queue_name(queue)), message).await?;
            waiting.push((step, confirm));
        }
        for (step, confirm) in waiting {
            match confirm.await? {
                Confirmation::Ack => self.history.promised([step]),
                Confirmation::Nack => return Err(Stopped::Nacked),
                Confirmation::Returned(_) => self.wrong.push("a publish is returned".to_owned()),
            }
        }
        self.history.promised(earlier);
        Ok(())
    }

    async fn fetch(&mut self, session: &Session, queue: usize) -> Done {
        for _ in 0..self.random.usize(1..6) {
            let Some(number) = self.take(&session.channel, queue, false).await? else { break };
            self.removals.extend(number);
        }
        // When this is answered, the broker has executed the acknowledgements.
        Ok(session.channel.qos(0).await?)
    }

    /// Fetches and acknowledges a message; returns the step, unless it belongs to a transaction.
    async fn take(
        &mut self,
        channel: &Channel,
        queue: usize,
        in_group: bool,
    ) -> Result<Option<Option<usize>>, Error> {
        let name = queue_name(queue);
        let expected = self.queues[queue].as_ref().and_then(|messages| messages.front().copied());
        let delivery = channel.get(&name, GetOptions::new()).await?;
        let came = delivery.as_ref().and_then(|delivery| number(self.vhost, delivery.body()));
        if came != expected || delivery.is_some() != expected.is_some() {
            self.wrong.push(format!("{name} gives {came:?} and not {expected:?}"));
        }
        let (Some(delivery), Some(number)) = (delivery, came) else { return Ok(None) };
        let step = (!in_group).then(|| self.begin(vec![Effect::Removed(number)], false));
        delivery.ack().await?;
        if let Some(messages) = &mut self.queues[queue] {
            messages.pop_front();
        }
        Ok(Some(step))
    }

    /// Moves messages from a queue to another, and adds some.
    async fn transaction(&mut self, session: &Session, queue: usize) -> Done {
        let channel = &session.transactions;
        let mut effects = Vec::new();
        for _ in 0..self.random.usize(..3) {
            let first = self.queues[queue].as_ref().and_then(|messages| messages.front().copied());
            if self.take(channel, queue, true).await?.is_none() {
                break;
            }
            effects.extend(first.map(Effect::Removed));
        }
        let to = self.random.usize(..QUEUES);
        let to = if self.queues[to].is_some() { to } else { queue };
        for _ in 0..self.random.usize(1..5) {
            let (number, message) = self.message(to);
            effects.push(Effect::Published { queue: to, number });
            channel.publish(("", &queue_name(to)), message).await?;
        }
        let step = self.begin(effects, true);
        channel.tx_commit().await?;
        self.history.promised([step]);
        Ok(())
    }

    async fn bind(&mut self, session: &Session, queue: usize) -> Done {
        let binding = Binding::new(&queue_name(queue), EXCHANGE);
        let was_bound = self.bound[queue];
        let effect = if was_bound { Effect::Unbound(queue) } else { Effect::Bound(queue) };
        let step = self.begin(vec![effect], false);
        match was_bound {
            true => session.channel.unbind(binding).await?,
            false => session.channel.bind(binding).await?,
        }
        self.history.promised([step]);
        self.bound[queue] = !was_bound;
        Ok(())
    }

    async fn purge(&mut self, session: &Session, queue: usize) -> Done {
        let messages = self.queues[queue].take().unwrap_or_default();
        self.queues[queue] = Some(VecDeque::new());
        let step = self.begin(messages.into_iter().map(Effect::Removed).collect(), false);
        session.channel.purge(&queue_name(queue)).await?;
        self.removals.push(step);
        Ok(())
    }

    async fn delete(&mut self, session: &Session, queue: usize) -> Done {
        let messages = self.queues[queue].take().unwrap_or_default();
        let mut effects = vec![Effect::Deleted(queue), Effect::Unbound(queue)];
        effects.extend(messages.into_iter().map(Effect::Removed));
        let step = self.begin(effects, false);
        session.channel.delete_queue(&queue_name(queue), DeleteOptions::new()).await?;
        self.history.promised([step]);
        self.bound[queue] = false;
        Ok(())
    }
}
