//! Acknowledgements and rejections, decoded without the table of methods.

use amqp_codec::{
    Error, MethodId,
    borrowed::{Ack, Nack, Reject},
    method::{Arguments as _, basic},
};

use crate::core::{entities::unacked::Outcome, vhost::operations::settle::Settlement};

/// The outcome of a delivery that is rejected.
const fn refused(requeue: bool) -> Outcome {
    if requeue { Outcome::Requeued } else { Outcome::Rejected }
}

/// Reads ack, nack and reject; `None` for any other method.
#[inline]
pub(crate) fn settlement(payload: &[u8]) -> Result<Option<(Settlement, MethodId)>, Error> {
    let Some(id) = MethodId::peek(payload) else { return Ok(None) };
    let settlement = match id {
        basic::Ack::ID => Ack::decode(payload)?.map(|Ack { delivery_tag: tag, multiple }| Settlement {
            tag,
            multiple,
            outcome: Outcome::Acked,
        }),
        basic::Nack::ID => Nack::decode(payload)?.map(|nack| Settlement {
            tag: nack.delivery_tag,
            multiple: nack.multiple,
            outcome: refused(nack.requeue),
        }),
        basic::Reject::ID => Reject::decode(payload)?.map(|reject| Settlement {
            tag: reject.delivery_tag,
            multiple: false,
            outcome: refused(reject.requeue),
        }),
        _ => None,
    };
    Ok(settlement.map(|settlement| (settlement, id)))
}
