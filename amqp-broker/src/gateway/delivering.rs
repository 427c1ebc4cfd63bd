//! Messages on their way from the backend to consumers.

use amqp_codec::{ShortString, method::basic};

use crate::backend::{Claimed, Link, Message, Settlement, Source};

use super::{
    channel::Unsettled,
    consumers::Wanted,
    fault::Fault,
    session::{Phase, Session},
};

impl<L: Link> Session<L> {
    /// Delivers messages until consumers have enough, or their queues have no more.
    ///
    /// # Errors
    /// When the backend fails.
    pub(super) async fn deliver(&mut self) -> Result<(), Fault> {
        while self.phase == Phase::Running && !self.output.is_enough() {
            let wanted = self.consumers.wanted(&self.channels);
            if wanted.is_empty() {
                break;
            }
            let sources: Vec<_> = wanted.iter().map(Wanted::as_source).collect();
            let claimed = self.link.claim(&sources).await?;
            let mut counts = vec![0; wanted.len()];
            for claimed in claimed {
                if let (Some(count), Some(wanted)) =
                    (counts.get_mut(claimed.source), wanted.get(claimed.source))
                {
                    *count += 1;
                    self.hand_over(wanted, claimed);
                }
            }
            for (wanted, _) in wanted.iter().zip(counts).filter(|(wanted, count)| *count < wanted.most) {
                self.consumers.drained(&wanted.queue);
            }
        }
        self.flush_settled().await
    }

    /// Delivers a message to a consumer.
    fn hand_over(&mut self, wanted: &Wanted, claimed: Claimed<L::Claim>) {
        let Claimed { message, redelivered, claim, .. } = claimed;
        let chosen = self.consumers.choose(&wanted.queue, wanted.no_ack, &self.channels);
        let Some((number, consumer_tag)) = chosen else {
            self.settled.extend(claim.map(|claim| (claim, Settlement::Requeue)));
            return;
        };
        let Some(delivery_tag) = self.tag(number, wanted.no_ack, claim, Some(consumer_tag.clone())) else {
            return;
        };
        let Message { exchange, routing_key, properties, body } = message;
        let deliver = basic::Deliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key };
        self.send_content(number, &deliver, (&properties, &body));
    }

    /// The tag of a delivery on this channel.
    fn tag(
        &mut self,
        number: u16,
        no_ack: bool,
        claim: Option<L::Claim>,
        consumer: Option<ShortString>,
    ) -> Option<u64> {
        let channel = self.channel(number)?;
        Some(match no_ack {
            true => channel.next_tag(),
            false => channel.deliver(Unsettled { claim, consumer }),
        })
    }

    /// Answers `basic.get`.
    ///
    /// # Errors
    /// When the backend refuses it.
    pub(super) async fn get(&mut self, number: u16, queue: &str, no_ack: bool) -> Result<(), Fault> {
        let source = Source { queue, no_ack, most: 1 };
        let Some(claimed) = self.link.claim(&[source]).await?.into_iter().next() else {
            self.output.method(number, &basic::GetEmpty::default());
            return Ok(());
        };
        let Claimed { message, redelivered, claim, .. } = claimed;
        let Some(delivery_tag) = self.tag(number, no_ack, claim, None) else { return Ok(()) };
        let message_count = self.link.find_queue(queue).await.unwrap_or(0);
        let Message { exchange, routing_key, properties, body } = message;
        let get_ok = basic::GetOk { delivery_tag, redelivered, exchange, routing_key, message_count };
        self.send_content(number, &get_ok, (&properties, &body));
        Ok(())
    }
}
