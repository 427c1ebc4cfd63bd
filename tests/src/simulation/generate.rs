//! Scenarios by seed.

use std::time::Duration;

use fastrand::Rng;

use super::scenario::{
    Batch, ClientPlan, Disturbance, Fault, Kind, Manner, NumberedStep, Planned, PublishKind, QUEUES,
    Scenario, Service, Step, TOPIC_KEYS, Target,
};

/// The number of channels that a client uses.
pub(super) const CHANNELS: usize = 2;
/// The number of queues, and of exchanges, that a client may own.
pub(super) const OWN: usize = 2;

/// The time for which a run is disturbed, in milliseconds.
const DISTURBED: u64 = 20_000;

/// The scenario of a seed.
pub(super) fn generate(seed: u64) -> Scenario {
    let mut rng = Rng::with_seed(seed ^ 0x5ce9_a510);
    let count = rng.usize(1..=3);
    // A quarter of the runs is not disturbed: in these, nothing may fail.
    let (is_calm, is_durable) = (rng.u8(..4) == 0, rng.bool());
    let mut numbers = 0..;
    let mut number = || numbers.next().unwrap_or_default();
    let clients = (0..count).map(|_| client(&mut rng, &mut number)).collect();
    let mut disturbances = Vec::new();
    if !is_calm {
        for _ in 0..rng.usize(1..=8) {
            let at = Duration::from_millis(rng.u64(..DISTURBED));
            let disturbance = match is_durable && rng.u8(..4) == 0 {
                true => restart(&mut rng),
                false => disturbance(&mut rng, count),
            };
            disturbances.push(Planned { number: number(), at, disturbance });
        }
        disturbances.sort_by_key(|planned| planned.at);
    }
    Scenario { seed, is_durable, clients, disturbances }
}

fn client(rng: &mut Rng, number: &mut impl FnMut() -> usize) -> ClientPlan {
    let kind = match rng.u8(..8) {
        0..2 => Kind::Messaging,
        2..4 => Kind::Bare { recovers: false },
        _ => Kind::Bare { recovers: true },
    };
    let step = |rng: &mut Rng| if kind == Kind::Messaging { service(rng) } else { step(rng) };
    let steps = (0..rng.usize(6..=18)).map(|_| NumberedStep { number: number(), step: step(rng) }).collect();
    ClientPlan { kind, steps }
}

fn service(rng: &mut Rng) -> Step {
    Step::Service(match rng.u8(..16) {
        0..4 => Service::Ensure { count: *pick(rng, &[1, 3, 20]) },
        4..7 => Service::Work {
            concurrency: rng.u16(1..5),
            fails: *pick(rng, &[0, 0, 20, 50]),
            requeues: rng.bool(),
            thinks: *pick(rng, &[0, 10, 2000]),
        },
        7 => Service::StopWorker,
        8..10 => Service::Serve,
        10 => Service::StopServer,
        11..14 => Service::Call { count: rng.u16(1..5) },
        14 if rng.bool() => Service::Close,
        _ => return Step::Pause { milliseconds: *pick(rng, &[1, 100, 1000, 5000]) },
    })
}

fn step(rng: &mut Rng) -> Step {
    let channel = rng.usize(..CHANNELS);
    let (queue, own) = (rng.usize(..QUEUES.len()), rng.usize(..OWN));
    let (exchange, key) = (rng.usize(..OWN), rng.usize(..2));
    match rng.u8(..60) {
        0..16 => Step::Publish { channel, batch: batch(rng) },
        16..19 => Step::Settle,
        19..27 => {
            let prefetch = *pick(rng, &[1, 2, 3, 5, 20]);
            Step::Consume { channel, queue, prefetch, manner: manner(rng) }
        }
        27 => Step::Watch { channel },
        28..31 => Step::Cancel,
        31 => Step::DropConsumer,
        32..36 => Step::Get { channel, queue, manner: manner(rng) },
        36..39 => Step::DeclareQueue { channel, own },
        39..41 => Step::DeclareExchange { channel, own },
        41..43 => Step::Bind { channel, queue: own, exchange, key },
        43 => Step::Unbind { channel, queue: own, exchange, key },
        44 => Step::DeleteQueue { channel, own },
        45 => Step::DeleteExchange { channel, own },
        46 => Step::PurgeOwn { channel, own },
        47 => Step::Abandon { channel, own },
        48..50 => Step::CloseChannel { channel },
        50 => Step::DropChannel { channel },
        51 => Step::CloseConnection,
        52 => Step::DropConnection,
        _ => Step::Pause { milliseconds: *pick(rng, &[1, 10, 100, 1000, 5000]) },
    }
}

