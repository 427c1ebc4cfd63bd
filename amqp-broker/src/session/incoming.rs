//! The content that a channel is receiving: publish, header and body come in this order with
//! nothing between (spec section 4.2.6.1).

use std::borrow::Cow;

use amqp_codec::{Arguments, MethodId, borrowed::Publish, content::CONTENT_HEADER_LEN, method::basic};
use bytes::{Bytes, BytesMut};

use crate::core::{
    content::message::{Draft, SMALL_BODY},
    rabbitmq::refusal::Refusal,
};

/// Body parts up to this size are copied, even of large bodies: sharing one would keep the whole
/// read buffer alive, which is at most eight times as large.
pub(crate) const GATHERED: usize = 32 << 10;

pub(crate) const METHOD_EXPECTED: Refusal =
    Refusal::UnexpectedFrame(Cow::Borrowed("expected method frame, got non method frame instead"));
const HEADER_EXPECTED: Refusal = Refusal::UnexpectedFrame(Cow::Borrowed(
    "expected content header for class 60, got non content header frame instead",
));
const BODY_EXPECTED: Refusal =
    Refusal::UnexpectedFrame(Cow::Borrowed("expected content body, got non content body frame instead"));

/// The method that a refusal blames: for an unexpected frame the publish whose content is
/// incomplete, or none.
pub(crate) fn blamed(refusal: &Refusal) -> Option<MethodId> {
    match refusal {
        Refusal::Internal | Refusal::TooManyChannels(_) => Some(MethodId::default()),
        Refusal::UnexpectedFrame(_) if *refusal == METHOD_EXPECTED => Some(MethodId::default()),
        Refusal::UnexpectedFrame(_) if [HEADER_EXPECTED, BODY_EXPECTED].contains(refusal) => {
            Some(basic::Publish::ID)
        }
        _ => None,
    }
}

/// The flags of a publish.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PublishFlags {
    pub(crate) mandatory: bool,
    pub(crate) immediate: bool,
}

/// The content received so far.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// The message; it is complete when a call says so.
    pub(crate) draft: Draft,
    pub(crate) flags: PublishFlags,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Header,
    Small {
        left: usize,
    },
    /// The body is larger than allowed: it is counted, not stored, and refused at its end.
    Excess {
        left: u64,
        refusal: Box<Refusal>,
    },
    Large {
        left: u64,
        /// How many bytes of the body have arrived.
        came: u64,
        parts: Vec<Bytes>,
        gathered: BytesMut,
    },
}

/// A part of a body.
pub(crate) enum Part<'a> {
    /// It lies in the read buffer.
    Borrowed(&'a [u8]),
    /// It is a slice that shares the read buffer.
    Shared(Bytes),
}

impl Part<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Part::Borrowed(bytes) => bytes,
            Part::Shared(bytes) => bytes,
        }
    }
}

impl Incoming {
    /// Checks that a method may come now; it may not while content is incomplete.
    #[inline]
    pub(crate) fn expect_method(&self) -> Result<(), Refusal> {
        match self.stage {
            Stage::Idle => Ok(()),
            Stage::Header => Err(HEADER_EXPECTED),
            Stage::Small { .. } | Stage::Large { .. } | Stage::Excess { .. } => Err(BODY_EXPECTED),
        }
    }

    /// How much memory it takes. A complete message gives its memory back, unless it is small.
    pub(crate) fn weight(&mut self) -> u64 {
        if let Stage::Idle = self.stage {
            self.draft.give_back();
        }
        let came = match self.stage {
            Stage::Large { came, .. } => came,
            _ => 0,
        };
        came + self.draft.capacity()
    }

    /// Takes a publish.
    #[inline]
    pub(crate) fn publish(&mut self, publish: &Publish<'_>) -> Result<(), Refusal> {
        self.expect_method()?;
        self.draft.start(publish.exchange, publish.routing_key);
        self.flags = PublishFlags { mandatory: publish.mandatory, immediate: publish.immediate };
        self.stage = Stage::Header;
        Ok(())
    }

