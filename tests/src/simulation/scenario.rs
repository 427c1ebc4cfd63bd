//! A scenario: everything that is to happen in a run, as data, so that parts can be left out.

use std::{collections::BTreeSet, time::Duration};

/// The queues that all clients share, which nobody deletes.
pub(super) const QUEUES: [&str; 3] = ["jobs", "mail", "audit"];
/// The queue whose messages are consumed without acknowledgement.
pub(super) const UNACKED_QUEUE: &str = "ticks";
/// The queue of messaging's workers.
pub(super) const WORK_QUEUE: &str = "work";
/// All of these.
pub(super) const SHARED_QUEUES: [&str; 5] = ["jobs", "mail", "audit", UNACKED_QUEUE, WORK_QUEUE];

/// All that happens in a run.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    /// Set when the broker has a disk.
    pub(super) is_durable: bool,
    pub(super) clients: Vec<ClientPlan>,
    /// All that happens to the broker and the network, and when.
    pub(super) disturbances: Vec<Planned>,
}

/// A client, and what it does one after the other.
#[derive(Clone, Debug)]
pub(super) struct ClientPlan {
    pub(super) kind: Kind,
    pub(super) steps: Vec<NumberedStep>,
}

/// The library that a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// amqp-client, with its recovery or without.
    Bare {
        recovers: bool,
    },
    Messaging,
}

/// A step with its number in the scenario, which it keeps when others are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumberedStep {
    pub(super) number: usize,
    pub(super) step: Step,
}

/// A disturbance with its number in the scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) number: usize,
    pub(super) at: Duration,
    pub(super) disturbance: Disturbance,
}

/// A client's action. Channels are numbers of a client's channels, queues indices of [`QUEUES`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Publish {
        channel: usize,
        batch: Batch,
    },
    /// Waits for the outcome of all publishes.
    Settle,
    /// Starts a consumer, which runs beside the steps that follow.
    Consume {
        channel: usize,
        queue: usize,
        prefetch: u16,
        manner: Manner,
    },
    /// Consumes without acknowledgement.
    Watch {
        channel: usize,
    },
    /// Cancels the oldest consumer.
    Cancel,
    /// Drops the oldest consumer.
    DropConsumer,
    Get {
        channel: usize,
        queue: usize,
        manner: Manner,
    },
    DeclareQueue {
        channel: usize,
        own: usize,
    },
    DeclareExchange {
        channel: usize,
        own: usize,
    },
    Bind {
        channel: usize,
        queue: usize,
        exchange: usize,
        key: usize,
    },
    Unbind {
        channel: usize,
        queue: usize,
        exchange: usize,
        key: usize,
    },
    DeleteQueue {
        channel: usize,
        own: usize,
    },
    DeleteExchange {
        channel: usize,
        own: usize,
    },
    PurgeOwn {
        channel: usize,
        own: usize,
    },
    /// Declares a queue, and drops the call before it is answered.
    Abandon {
        channel: usize,
        own: usize,
    },
    CloseChannel {
        channel: usize,
    },
    DropChannel {
        channel: usize,
    },
    CloseConnection,
    DropConnection,
    Pause {
        milliseconds: u64,
    },
    Service(Service),
}

/// The action of a client of messaging, beside [`Step::Pause`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Service {
    /// Publishes until each message is confirmed.
    Ensure {
        count: u16,
    },
    /// Starts a worker, which fails on so many messages of a hundred.
    Work {
        concurrency: u16,
        fails: u8,
        requeues: bool,
        thinks: u64,
    },
    StopWorker,
    /// Starts an RPC server.
    Serve,
    StopServer,
    Call {
        count: u16,
    },
    /// Closes the transport, with all that runs on it.
    Close,
}

/// Messages that are published at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) target: Target,
    pub(super) count: u16,
    pub(super) size: usize,
    pub(super) persistent: bool,
    pub(super) mandatory: bool,
    pub(super) republish: bool,
}

/// A place to which messages are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A shared queue, by the default exchange.
    Queue(usize),
    /// All shared queues, by a fanout exchange.
    Fanout,
    /// By a topic exchange, with one of its keys.
    Topic(usize),
    /// The queue that is consumed without acknowledgement.
    Ticks,
    /// The queue of messaging's workers.
    Work,
    /// A queue that is not there.
    Nowhere,
    /// One of the client's own queues.
    Own(usize),
}

/// The way in which a consumer settles its deliveries, in percent; the rest it holds until its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) ack: u8,
    pub(super) requeue: u8,
    pub(super) reject: u8,
    /// The longest time that it thinks before it settles.
    pub(super) thinks: u64,
    /// Set when it settles the newest first.
    pub(super) backwards: bool,
}

/// An event that strikes the broker or the network.
#[derive(Clone, Copy, Debug)]
pub(super) enum Disturbance {
    /// Cuts the links of a client.
    Cut {
        client: usize,
    },
    /// Lets nothing pass on the links of a client, for ever.
    Stall {
        client: usize,
    },
    /// Lets nothing pass on the links of a client for this long.
    Hold {
        client: usize,
        milliseconds: u64,
    },
    /// Cuts a client's link once so many octets of this direction have passed from now on.
    CutAfter {
        client: usize,
        to_broker: bool,
        octets: u64,
    },
    /// Ends the broker, at once or in an orderly way, and begins it again after this long.
    Restart {
        is_orderly: bool,
        milliseconds: u64,
    },
    Fault(Fault),
}

