//! Acknowledgements and refusals, read past the table of methods.

use amqp_codec::{
    MethodId,
    method::{Arguments as _, basic},
};

use crate::core::{entities::unacked::Outcome, vhost::deliver::Settlement};

/// The outcome of a delivery that is refused.
const fn refused(requeue: bool) -> Outcome {
    if requeue { Outcome::Requeued } else { Outcome::Rejected }
}

/// Reads ack, nack and reject, of well-formed frames.
#[inline]
pub(super) fn settlement(payload: &[u8]) -> Option<(Settlement, MethodId)> {
    let &[0, 60, 0, method, t7, t6, t5, t4, t3, t2, t1, t0, bits] = payload else { return None };
    let tag = u64::from_be_bytes([t7, t6, t5, t4, t3, t2, t1, t0]);
    let (first, second) = (bits & 1 != 0, bits & 2 != 0);
    match method {
        80 => Some((Settlement { tag, multiple: first, outcome: Outcome::Acked }, basic::Ack::ID)),
        90 => Some((Settlement { tag, multiple: false, outcome: refused(first) }, basic::Reject::ID)),
        120 => Some((Settlement { tag, multiple: first, outcome: refused(second) }, basic::Nack::ID)),
        _ => None,
    }
}
