//! A consumer of a run: it settles its deliveries in its manner until it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use amqp_client::{Acker, Channel, Consumer, Delivery};
use fastrand::Rng;
use tokio::{sync::Notify, task::JoinHandle, time::sleep};

use super::{account::Receipt, scenario::Manner, world::World};

/// The number of times that a consumer is cancelled if that fails.
const CANCELS: usize = 10;

/// The means by which a client ends its consumer.
#[derive(Default)]
pub(super) struct Leash {
    pub(super) cancels: Notify,
    pub(super) drops: AtomicBool,
}

/// A consumer that runs.
pub(super) struct Running {
    pub(super) leash: Arc<Leash>,
    pub(super) task: JoinHandle<()>,
}

/// All that a consumer needs to know of its client.
pub(super) struct Place {
    pub(super) world: World,
    pub(super) client: usize,
    pub(super) channel: Channel,
    pub(super) queue: &'static str,
    pub(super) serial: u64,
}

/// A delivery that is not settled yet.
pub(super) struct Held {
    acker: Acker,
    receipt: Receipt,
}

/// A settlement that the broker has seen when a later call on the same link is answered.
pub(super) struct Unproven {
    receipt: Receipt,
    generation: u64,
}

/// Starts a consumer.
pub(super) fn start(place: Place, consumer: Consumer, prefetch: u16, manner: Manner) -> Running {
    let leash = Arc::<Leash>::default();
    let task = tokio::spawn(run(place, consumer, prefetch, manner, Arc::clone(&leash)));
    Running { leash, task }
}

/// Starts a consumer without acknowledgement.
pub(super) fn watch(place: Place, mut consumer: Consumer) -> Running {
    let leash = Arc::<Leash>::default();
    let ends = Arc::clone(&leash);
    let task = tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                () = ends.cancels.notified() => break,
                received = consumer.recv() => match received {
                    Some(Ok(delivery)) => drop(place.receive(&delivery)),
                    Some(Err(error)) => place.world.failed("watching", &error),
                    None => return,
                },
            }
        }
        place.cancel(&mut consumer).await;
    });
    Running { leash, task }
}

async fn run(place: Place, mut consumer: Consumer, prefetch: u16, manner: Manner, leash: Arc<Leash>) {
    let mut rng = Rng::with_seed(place.world.seed ^ (place.serial << 20));
    let (mut held, mut unproven) = (Vec::new(), Vec::new());
    let mut is_cancelled = false;
    loop {
        let received = tokio::select! {
            biased;
            () = leash.cancels.notified(), if !is_cancelled => {
                if leash.drops.load(Ordering::Relaxed) {
                    return;
                }
                is_cancelled = true;
                place.cancel(&mut consumer).await;
                continue;
            }
            received = consumer.recv() => received,
        };
        match received {
            None => break,
            Some(Err(error)) => place.world.failed("consuming", &error),
            Some(Ok(delivery)) => {
                place.hold(delivery, &mut held);
                place.check_prefetch(&held, prefetch);
                if manner.thinks > 0 {
                    sleep(Duration::from_millis(rng.u64(..=manner.thinks))).await;
                }
                place.settle_one(&mut held, &mut unproven, manner, &mut rng).await;
            }
        }
    }
    place.prove(unproven).await;
}

impl Place {
    /// Cancels a consumer: again if it is not answered, for then the consumer goes on once the
    /// connection is recovered.
    async fn cancel(&self, consumer: &mut Consumer) {
        for _ in 0..CANCELS {
            match self.world.ends("cancelling", consumer.cancel()).await {
                Some(Err(error)) => {
                    self.world.failed("cancelling", &error);
                    sleep(Duration::from_secs(1)).await;
                }
                Some(Ok(())) | None => break,
            }
        }
    }

    /// Notes a delivery.
    pub(super) fn receive(&self, delivery: &Delivery) -> Option<Receipt> {
        self.world.account.deliver(self.serial, self.queue, delivery.body(), delivery.redelivered())
    }

    pub(super) fn hold(&self, delivery: Delivery, held: &mut Vec<Held>) {
        if let Some(receipt) = self.receive(&delivery) {
            let (_, acker) = delivery.split();
            held.push(Held { acker, receipt });
        }
    }

    fn check_prefetch(&self, held: &[Held], prefetch: u16) {
        let count = held.iter().filter(|held| !held.acker.is_stale()).count();
        if count > usize::from(prefetch) {
            self.world.log.violation(format!(
                "consumer {} of {} holds {count} deliveries with a prefetch of {prefetch}",
                self.serial, self.queue
            ));
        }
    }

    /// Settles the oldest or the newest of the held deliveries, or none.
    pub(super) async fn settle_one(
        &self,
        held: &mut Vec<Held>,
        unproven: &mut Vec<Unproven>,
        manner: Manner,
        rng: &mut Rng,
    ) {
        let draw = rng.u8(..100);
        let (ack, requeue) = (manner.ack, manner.ack + manner.requeue);
        if draw >= requeue + manner.reject {
            return;
        }
        let last = held.len() - 1;
        let Held { acker, receipt } = held.remove(if manner.backwards { last } else { 0 });
        let generation = self.world.network.generation(self.client);
        let (name, settled) = match draw {
            draw if draw < ack => ("ack", acker.ack().await),
            draw if draw < requeue => ("requeue", acker.nack(true).await),
            _ => ("reject", acker.reject(false).await),
        };
        self.world.log.add(format_args!("{name} of {receipt:?}: {}", settled.is_ok()));
        match settled {
            Ok(()) if name != "requeue" => {
                self.world.account.asked(&receipt);
                unproven.push(Unproven { receipt, generation });
            }
            Ok(()) => {}
            Err(error) => self.world.failed(name, &error),
        }
    }

    /// Makes a call: when it is answered, the broker has seen what was settled on this link before.
    pub(super) async fn prove(&self, unproven: Vec<Unproven>) {
        let before = self.world.network.generation(self.client);
        let answered = self.world.ends("a call behind acks", self.channel.qos(0)).await;
        let is_proven = matches!(answered, Some(Ok(())));
        if is_proven && self.world.network.generation(self.client) == before {
            let settled = unproven.into_iter().filter(|settled| settled.generation == before);
            settled.for_each(|settled| self.world.account.settled(&settled.receipt));
        }
    }
}