/// The faults that [`Broker::faults`](amqp_broker::Broker::faults) knows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    DropConnections,
    DropConnection { client: usize },
    DropNamed { client: usize },
    CloseNamed { client: usize },
    CloseConnection { client: usize },
    CloseChannel { client: usize, channel: u16 },
    DropAtFrame { to_broker: bool, frame: u64 },
    RefuseFor { milliseconds: u64 },
    Refuse { count: u64 },
    DelayAnswers { milliseconds: u64 },
    Block { milliseconds: u64 },
    Nack { count: u64 },
    AtPublish { n: u64, kind: PublishKind },
    AtPublishOf { client: usize, n: u64, kind: PublishKind },
    Return { count: u64 },
    SwallowConfirms { count: u64 },
    CancelConsumers { queue: usize },
    DeleteOwn { client: usize, own: usize },
    Clear,
}

/// An event that takes the place of a publish.
#[derive(Clone, Copy, Debug)]
pub(super) enum PublishKind {
    DropConnection,
    CloseConnection,
    CloseChannel,
    Nack,
    Return,
}

impl Scenario {
    /// The numbers of all steps and disturbances.
    pub(super) fn numbers(&self) -> Vec<usize> {
        let steps = self.clients.iter().flat_map(|client| &client.steps).map(|step| step.number);
        let mut all: Vec<_> = steps.chain(self.disturbances.iter().map(|planned| planned.number)).collect();
        all.sort_unstable();
        all
    }

    /// Tells whether nothing may fail.
    pub(super) fn is_calm(&self) -> bool {
        self.disturbances.is_empty()
    }

    /// Tells whether a fault confirms a publish that it loses, unless it is mandatory.
    pub(super) fn must_be_mandatory(&self) -> bool {
        self.disturbances.iter().any(|planned| {
            matches!(
                planned.disturbance,
                Disturbance::Fault(
                    Fault::AtPublish { kind: PublishKind::Return, .. }
                        | Fault::AtPublishOf { kind: PublishKind::Return, .. }
                )
            )
        })
    }

    /// Tells whether a fault may keep an outcome from its publisher.
    pub(super) fn swallows(&self) -> bool {
        let is_that = |planned: &Planned| {
            matches!(planned.disturbance, Disturbance::Fault(Fault::SwallowConfirms { .. }))
        };
        self.disturbances.iter().any(is_that)
    }

    /// Keeps these steps and disturbances only.
    pub(super) fn keep(&mut self, numbers: &BTreeSet<usize>) {
        for client in &mut self.clients {
            client.steps.retain(|step| numbers.contains(&step.number));
        }
        self.disturbances.retain(|planned| numbers.contains(&planned.number));
    }
}

impl Target {
    /// The exchange and the routing key.
    pub(super) fn route(self, client: usize) -> (&'static str, String) {
        match self {
            Target::Queue(queue) => ("", QUEUES[queue].to_owned()),
            Target::Fanout => (FANOUT, String::new()),
            Target::Topic(key) => (TOPIC, TOPIC_KEYS[key].0.to_owned()),
            Target::Ticks => ("", UNACKED_QUEUE.to_owned()),
            Target::Work => ("", WORK_QUEUE.to_owned()),
            Target::Nowhere => ("", "nowhere".to_owned()),
            Target::Own(own) => ("", own_queue(client, own)),
        }
    }

    /// The shared queues that take a message.
    pub(super) fn queues(self) -> Vec<&'static str> {
        match self {
            Target::Queue(queue) => vec![QUEUES[queue]],
            Target::Fanout => QUEUES.to_vec(),
            Target::Topic(key) => TOPIC_KEYS[key].1.to_vec(),
            Target::Work => vec![WORK_QUEUE],
            Target::Ticks | Target::Nowhere | Target::Own(_) => Vec::new(),
        }
    }
}

pub(super) const FANOUT: &str = "all";
pub(super) const TOPIC: &str = "by topic";
/// The bindings of the topic exchange: pattern and queue.
pub(super) const TOPIC_BINDINGS: [(&str, &str); 4] =
    [("job.*", "jobs"), ("mail.#", "mail"), ("*.audited", "audit"), ("#.audited.#", "audit")];
/// Keys, and the queues that they lead to.
pub(super) const TOPIC_KEYS: [(&str, &[&str]); 5] = [
    ("job.run", &["jobs"]),
    ("job.audited", &["jobs", "audit"]),
    ("mail", &["mail"]),
    ("mail.out.audited.late", &["mail", "audit"]),
    ("none", &[]),
];

/// The name of a queue that only this client declares and deletes.
pub(super) fn own_queue(client: usize, own: usize) -> String {
    format!("client {client} queue {own}")
}

/// Tells whether a client's own queue or exchange is durable.
pub(super) fn is_durable(own: usize) -> bool {
    own == 0
}

/// The name of an exchange that only this client declares and deletes.
pub(super) fn own_exchange(client: usize, own: usize) -> String {
    format!("client {client} exchange {own}")
}

/// A client's name for its connection.
pub(super) fn client_name(client: usize) -> String {
    format!("client {client}")
}
