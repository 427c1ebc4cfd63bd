//! What a line of a transcript stands for.

use amqp_codec::Frame;
use bytes::{Bytes, BytesMut};

use crate::wire_frame::WireFrame;

/// One line of a transcript. `Display` shows it, and [`read_line`](crate::read_line) reads that.
///
/// What is secret is shown as `[redacted]`; [`with_secrets`](Item::with_secrets) shows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A frame as the protocol has it.
    Frame(Frame),
    /// A frame of which something is wrong.
    Wire(WireFrame),
    /// Octets that are no frame: a protocol header, or what is left of a stream.
    Octets(Bytes),
}

impl Item {
    /// The items of a stream: frames while there are whole ones, and the octets that are left. A
    /// protocol header at the beginning is octets.
    pub fn of_stream(mut stream: Bytes) -> Vec<Item> {
        const HEADER: usize = amqp_codec::frame::PROTOCOL_HEADER.len();
        let mut items = Vec::new();
        if stream.starts_with(b"AMQP") && stream.len() >= HEADER {
            items.push(Item::Octets(stream.split_to(HEADER)));
        }
        while let Some(frame) = WireFrame::cut(&mut stream) {
            items.push(frame.into());
        }
        if !stream.is_empty() {
            items.push(Item::Octets(stream));
        }
        items
    }

    /// Appends the octets that the item stands for.
    pub fn put(&self, out: &mut BytesMut) {
        match self {
            Item::Frame(frame) => WireFrame::of(frame).put(out),
            Item::Wire(frame) => frame.put(out),
            Item::Octets(octets) => out.extend_from_slice(octets),
        }
    }
}

impl From<WireFrame> for Item {
    fn from(frame: WireFrame) -> Self {
        frame.frame().map_or(Item::Wire(frame), Item::Frame)
    }
}

impl From<Frame> for Item {
    fn from(frame: Frame) -> Self {
        Item::Frame(frame)
    }
}
