//! Acknowledgements and rejections, decoded without the table of methods.

use amqp_codec::{
    Error, MethodId,
    borrowed::{Ack, Nack, Reject},
    method::{Arguments as _, basic},
};

use crate::core::{entities::unacked::Outcome, vhost::operations::settle::Settlement};

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
            outcome: if nack.requeue { Outcome::Requeued } else { Outcome::Rejected },
        }),
        basic::Reject::ID => Reject::decode(payload)?.map(|reject| Settlement {
            tag: reject.delivery_tag,
            multiple: false,
            outcome: if reject.requeue { Outcome::Failed } else { Outcome::Rejected },
        }),
        _ => None,
    };
    Ok(settlement.map(|settlement| (settlement, id)))
}