fn batch(rng: &mut Rng) -> Batch {
    let target = match rng.u8(..12) {
        0..5 => Target::Queue(rng.usize(..QUEUES.len())),
        5..7 => Target::Fanout,
        7..9 => Target::Topic(rng.usize(..TOPIC_KEYS.len())),
        9 => Target::Ticks,
        10 => Target::Nowhere,
        _ => Target::Own(rng.usize(..OWN)),
    };
    let count = *pick(rng, &[1, 1, 3, 10, 40]);
    let size = if count > 10 { *pick(rng, &[0, 50]) } else { *pick(rng, &[0, 50, 300, 5000, 20_000]) };
    let (persistent, mandatory, republish) = (rng.bool(), rng.bool(), rng.u8(..4) == 0);
    Batch { target, count, size, persistent, mandatory, republish }
}

fn manner(rng: &mut Rng) -> Manner {
    let (ack, requeue, reject) =
        *pick(rng, &[(100, 0, 0), (90, 0, 0), (70, 20, 10), (50, 10, 0), (0, 0, 100), (30, 60, 0)]);
    let thinks = *pick(rng, &[0, 0, 5, 200, 3000]);
    Manner { ack, requeue, reject, thinks, backwards: rng.bool() }
}

fn disturbance(rng: &mut Rng, clients: usize) -> Disturbance {
    let client = rng.usize(..clients);
    match rng.u8(..12) {
        0..2 => Disturbance::Cut { client },
        2 => Disturbance::Stall { client },
        3 => Disturbance::Hold { client, milliseconds: *pick(rng, &[10, 1000, 15_000, 40_000]) },
        4..6 => {
            let most = *pick(rng, &[50, 1000, 20_000]);
            let octets = rng.u64(..most);
            Disturbance::CutAfter { client, to_broker: rng.bool(), octets }
        }
        _ => Disturbance::Fault(fault(rng, client)),
    }
}

fn restart(rng: &mut Rng) -> Disturbance {
    let milliseconds = *pick(rng, &[0, 100, 3000, 30_000]);
    Disturbance::Restart { is_orderly: rng.u8(..3) == 0, milliseconds }
}

fn fault(rng: &mut Rng, client: usize) -> Fault {
    let milliseconds = *pick(rng, &[1, 100, 2000, 20_000]);
    let count = rng.u64(1..6);
    match rng.u8(..19) {
        0 => Fault::DropConnections,
        1 => Fault::DropConnection { client },
        2 => Fault::DropNamed { client },
        3 => Fault::CloseNamed { client },
        4 => Fault::CloseConnection { client },
        5 => Fault::CloseChannel { client, channel: rng.u16(1..4) },
        6 => Fault::DropAtFrame { to_broker: rng.bool(), frame: rng.u64(1..60) },
        7 => Fault::RefuseFor { milliseconds },
        8 => Fault::Refuse { count },
        9 => Fault::DelayAnswers { milliseconds: milliseconds.min(2000) },
        10 => Fault::Block { milliseconds },
        11 => Fault::Nack { count },
        12 => Fault::AtPublish { n: rng.u64(1..40), kind: publish_kind(rng) },
        13 => Fault::AtPublishOf { client, n: rng.u64(1..20), kind: publish_kind(rng) },
        14 => Fault::Return { count },
        15 => Fault::SwallowConfirms { count },
        16 => Fault::CancelConsumers { queue: rng.usize(..QUEUES.len()) },
        17 => Fault::DeleteOwn { client, own: rng.usize(..OWN) },
        _ => Fault::Clear,
    }
}

fn publish_kind(rng: &mut Rng) -> PublishKind {
    *pick(
        rng,
        &[
            PublishKind::DropConnection,
            PublishKind::CloseConnection,
            PublishKind::CloseChannel,
            PublishKind::Nack,
            PublishKind::Return,
        ],
    )
}

/// One of several.
pub(super) fn pick<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.usize(..all.len())]
}
