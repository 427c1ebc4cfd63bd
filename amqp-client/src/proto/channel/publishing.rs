//! Publishes that wait for room, and their confirms.

use super::Channel;
use crate::proto::link::Link;

impl Channel {
    /// Whether there is room in the window of unconfirmed publishes, and the broker has not stopped
    /// the flow.
    #[inline]
    pub(crate) fn may_publish(&self, link: &Link) -> bool {
        !self.flow_stopped && self.confirms.as_ref().is_none_or(|confirms| link.window.has_room(confirms))
    }

    /// Has those woken that wait for room in the window, if there is any.
    pub(crate) fn wake_if_room(&mut self, link: &mut Link) {
        if self.may_publish(link) {
            self.window_waiters.wake_all(&mut link.wakes);
        }
    }

    /// The answer to a publish is waited for no more.
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
            // Not at the first free place: who is woken should find room for a batch. Where one
            // does not come about soon, the answers that are missing may never come.
            if link.window.has_room_again(confirms) {
                self.window_waiters.wake_all(&mut link.wakes);
            } else if self.window_waiters.len() > 0 && link.window.has_room(confirms) {
                link.window_opens = true;
            }
        }
    }
}
