//! The adapter to `tokio_util::codec`: it decodes and encodes whole frames.

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    error::Error,
    frame::{Frame, RawFrame},
};

/// Decodes and encodes frames, with the frame_max in force.
///
/// The protocol header that opens a connection is not a frame; exchange it before using this codec.
#[derive(Clone, Copy, Debug)]
pub struct FrameCodec {
    frame_max: usize,
}

impl FrameCodec {
    /// Creates a codec for frames of at most `frame_max` bytes in either direction. RabbitMQ's
    /// default is 131072.
    pub fn new(frame_max: usize) -> Self {
        FrameCodec { frame_max }
    }

    /// Sets the largest frame, once both sides have agreed on it in `connection.tune`.
    pub fn set_frame_max(&mut self, frame_max: usize) {
        self.frame_max = frame_max;
    }
}

/// A frame could not be read or written, or the transport failed.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not AMQP.
    #[error(transparent)]
    Protocol(#[from] Error),
    /// The transport failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        Ok(match RawFrame::split_from(buffer, self.frame_max)? {
            Some(raw) => Some(raw.decode()?),
            None => None,
        })
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = CodecError;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), CodecError> {
        Ok(frame.encode(self.frame_max, out)?)
    }
}

/// Writes an undecoded frame unchanged.
impl Encoder<RawFrame> for FrameCodec {
    type Error = CodecError;

    fn encode(&mut self, frame: RawFrame, out: &mut BytesMut) -> Result<(), CodecError> {
        Ok(frame.encode(self.frame_max, out)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::confirm;

    #[test]
    fn an_error_is_what_it_is_of_and_no_cause_besides() {
        let cause = std::io::Error::other("the cause");
        assert_eq!(crate::Report(&CodecError::Io(cause)).to_string(), "the cause");
        let protocol = CodecError::Protocol(Error::ChannelNotOpen);
        assert_eq!(crate::Report(&protocol).to_string(), Error::ChannelNotOpen.to_string());
    }

    #[test]
    fn frames_come_out_as_they_went_in_byte_by_byte() {
        let mut codec = FrameCodec::new(4096);
        let frames = [Frame::Method(1, confirm::SelectOk {}.into()), Frame::Heartbeat(0)];
        let mut bytes = BytesMut::new();
        for frame in &frames {
            codec.encode(frame.clone(), &mut bytes).unwrap();
        }
        let mut arrived = BytesMut::new();
        let mut decoded = Vec::new();
        for byte in bytes {
            arrived.extend_from_slice(&[byte]);
            decoded.extend(codec.decode(&mut arrived).unwrap());
        }
        assert_eq!(decoded, frames);
    }
}
