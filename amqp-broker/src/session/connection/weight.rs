//! The memory of a connection's incomplete content.

use bytes::BytesMut;

use super::{ConnectionSession, Wants};
use crate::session::shared::Operation;

impl ConnectionSession {
    /// Counts the content that is not published yet.
    pub(super) fn weigh(&mut self, op: &mut Operation<'_>, input: &BytesMut, wants: Wants) {
        let mut sending = std::mem::take(&mut self.sending);
        for number in sending.drain(..) {
            if let Some(channel) = self.channels.get_mut(usize::from(number)).and_then(Option::as_deref_mut) {
                channel.weigh_unpublished(op);
            }
        }
        self.sending = sending;
        self.unpublished = self.unpublished.saturating_add_signed(op.unpublished);
        // Input that the broker has not processed yet does not count against the client.
        let begun = if wants == Wants::Input { input.len() as u64 } else { 0 };
        let (received, buffer) = (self.unpublished + begun, input.capacity() as u64 - begun);
        op.shared.holdings.received(self.id, received, buffer);
    }
}
