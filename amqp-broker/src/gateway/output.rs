//! The frames for one client.

use amqp_codec::{
    Arguments, Error, Properties,
    frame::{HEARTBEAT, encode_content, encode_method},
};
use bytes::{BufMut, Bytes, BytesMut};

/// While this many bytes wait, nothing more is claimed for the client. One message may exceed it.
const ENOUGH: usize = 1 << 20;

/// Encoded frames that are not written yet.
#[derive(Debug)]
pub(crate) struct Output {
    frame_max: usize,
    pub(crate) bytes: BytesMut,
}

impl Output {
    pub(crate) fn new(frame_max: usize) -> Self {
        Output { frame_max, bytes: BytesMut::new() }
    }

    /// Tells whether the client has enough to read.
    pub(crate) fn is_enough(&self) -> bool {
        self.bytes.len() >= ENOUGH
    }

    /// Appends a method. What does not fit into a frame is logged, because no method of a gateway
    /// comes near the smallest frame.
    pub(crate) fn method<A: Arguments>(&mut self, channel: u16, method: &A) {
        if let Err(error) = encode_method(channel, method, self.frame_max, &mut self.bytes) {
            tracing::error!(channel, method = A::NAME, %error, "a method could not be encoded");
        }
    }

    /// Appends a method with its content.
    ///
    /// # Errors
    /// When the properties do not fit into one frame; nothing is appended then.
    pub(crate) fn content<A: Arguments>(
        &mut self,
        channel: u16,
        method: &A,
        properties: &Properties,
        body: &Bytes,
    ) -> Result<(), Error> {
        let properties = properties.encode()?;
        encode_content(channel, method, &properties, body, self.frame_max, u64::MAX, &mut self.bytes)
    }

    /// Appends a heartbeat.
    pub(crate) fn heartbeat(&mut self) {
        self.bytes.put_slice(&HEARTBEAT);
    }
}
