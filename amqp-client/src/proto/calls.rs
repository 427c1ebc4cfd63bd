//! Calls that wait for an answer, and answers until they are fetched.

use std::task::{Poll, Waker};

use amqp_codec::Method;
use slab::Slab;

use crate::error::{Error, Result};
use crate::proto::consuming::delivery::RawDelivery;

/// The id of a call. Its owner is the one future that polls or abandons it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId(usize);

/// The answer to a call.
#[derive(Debug)]
pub(crate) enum Reply {
    Method(Method),
    /// A `basic.get-ok` with its content, and how many messages are left in the queue.
    Got(Box<RawDelivery>, u32),
    /// An existing consumer has started again. It belongs to its user, whoever asked for it.
    Resumed,
}

enum Slot {
    Waiting(Option<Waker>),
    Done(Result<Reply>),
    /// The caller is gone; the answer is still to come, and is discarded.
    Abandoned,
}

#[derive(Default)]
pub(crate) struct Calls {
    slots: Slab<Slot>,
}

impl Calls {
    pub(crate) fn begin(&mut self) -> CallId {
        CallId(self.slots.insert(Slot::Waiting(None)))
    }

    /// Returns how many calls wait, or have an answer that was not fetched.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Removes a call whose method was not sent.
    pub(crate) fn cancel(&mut self, id: CallId) {
        self.slots.try_remove(id.0);
    }

    /// Stores the answer for the caller, or returns it if the caller is gone.
    pub(crate) fn finish(
        &mut self,
        id: CallId,
        result: Result<Reply>,
        wakes: &mut Vec<Waker>,
    ) -> Option<Result<Reply>> {
        let Some(slot) = self.slots.get_mut(id.0) else { return Some(result) };
        match std::mem::replace(slot, Slot::Abandoned) {
            Slot::Waiting(waker) => {
                *slot = Slot::Done(result);
                wakes.extend(waker);
                None
            }
            Slot::Abandoned => {
                self.slots.remove(id.0);
                Some(result)
            }
            done @ Slot::Done(_) => {
                *slot = done;
                Some(result)
            }
        }
    }

    /// Returns the answer, if it has come, which ends the call.
    pub(crate) fn poll(&mut self, id: CallId, waker: &Waker) -> Poll<Result<Reply>> {
        match self.slots.get_mut(id.0) {
            Some(Slot::Waiting(known)) => {
                match known {
                    Some(known) => known.clone_from(waker),
                    None => *known = Some(waker.clone()),
                }
                return Poll::Pending;
            }
            Some(Slot::Done(_)) => {}
            Some(Slot::Abandoned) | None => return Poll::Ready(Err(Error::ConnectionEnded)),
        }
        match self.slots.remove(id.0) {
            Slot::Done(result) => Poll::Ready(result),
            Slot::Waiting(_) | Slot::Abandoned => Poll::Pending,
        }
    }

    /// Abandons the call. An answer that has come already is returned, so that it can be undone.
    pub(crate) fn abandon(&mut self, id: CallId) -> Option<Result<Reply>> {
        let slot = self.slots.get_mut(id.0)?;
        if let Slot::Waiting(_) = slot {
            *slot = Slot::Abandoned;
            return None;
        }
        match self.slots.remove(id.0) {
            Slot::Done(result) => Some(result),
            Slot::Waiting(_) | Slot::Abandoned => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::method::queue;

    use super::*;

    fn answer() -> Result<Reply> {
        Ok(Reply::Method(queue::BindOk {}.into()))
    }

    #[test]
    fn an_answer_waits_for_its_caller_and_is_fetched_once() {
        let mut calls = Calls::default();
        let id = calls.begin();
        assert!(calls.poll(id, Waker::noop()).is_pending());
        let mut wakes = Vec::new();
        assert!(calls.finish(id, answer(), &mut wakes).is_none());
        assert_eq!(wakes.len(), 1);
        assert!(matches!(calls.poll(id, Waker::noop()), Poll::Ready(Ok(_))));
        assert!(calls.slots.is_empty());
    }

    #[test]
    fn the_answer_to_an_abandoned_call_comes_back_to_be_undone() {
        let mut calls = Calls::default();
        let (early, late) = (calls.begin(), calls.begin());
        assert!(calls.abandon(early).is_none());
        assert!(calls.finish(early, answer(), &mut Vec::new()).is_some());
        assert!(calls.finish(late, answer(), &mut Vec::new()).is_none());
        assert!(calls.abandon(late).is_some());
        assert!(calls.slots.is_empty());
    }
}
