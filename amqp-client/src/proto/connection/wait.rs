//! Waiting until something happens to a connection or a channel.

use std::task::Waker;

use super::{ChannelKey, Engine};
use crate::proto::ground::waiters::{Place, Waiters};

/// What is waited for. Who waits for the same is woken together, and looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// The connection is open, lost, restored or ended, or a channel of it is lost or restored.
    State,
    /// There is room for more output, or the broker takes publishes again.
    Room,
    /// There is room in a channel's window of unconfirmed publishes, or its flow goes on.
    Window(ChannelKey),
    /// Confirms of a channel have come.
    Confirms(ChannelKey),
    /// Something of a channel is settled, or one of its consumers has gone.
    Settled(ChannelKey),
    /// A channel has ended.
    End(ChannelKey),
}

/// One future's place among those who wait.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    place: Option<Place>,
    /// Whose place that is.
    among: Option<WaitFor>,
}

impl Wait {
    /// Whether it was ever waited.
    pub(crate) fn has_begun(&self) -> bool {
        self.among.is_some()
    }
}

impl Engine {
    /// Has `waker` woken for what is waited for, at one place at a time.
    pub(crate) fn wait(&mut self, wait: &mut Wait, what: WaitFor, waker: &Waker) {
        if wait.among != Some(what) {
            self.leave(wait);
            wait.among = Some(what);
        }
        if let Some(waiters) = self.waiters(what) {
            waiters.wait(&mut wait.place, waker);
        }
    }

    /// Gives the place back.
    pub(crate) fn leave(&mut self, wait: &mut Wait) {
        if let (Some(what), Some(place)) = (wait.among, wait.place.take())
            && let Some(waiters) = self.waiters(what)
        {
            waiters.leave(place);
        }
    }

    /// What a publish waits for that found no room.
    pub(crate) fn blocker_of_publish(&mut self, key: ChannelKey) -> WaitFor {
        match self.channel(key) {
            Ok(channel) if channel.is_recovering() => WaitFor::State,
            Ok(channel) if !channel.link.has_room_to_send() => WaitFor::Room,
            _ => WaitFor::Window(key),
        }
    }

    /// Nobody waits for a channel that has ended.
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
