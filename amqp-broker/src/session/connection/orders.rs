//! What somebody else than its client wants of a connection.

use amqp_codec::MethodId;

use super::{Connection, Phase};
use crate::{
    core::refusal::Refusal,
    session::{
        order::Order,
        outbox::Outbox,
        shared::{Operation, Shared},
    },
};

impl Connection {
    /// Does what the broker wants.
    #[inline]
    pub(crate) fn obey_all(&mut self, now: u64, shared: &mut Shared) {
        while let Some(order) = shared.outboxes.peek(self.id).and_then(Outbox::next_order) {
            self.obey(now, shared, order);
        }
    }

    /// Does what somebody else than the client wants.
    pub(crate) fn obey(&mut self, now: u64, shared: &mut Shared, order: Order) {
        if self.phase != Phase::Running {
            return;
        }
        let mut op =
            Operation { now, shared, by: self.id, max_message_size: 0, paused: None, unpublished: 0 };
        match order {
            // Nothing is left to say.
            Order::Drop => {}
            Order::ShutDown => self.close(&mut op, &Refusal::Shutdown, MethodId::default()),
            Order::Close { code, text } => self.close_with(&mut op, code, text, MethodId::default()),
            Order::CloseChannel { number, code, text } => {
                self.end_channel(&mut op, number, code, text, MethodId::default());
            }
        }
    }
}