    /// Takes a content header. Returns whether the content is complete, because the body is empty.
    #[inline]
    pub(crate) fn header(&mut self, payload: &[u8], limit: u64, memory: u64) -> Result<bool, Refusal> {
        // A header must follow a publish.
        match self.stage {
            Stage::Header => {}
            Stage::Idle => return Err(METHOD_EXPECTED),
            Stage::Small { .. } | Stage::Large { .. } | Stage::Excess { .. } => return Err(BODY_EXPECTED),
        }
        // Its fixed part is read by hand, because it comes with every message.
        let Some((fixed, _)) = payload.split_first_chunk::<CONTENT_HEADER_LEN>() else {
            return Err(Refusal::Syntax(amqp_codec::Error::Truncated {
                what: "content header",
                needed: CONTENT_HEADER_LEN,
                left: payload.len(),
            }));
        };
        let &[k1, k0, _, _, size @ ..] = fixed;
        if [k1, k0] != [0, 60] {
            let class = u16::from_be_bytes([k1, k0]);
            let text = format!("expected content header for class 60, got one for class {class} instead");
            return Err(Refusal::UnexpectedFrame(text.into()));
        }
        let size = u64::from_be_bytes(size);
        // As in RabbitMQ, an excessive body is refused when it is complete. None of it is stored.
        if size > limit {
            let refusal = Box::new(Refusal::MessageTooLarge { size, limit });
            self.stage = Stage::Excess { left: size, refusal };
            return Ok(false);
        }
        if size > memory {
            self.stage = Stage::Idle;
            return Err(Refusal::TooMuchUnpublished { limit: memory });
        }
        self.draft.header(payload);
        self.stage = match size {
            0 => Stage::Idle,
            _ if size <= SMALL_BODY as u64 => Stage::Small { left: size as usize },
            left => Stage::Large { left, came: 0, parts: Vec::new(), gathered: BytesMut::new() },
        };
        Ok(size == 0)
    }

    /// Takes a part of the body. Returns whether the content is complete.
    #[inline]
    pub(crate) fn body(&mut self, part: Part<'_>) -> Result<bool, Refusal> {
        match &mut self.stage {
            Stage::Small { left } => {
                let part = part.as_slice();
                *left = left.checked_sub(part.len()).ok_or(BODY_EXPECTED)?;
                self.draft.small(part);
                if *left > 0 {
                    return Ok(false);
                }
            }
            Stage::Large { left, came, parts, gathered } => {
                let len = part.as_slice().len() as u64;
                *left = left.checked_sub(len).ok_or(BODY_EXPECTED)?;
                *came += len;
                match part {
                    Part::Shared(part) => {
                        push_gathered(parts, gathered);
                        parts.push(part);
                    }
                    Part::Borrowed(part) => gathered.extend_from_slice(part),
                }
                if *left > 0 {
                    return Ok(false);
                }
                push_gathered(parts, gathered);
                self.draft.large(std::mem::take(parts));
            }
            Stage::Excess { left, refusal } => {
                let len = part.as_slice().len() as u64;
                *left = left.checked_sub(len).ok_or(BODY_EXPECTED)?;
                if *left > 0 {
                    return Ok(false);
                }
                let refusal = (**refusal).clone();
                self.stage = Stage::Idle;
                return Err(refusal);
            }
            Stage::Idle => return Err(METHOD_EXPECTED),
            Stage::Header => return Err(HEADER_EXPECTED),
        }
        self.stage = Stage::Idle;
        Ok(true)
    }
}

fn push_gathered(parts: &mut Vec<Bytes>, gathered: &mut BytesMut) {
    if !gathered.is_empty() {
        parts.push(std::mem::take(gathered).freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: Publish<'_> =
        Publish { exchange: b"", routing_key: b"q", mandatory: false, immediate: false };

    fn header(size: u64) -> Vec<u8> {
        [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat()
    }

    #[test]
    fn a_large_body_of_mixed_parts_is_kept_in_order() {
        let mut incoming = Incoming::default();
        incoming.publish(&PUBLISH).unwrap();
        assert!(!incoming.header(&header(40_006), u64::MAX, u64::MAX).unwrap());
        assert!(!incoming.body(Part::Borrowed(b"abc")).unwrap());
        assert!(!incoming.body(Part::Shared(vec![b'x'; 40_000].into())).unwrap());
        assert!(!incoming.body(Part::Borrowed(b"d")).unwrap());
        assert!(incoming.body(Part::Borrowed(b"ef")).unwrap());
        let body = incoming.draft.parts().large.concat();
        assert!(body.starts_with(b"abcx") && body.ends_with(b"xdef") && body.len() == 40_006);
        assert!(incoming.expect_method().is_ok());
    }

    #[test]
    fn more_body_than_announced_is_refused() {
        let mut incoming = Incoming::default();
        incoming.publish(&PUBLISH).unwrap();
        incoming.header(&header(2), u64::MAX, u64::MAX).unwrap();
        assert_eq!(incoming.body(Part::Borrowed(b"abc")), Err(BODY_EXPECTED));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_at_its_end_and_not_stored() {
        let mut incoming = Incoming::default();
        incoming.publish(&PUBLISH).unwrap();
        let before = incoming.weight();
        assert_eq!(incoming.header(&header(11), 10, u64::MAX), Ok(false));
        assert_eq!(incoming.expect_method(), Err(BODY_EXPECTED));
        assert_eq!(incoming.body(Part::Borrowed(b"0123456789")), Ok(false));
        assert_eq!(incoming.weight(), before);
        let error = incoming.body(Part::Borrowed(b"0")).unwrap_err();
        assert_eq!(error, Refusal::MessageTooLarge { size: 11, limit: 10 });
        assert!(incoming.expect_method().is_ok());
    }
}
