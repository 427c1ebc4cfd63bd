//! How much of the memory a connection's unfinished content takes.

use bytes::BytesMut;

use super::{ConnectionSession, Wants};
use crate::session::shared::Operation;

impl ConnectionSession {
    /// Weighs what has come and is no message yet.
    pub(super) fn weigh(&mut self, op: &mut Operation<'_>, input: &BytesMut, wants: Wants) {
        let mut sending = std::mem::take(&mut self.sending);
        for number in sending.drain(..) {
            if let Some(channel) = self.channels.get_mut(usize::from(number)).and_then(Option::as_deref_mut) {
                channel.weigh_unpublished(op);
            }
        }
        self.sending = sending;
        self.unpublished = self.unpublished.saturating_add_signed(op.unpublished);
        // What is not looked at yet is not its fault.
        let begun = if wants == Wants::Input { input.len() as u64 } else { 0 };
        let (held, buffer) = (self.unpublished + begun, input.capacity() as u64 - begun);
        op.shared.holdings.received(self.id, held, buffer);
    }
}
