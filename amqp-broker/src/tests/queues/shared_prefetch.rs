//! The prefetch that a channel's consumers share, and how they share it.

use std::collections::BTreeMap;

use amqp_codec::{Properties, Value, method::basic};

use crate::tests::{
    both::{Tested, both, table},
    peer::{Peer, short},
};

/// How many deliveries are counted.
const DELIVERIES: u32 = 120;

/// A consumer: its queue, its tag, its priority.
type Consumer = (&'static str, &'static str, i32);

/// A client with a shared prefetch and consumers.
struct Scene {
    peer: Peer,
    came: BTreeMap<String, u32>,
    unacked: Vec<u64>,
}

impl Scene {
    /// Declares queues with more messages than will be delivered, sets a shared prefetch and starts
    /// consumers.
    async fn begin(broker: &Tested, prefetch_count: u16, consumers: &[Consumer]) -> Self {
        let mut peer = broker.open().await;
        for (queue, ..) in consumers {
            peer.fresh(queue, []).await;
            for _ in 0..2 * DELIVERIES {
                peer.put(queue, Properties::default(), "x").await;
            }
        }
        peer.call(1, basic::Qos { prefetch_count, global: true, ..Default::default() }).await;
        let mut scene = Scene { peer, came: BTreeMap::new(), unacked: Vec::new() };
        for (queue, tag, priority) in consumers {
            let consume = basic::Consume {
                queue: short(queue),
                consumer_tag: short(tag),
                arguments: table([("x-priority", Value::from(*priority))]),
                no_wait: true,
                ..Default::default()
            };
            scene.peer.send(1, consume).await;
        }
        scene
    }

    async fn next(&mut self) {
        let method = self.peer.came().await.method;
        *self.came.entry(method.consumer_tag.to_string()).or_default() += 1;
        self.unacked.push(method.delivery_tag);
    }

    /// Acknowledges each delivery as it arrives.
    async fn one_at_a_time(&mut self) {
        for _ in 0..DELIVERIES {
            self.next().await;
            let delivery_tag = self.unacked.pop().unwrap();
            self.peer.send(1, basic::Ack { delivery_tag, multiple: false }).await;
        }
    }

    /// Acknowledges whenever this many deliveries have arrived.
    async fn together(&mut self, count: usize) {
        for _ in 0..DELIVERIES {
            self.next().await;
            if self.unacked.len() == count {
                let delivery_tag = self.unacked.drain(..).next_back().unwrap();
                self.peer.send(1, basic::Ack { delivery_tag, multiple: true }).await;
            }
        }
    }

    fn of(&self, tag: &str) -> u32 {
        self.came.get(tag).copied().unwrap_or(0)
    }

    /// Checks that each of these consumers got at least half of its share: RabbitMQ distributes at
    /// random.
    fn assert_shared(&self, tags: &[&str]) {
        let least = DELIVERIES / u32::try_from(tags.len()).unwrap() / 2;
        assert!(tags.iter().all(|tag| self.of(tag) >= least), "{:?}", self.came);
    }
}

both! {
    async fn three_queues_have_a_third_each(broker: &Tested) {
        let consumers = [("sp3.a", "a", 0), ("sp3.b", "b", 0), ("sp3.c", "c", 0)];
        let mut scene = Scene::begin(broker, 1, &consumers).await;
        scene.one_at_a_time().await;
        scene.assert_shared(&["a", "b", "c"]);
    }

    async fn two_consumers_of_a_queue_have_half_each(broker: &Tested) {
        let mut scene = Scene::begin(broker, 1, &[("sp2.a", "a", 0), ("sp2.a", "b", 0)]).await;
        scene.one_at_a_time().await;
        scene.assert_shared(&["a", "b"]);
    }

    async fn what_is_acknowledged_together_is_shared_too(broker: &Tested) {
        let consumers = [("spm.a", "a", 0), ("spm.b", "b", 0), ("spm.c", "c", 0)];
        let mut scene = Scene::begin(broker, 10, &consumers).await;
        scene.together(10).await;
        scene.assert_shared(&["a", "b", "c"]);
    }

    async fn queues_share_it_not_their_consumers_and_priorities_are_the_queues(broker: &Tested) {
        let consumers = [("spp.a", "low", 0), ("spp.a", "high", 10), ("spp.b", "other", 0)];
        let mut scene = Scene::begin(broker, 1, &consumers).await;
        scene.one_at_a_time().await;
        scene.assert_shared(&["high", "other"]);
        // The first consumer may get the first message.
        assert!(scene.of("low") <= 1, "{:?}", scene.came);
    }

    async fn newer_queues_do_not_know_it(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.call(1, basic::Qos { prefetch_count: 9, ..Default::default() }).await;
        for kind in ["quorum", "stream"] {
            let queue = format!("spn.{kind}");
            peer.fresh(&queue, [("x-queue-type", kind.into())]).await;
            peer.take(&queue).await;
        }
        peer.fresh("spn.classic", []).await;
        peer.take("spn.classic").await;
        peer.call(1, basic::Qos { prefetch_count: 1, global: true, ..Default::default() }).await;
        let mut came = BTreeMap::<String, usize>::new();
        for queue in ["spn.quorum", "spn.stream", "spn.classic"] {
            for _ in 0..3 {
                peer.put(queue, Properties::default(), "x").await;
            }
            for _ in 0..if queue == "spn.classic" { 1 } else { 3 } {
                let tag = peer.came().await.method.consumer_tag;
                *came.entry(tag.to_string()).or_default() += 1;
            }
        }
        peer.settle_down().await;
        assert_eq!(came.into_values().collect::<Vec<_>>(), [1, 3, 3]);
    }

    async fn a_consumer_that_waited_and_left_is_not_waited_for(broker: &Tested) {
        let mut peer = broker.open().await;
        for queue in ["spl.a", "spl.b", "spl.c"] {
            peer.fresh(queue, []).await;
        }
        peer.call(1, basic::Qos { prefetch_count: 1, global: true, ..Default::default() }).await;
        for queue in ["spl.a", "spl.b", "spl.c"] {
            peer.put(queue, Properties::default(), queue).await;
            peer.take(queue).await;
            if queue == "spl.a" {
                assert_eq!(peer.came().await.text(), queue);
            }
        }
        peer.settle_down().await;
        peer.leave("spl.b").await;
        peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
        assert_eq!(peer.came().await.text(), "spl.c");
    }
}
