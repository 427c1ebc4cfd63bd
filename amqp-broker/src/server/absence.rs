//! Detects that a client has gone whose connection is not being read, so that its end is not seen
//! by reading.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::hang_up::HangUp;

/// The pause between two checks whether the client is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches a client whose connection is not being read.
pub(crate) struct Absence {
    /// The time of the next check, or the deadline of a client that is gone.
    next: Pin<Box<Sleep>>,
    is_gone: bool,
    timeout: Duration,
}

impl Absence {
    /// Begins to watch: a client that is gone is tolerated for this long.
    pub(crate) fn watch(timeout: Duration) -> Self {
        Absence { next: Box::pin(sleep(LOOK_EVERY.min(timeout))), is_gone: false, timeout }
    }

    /// Ready when the client has been gone for that long.
    pub(crate) fn poll(&mut self, stream: &mut impl HangUp, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.next.as_mut().poll(cx));
            if self.is_gone {
                return Poll::Ready(());
            }
            self.is_gone = stream.has_hung_up(cx);
            let next = if self.is_gone { self.timeout } else { LOOK_EVERY };
            self.next.as_mut().reset(Instant::now() + next);
        }
    }
}
