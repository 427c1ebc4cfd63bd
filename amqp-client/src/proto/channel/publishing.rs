//! Waiting for room to publish, and the channel's confirms.

use super::Channel;
use crate::proto::link::Link;

impl Channel {
    /// Tells whether the window of unconfirmed publishes has room and the broker has not stopped
    /// the flow.
    #[inline]
    pub(crate) fn may_publish(&self, link: &Link) -> bool {
        !self.flow_stopped && self.confirms.as_ref().is_none_or(|confirms| link.window.has_room(confirms))
    }

    /// Wakes the futures that wait for room in the window, if there is any.
    pub(crate) fn wake_if_room(&mut self, link: &mut Link) {
        if self.may_publish(link) {
            self.window_waiters.wake_all(&mut link.wakes);
        }
    }

    /// Stops waiting for the answer to a publish.
    pub(crate) fn give_up_confirm(&mut self, link: &mut Link, tag: u64) {
        if let Some(confirms) = &mut self.confirms {
            confirms.give_up(tag, &mut link.wakes);
            if confirms.in_flight() == 0 {
                self.drain_waiters.wake_all(&mut link.wakes);
            }
            self.wake_if_room(link);
        }
    }

    pub(super) fn settle(&mut self, link: &mut Link, tag: u64, multiple: bool, nack: bool) {
        if let Some(confirms) = &mut self.confirms {
            let before = confirms.in_flight();
            confirms.settle(tag, multiple, nack, &mut link.wakes);
            let answered = before.saturating_sub(confirms.in_flight()) as u64;
            let count =
                if nack { &mut link.metrics.messages_nacked } else { &mut link.metrics.messages_confirmed };
            *count += answered;
            if confirms.in_flight() == 0 {
                self.drain_waiters.wake_all(&mut link.wakes);
            }
            // A woken publisher should find room for a batch, so the first free place is not
            // enough. If a batch does not become free soon, the missing answers may never come, so
            // a timer wakes it.
            if link.window.has_room_again(confirms) {
                self.window_waiters.wake_all(&mut link.wakes);
            } else if self.window_waiters.len() > 0 && link.window.has_room(confirms) {
                link.window_opens = true;
            }
        }
    }
}
