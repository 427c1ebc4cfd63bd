//! The firehose: while tracing is on, each message that is published or delivered is copied to the
//! exchange `amq.rabbitmq.trace` (<https://www.rabbitmq.com/docs/firehose>).

use amqp_codec::ShortString;

use crate::core::{
    content::message::Parts,
    entities::{
        dead_letters::DeadMessage,
        ids::{ChannelId, ExchangeId, QueueId},
    },
    rabbitmq::{
        firehose::{Traced, What},
        refusal::Refusal,
    },
    vhost::{TRACE, Vhost},
    work::{publishing::Publishing, routing::Found},
};

impl Vhost {
    /// Switches tracing on or off.
    pub(crate) fn trace(&mut self, is_traced: bool) {
        self.is_traced = is_traced;
    }

    /// Tells whether messages are copied.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.is_traced
    }

    /// Copies a message that a channel publishes to these queues.
    #[cold]
    pub(in crate::core::vhost) fn trace_publish(
        &mut self,
        by: ChannelId,
        parts: Parts<'_>,
        queues: &[QueueId],
    ) {
        let names = queues.iter().filter_map(|id| self.queues.get(*id));
        let queues = names.map(|queue| queue.name.clone()).collect();
        self.copy(by, What::Published { queues }, parts);
    }

    /// Copies a message that took turns to be routed, unless that has happened.
    pub(in crate::core::vhost) fn trace_routed(&mut self, publishing: &mut Publishing) {
        if let Some(by) = publishing.by.take()
            && self.is_traced
        {
            self.trace_publish(by, publishing.parts(), &publishing.found.queues);
        }
    }

    /// Copies a message of a queue that a channel gets.
    #[cold]
    pub(in crate::core::vhost) fn trace_delivery(
        &mut self,
        to: ChannelId,
        from: QueueId,
        parts: Parts<'_>,
        redelivered: bool,
    ) {
        let Some(queue) = self.queues.get(from) else { return };
        let what = What::Delivered { queue: queue.name.clone(), redelivered };
        self.copy(to, what, parts);
    }

    fn copy(&mut self, channel: ChannelId, what: What, parts: Parts<'_>) {
        // Copies are not copied.
        if parts.names().0 == TRACE.as_bytes() || !self.is_anybody_tracing() {
            return;
        }
        let Some(channel) = self.channels.get(channel) else { return };
        let Some(connection) = self.connections.get(channel.connection) else { return };
        let traced = Traced {
            what,
            vhost: &self.name,
            connection: &connection.name,
            channel: channel.number,
            user: &connection.access.user,
            parts,
        };
        // About what a dead letter takes, and the copy.
        self.budget.spend(20);
        self.budget.spend_octets(parts.weight() as usize);
        let exchange = ShortString::from_static(TRACE);
        match traced.draft(&exchange) {
            Ok(mut draft) => self.dead_letters.push_traced(draft.message(false, None), &exchange),
            Err(error) => tracing::debug!(vhost = self.name, %error, "a message is not traced"),
        }
    }

    fn trace_exchange(&self) -> Option<ExchangeId> {
        self.exchange_names.get(TRACE.as_bytes()).copied()
    }

    fn is_anybody_tracing(&self) -> bool {
        let exchange = self.trace_exchange().and_then(|id| self.exchanges.get(id));
        exchange.is_some_and(|exchange| exchange.binding_count() > 0)
    }

    /// The copy of a message as it is published.
    pub(in crate::core::vhost) fn traced_letter(
        &mut self,
        copy: &DeadMessage,
    ) -> Result<Publishing, Refusal> {
        let source = Some(self.exchange_id(&copy.to.exchange)?);
        let routing = Some(Box::new(self.begin_routing(source, Found::default())));
        let draft = copy.message.to_draft();
        Ok(Publishing { draft, source, routing, is_letter: true, ..Publishing::default() })
    }
}
