//! Waiting until something happens to a connection or a channel.

use std::task::Waker;

use super::{ChannelKey, Engine};
use crate::proto::ground::waiters::{Place, Waiters};

/// The event that a future waits for. All that wait for the same event are woken together, and then
/// check their condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// The connection is open, lost, restored or ended, or a channel of it is lost or restored.
    State,
    /// There is room for more output, or the broker takes publishes again.
    Room,
    /// There is room in a channel's window of unconfirmed publishes, or its flow goes on.
    Window(ChannelKey),
    /// Confirms of a channel have arrived.
    Confirms(ChannelKey),
    /// A delivery or publish of a channel is settled, or one of its consumers has ended.
    Settled(ChannelKey),
    /// A channel has ended.
    End(ChannelKey),
}

/// The entry of one future among those that wait.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    place: Option<Place>,
    /// The event that the entry is for.
    among: Option<WaitFor>,
}

impl Wait {
    /// Tells whether the future has ever waited.
    pub(crate) fn has_begun(&self) -> bool {
        self.among.is_some()
    }
}

impl Engine {
    /// Registers `waker` for an event. A future waits for one event at a time.
    pub(crate) fn wait(&mut self, wait: &mut Wait, what: WaitFor, waker: &Waker) {
        if wait.among != Some(what) {
            self.leave(wait);
            wait.among = Some(what);
        }
        if let Some(waiters) = self.waiters(what) {
            waiters.wait(&mut wait.place, waker);
        }
    }

    /// Removes the entry.
    pub(crate) fn leave(&mut self, wait: &mut Wait) {
        if let (Some(what), Some(place)) = (wait.among, wait.place.take())
            && let Some(waiters) = self.waiters(what)
        {
            waiters.leave(place);
        }
    }

    /// Returns what a publish that found no room has to wait for.
    pub(crate) fn blocker_of_publish(&mut self, key: ChannelKey) -> WaitFor {
        match self.channel(key) {
            Ok(channel) if channel.is_recovering() => WaitFor::State,
            Ok(channel) if !channel.link.has_room_to_send() => WaitFor::Room,
            _ => WaitFor::Window(key),
        }
    }

    /// Returns the waiters for an event; `None` for a channel that has ended, for which nobody
    /// waits.
    fn waiters(&mut self, what: WaitFor) -> Option<&mut Waiters> {
        match what {
            WaitFor::State => Some(&mut self.state_waiters),
            WaitFor::Room => Some(&mut self.room_waiters),
            WaitFor::Window(key) => Some(&mut self.channel(key).ok()?.into_channel().window_waiters),
            WaitFor::Settled(key) => Some(&mut self.channel(key).ok()?.into_channel().drain_waiters),
            WaitFor::End(key) => Some(&mut self.channel(key).ok()?.into_channel().end_waiters),
            WaitFor::Confirms(key) => {
                let confirms = self.channel(key).ok()?.into_channel().confirms.as_mut();
                confirms.map(|confirms| &mut confirms.flush_waiters)
            }
        }
    }
}
