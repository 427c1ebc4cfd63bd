//! Futures that wait for the engine. Each has a place or a call in it, and gives that back when it
//! is dropped.

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

/// A place among those who wait for something. Dropped, it is given back.
pub(crate) struct Waiting<S: Deref<Target = Shared>> {
    shared: S,
    wait: Wait,
}

impl<S: Deref<Target = Shared>> Waiting<S> {
    pub(crate) fn new(shared: S) -> Self {
        Waiting { shared, wait: Wait::default() }
    }

    /// Looks whether the wait is over, or what it is still for.
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

    /// As [`poll`](Self::poll), for one thing: over once `look` finds it.
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
    /// Waits until `look` finds something, looking again whenever `what` has happened.
    pub(crate) async fn wait_for<T>(
        &self,
        what: WaitFor,
        mut look: impl FnMut(&mut Engine) -> Option<T>,
    ) -> T {
        let mut waiting = Waiting::new(self);
        poll_fn(|cx| waiting.poll_for(cx, what, &mut look)).await
    }

    /// The output of `work`, unless the connection ends before.
    pub(crate) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (mut ended, mut working) = (pin!(self.ended()), pin!(work));
        poll_fn(|cx| match ended.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => working.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Ready when `key` can be used, the connection without one, or will never be again.
    pub(crate) async fn usable(&self, key: Option<ChannelKey>) {
        self.wait_for(WaitFor::State, |engine| (!engine.is_recovering(key)).then_some(())).await;
    }

    /// Ready with the reason when the connection has ended.
    pub(crate) async fn ended(&self) -> Error {
        self.wait_for(WaitFor::State, |engine| engine.ended().cloned()).await
    }
}

/// The answer to a call. Dropped before, the call is abandoned.
pub(crate) struct Answer<'a> {
    shared: &'a Shared,
    /// `None` for a call of the connection itself.
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
