//! A soak, in rounds: after each everything has arrived, and is measured.

use std::{error::Error, time::Duration};

use amqp_broker::Broker;
use amqp_client::DeleteOptions;
use tokio::time::{Instant, sleep, timeout};

use super::{
    direct::{Confirmed, Fetched, TRANSACTION, Transacted},
    figures::{self, Figures},
    link::{Link, NAME},
    services::{Calls, Notifications, Tasks},
    tally::Tally,
};
use crate::footprint::Footprint;

/// The rounds of a run.
const ROUNDS: u64 = 24;
/// The time that the slowest round may take beyond that of its messages, at a slow pace.
const LEAST_DEADLINE: Duration = Duration::from_secs(120);
const SLOW: u64 = 500;
/// The time in which everything comes to rest after a round.
const REST: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// The checks in a row that find nothing changed.
const LOOKS: usize = 4;

/// The request for a run.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The messages of all kinds together.
    pub messages: u64,
}

/// The clients on a link.
struct Clients {
    confirmed: Confirmed,
    fetched: Fetched,
    transacted: Transacted,
    tasks: Tasks,
    calls: Calls,
    notifications: Notifications,
}

/// Runs all clients over both links, writes a line after each round, and returns what is wrong.
///
/// # Errors
/// When a client fails.
#[allow(clippy::print_stdout, reason = "its output is its result")]
pub async fn run(request: Request) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
    let broker = amqp_broker::memory(NAME);
    let listener = broker.listen("127.0.0.1:0").await?;
    // The first client may wake tasks of the broker that stay.
    clean(&broker).await?;
    let before = at_rest(&broker).await?;
    let part = request.messages / ROUNDS / 2;
    let links = [Link::Tcp(listener.local_addr()), Link::Memory(broker.clone())];
    let (tcp, memory) = tokio::try_join!(Clients::start(&links[0], part), Clients::start(&links[1], part))?;
    let (began, mut rounds, mut wrong) = (Instant::now(), Vec::new(), Vec::new());
    let deadline = LEAST_DEADLINE + Duration::from_secs(part / SLOW);
    for round in 1..=ROUNDS {
        let both = async { tokio::try_join!(tcp.round(), memory.round()) };
        match timeout(deadline, both).await {
            Ok(done) => _ = done?,
            Err(_) => wrong.push(format!("round {round} has not ended after {} s", deadline.as_secs())),
        }
        wrong.extend([&tcp, &memory].into_iter().flat_map(Clients::end_round));
        let messages = round * (tcp.messages() + memory.messages());
        let (footprint, account) = at_rest(&broker).await?;
        let connections = broker.connections().len();
        rounds.push(Figures { messages, elapsed: began.elapsed(), footprint, account, connections });
        rounds.last().into_iter().for_each(|figures| println!("{figures}"));
        if !wrong.is_empty() {
            return Ok(wrong);
        }
    }
    wrong.extend(figures::check(&rounds));
    tcp.end().await?;
    memory.end().await?;
    clean(&broker).await?;
    wrong.extend(left(&broker, before).await?);
    Ok(wrong)
}

impl Clients {
    /// Starts clients of all kinds, whose rounds have about so many messages together: of ten
    /// messages five are confirmed, one is of a transaction, two are tasks, and one half each is
    /// fetched, called, answered, and notified.
    async fn start(link: &Link, messages: u64) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let part = (messages / TRANSACTION).max(1);
        Ok(Clients {
            confirmed: Confirmed::start(link, 10 * part).await?,
            fetched: Fetched::start(link, part).await?,
            transacted: Transacted::start(link, (2 * part).next_multiple_of(TRANSACTION)).await?,
            tasks: Tasks::start(link, 4 * part).await?,
            calls: Calls::start(link, part).await?,
            notifications: Notifications::start(link, part).await?,
        })
    }

    fn tallies(&self) -> [&Tally; 6] {
        let Clients { confirmed, fetched, transacted, tasks, calls, notifications } = self;
        [
            confirmed.tally(),
            fetched.tally(),
            transacted.tally(),
            tasks.tally(),
            calls.tally(),
            notifications.tally(),
        ]
    }

    /// The messages of a round; a call has an answer.
    fn messages(&self) -> u64 {
        self.tallies().map(Tally::expected).iter().sum::<u64>() + self.calls.tally().expected()
    }

    /// Publishes a round of all kinds at once, and waits until all of it is handled.
    async fn round(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Clients { confirmed, fetched, transacted, tasks, calls, notifications } = self;
        let direct = async { tokio::try_join!(confirmed.round(), fetched.round(), transacted.round()) };
        let services = async { tokio::try_join!(tasks.round(), calls.round(), notifications.round()) };
        let (direct, services) = tokio::join!(direct, services);
        direct?;
        services?;
        for tally in self.tallies() {
            tally.complete().await;
        }
        Ok(())
    }

    fn end_round(&self) -> Vec<String> {
        self.tallies().into_iter().flat_map(Tally::end).collect()
    }

    async fn end(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.confirmed.end().await?;
        self.fetched.end().await?;
        self.transacted.end().await?;
        self.tasks.end().await?;
        self.calls.end().await?;
        Ok(self.notifications.end().await?)
    }
}

/// Waits until neither what this process holds nor the broker's account of memory changes, and
/// returns both.
async fn at_rest(broker: &Broker) -> Result<(Footprint, u64), Box<dyn Error + Send + Sync>> {
    let began = Instant::now();
    let look = || Ok::<_, std::io::Error>((Footprint::now()?, broker.memory_in_use("/").unwrap_or_default()));
    let (mut last, mut looks) = (look()?, 0);
    while looks < LOOKS && began.elapsed() < REST {
        sleep(LOOK_INTERVAL).await;
        let now = look()?;
        // Memory changes also when nothing happens.
        let is_same =
            now.0.tasks == last.0.tasks && now.0.descriptors == last.0.descriptors && now.1 == last.1;
        looks = if is_same { looks + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

/// Deletes all queues and exchanges that clients have declared.
async fn clean(broker: &Broker) -> Result<(), amqp_client::Error> {
    let connection = Link::Memory(broker.clone()).connection().await?;
    let channel = connection.open_channel().await?;
    for queue in broker.queues("/") {
        channel.delete_queue(&queue.name, DeleteOptions::new()).await?;
    }
    for exchange in broker.exchanges("/") {
        if !exchange.name.is_empty() && !exchange.name.starts_with("amq.") {
            channel.delete_exchange(&exchange.name, DeleteOptions::new()).await?;
        }
    }
    connection.close().await
}

/// Returns what is left when all clients have ended, and what they declared is deleted.
async fn left(
    broker: &Broker,
    (before, account_before): (Footprint, u64),
) -> Result<Vec<String>, Box<dyn Error + Send + Sync>> {
    let (after, account) = at_rest(broker).await?;
    let mut left = Vec::new();
    if account != account_before {
        left.push(format!("the broker's account is {account} bytes, and was {account_before}"));
    }
    if after.tasks > before.tasks || after.descriptors > before.descriptors {
        left.push(format!("something is left: {before}; {after}"));
    }
    match broker.connections().len() {
        0 => {}
        some => left.push(format!("{some} connections are left")),
    }
    Ok(left)
}
