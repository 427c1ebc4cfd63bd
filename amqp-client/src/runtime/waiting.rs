//! Futures that wait for the engine. Each has an entry or a call in the engine, and removes it when
//! it is dropped.

use std::{
    future::{Future, poll_fn},
    ops::{ControlFlow, Deref},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use crate::{
    error::{Error, Result},
    proto::{
        calls::{CallId, Reply},
        connection::{
            ChannelKey, Engine,
            wait::{Wait, WaitFor},
        },
    },
    runtime::shared::Shared,
};

/// An entry among the futures that wait for an event. Dropping it removes the entry.
pub(crate) struct Waiting<S: Deref<Target = Shared>> {
    shared: S,
    wait: Wait,
}

impl<S: Deref<Target = Shared>> Waiting<S> {
    pub(crate) fn new(shared: S) -> Self {
        Waiting { shared, wait: Wait::default() }
    }

    /// Checks whether the wait is over, and otherwise registers for the event that `look` names.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&mut Engine) -> ControlFlow<T, WaitFor>,
    ) -> Poll<T> {
        let wait = &mut self.wait;
        self.shared.with(|engine| match look(engine) {
            ControlFlow::Break(found) => Poll::Ready(found),
            ControlFlow::Continue(what) => {
                engine.wait(wait, what, cx.waker());
                Poll::Pending
            }
        })
    }

    /// Waits like [`poll`](Self::poll) for a single event, until `look` finds something.
    pub(crate) fn poll_for<T>(
        &mut self,
        cx: &mut Context<'_>,
        what: WaitFor,
        look: impl FnOnce(&mut Engine) -> Option<T>,
    ) -> Poll<T> {
        self.poll(cx, |engine| look(engine).map_or(ControlFlow::Continue(what), ControlFlow::Break))
    }
}

impl<S: Deref<Target = Shared>> Drop for Waiting<S> {
    fn drop(&mut self) {
        if self.wait.has_begun() {
            self.shared.with(|engine| engine.leave(&mut self.wait));
        }
    }
}

impl Shared {
    /// Waits until `look` finds something, checking again whenever `what` has happened.
    pub(crate) async fn wait_for<T>(
        &self,
        what: WaitFor,
        mut look: impl FnMut(&mut Engine) -> Option<T>,
    ) -> T {
        let mut waiting = Waiting::new(self);
        poll_fn(|cx| waiting.poll_for(cx, what, &mut look)).await
    }

    /// Returns the output of `work`; `None` if the connection ends first.
    pub(crate) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (mut ended, mut working) = (pin!(self.ended()), pin!(work));
        poll_fn(|cx| match ended.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => working.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Waits until the channel `key`, or without a key the connection, can be used, or never will
    /// be again.
    pub(crate) async fn usable(&self, key: Option<ChannelKey>) {
        self.wait_for(WaitFor::State, |engine| (!engine.is_recovering(key)).then_some(())).await;
    }

    /// Waits for the connection's end and returns the reason.
    pub(crate) async fn ended(&self) -> Error {
        self.wait_for(WaitFor::State, |engine| engine.ended().cloned()).await
    }
}

/// A future of the answer to a call. Dropping it before the answer abandons the call.
pub(crate) struct Answer<'a> {
    shared: &'a Shared,
    /// The channel; `None` for a call of the connection itself.
    channel: Option<ChannelKey>,
    call: CallId,
    done: bool,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(shared: &'a Shared, channel: Option<ChannelKey>, call: CallId) -> Self {
        Answer { shared, channel, call, done: false }
    }
}

impl Future for Answer<'_> {
    type Output = Result<Reply>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.shared.with(|engine| engine.poll_call(self.call, cx.waker()));
        self.done = polled.is_ready();
        polled
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.shared.with(|engine| engine.abandon_call(self.channel, self.call));
        }
    }
}
