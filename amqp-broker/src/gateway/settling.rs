//! Acknowledgements, rejections, and the return of what a channel leaves.

use amqp_codec::ShortString;

use crate::backend::{Link, Settlement};

use super::{
    channel::{Channel, Unsettled},
    fault::Fault,
    registry::Left,
    session::Session,
};

impl<L: Link> Session<L> {
    /// Settles deliveries of a channel; the backend is told at the end of the current input.
    ///
    /// # Errors
    /// When there is no such delivery (406).
    pub(super) fn settle(
        &mut self,
        number: u16,
        (tag, multiple): (u64, bool),
        settlement: Settlement,
    ) -> Result<(), Fault> {
        let Some(channel) = self.channel(number) else { return Ok(()) };
        let deliveries = channel.settle(tag, multiple)?;
        self.note_settled(number, deliveries, settlement);
        Ok(())
    }

    /// Returns all unsettled deliveries of a channel to their queues.
    pub(super) fn requeue_all(&mut self, number: u16) {
        let deliveries = self.channels.get_mut(&number).map(Channel::take_all);
        self.note_settled(number, deliveries.unwrap_or_default(), Settlement::Requeue);
    }

    /// Notes settlements, and that consumers may get more.
    fn note_settled(&mut self, number: u16, deliveries: Vec<Unsettled<L::Claim>>, settlement: Settlement) {
        let mut claims = Vec::with_capacity(deliveries.len());
        for Unsettled { claim, consumer } in deliveries {
            if let Some(tag) = consumer {
                self.consumers.settled(number, &tag);
            }
            claims.extend(claim.map(|claim| (claim, settlement)));
        }
        // The first delivery is to be in front at last.
        if settlement == Settlement::Requeue {
            claims.reverse();
        }
        self.settled.append(&mut claims);
    }

    /// Tells the backend what is settled.
    ///
    /// # Errors
    /// When the backend fails.
    pub(super) async fn flush_settled(&mut self) -> Result<(), Fault> {
        if self.settled.is_empty() {
            return Ok(());
        }
        let restored = self.link.settle(std::mem::take(&mut self.settled)).await?;
        if restored > 0 {
            let connection = &self.terms.name;
            tracing::warn!(
                connection,
                messages = restored,
                "settled too late: they had been returned to their queues, and others may process them again"
            );
        }
        Ok(())
    }

    /// Ends a consumer.
    ///
    /// # Errors
    /// When the backend fails.
    pub(super) async fn end_consumer(&mut self, number: u16, tag: &ShortString) -> Result<(), Fault> {
        let Some((queue, is_last)) = self.consumers.remove(number, tag) else { return Ok(()) };
        if is_last {
            self.link.unwatch(&queue).await?;
        }
        self.link.remove_consumer(&queue).await?;
        match self.registry.cancel(&queue) {
            Left::Stays => return Ok(()),
            Left::ByAllHere => self.link.leave_queue(&queue).await?,
            Left::ByAll => self.link.delete_queue(&queue).await.map(drop)?,
        }
        self.registry.forget(&queue);
        Ok(())
    }
}
