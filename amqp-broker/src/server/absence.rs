//! The absence of a client that is not read from, so that its end is not read either.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::hang_up::HangUp;

/// The time between two looks whether the client is there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches a client that is not read from.
pub(crate) struct Absence {
    /// The time of the next look, or the end of the time that the client has.
    next: Pin<Box<Sleep>>,
    is_gone: bool,
    timeout: Duration,
}

impl Absence {
    /// From now on: a client that is gone may stay so for this long.
    pub(crate) fn watch(timeout: Duration) -> Self {
        Absence { next: Box::pin(sleep(LOOK_EVERY.min(timeout))), is_gone: false, timeout }
    }

    /// Ready when it has been gone for so long.
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
