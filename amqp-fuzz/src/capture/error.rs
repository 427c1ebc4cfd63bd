//! Why a capture cannot be read.

use std::io;

/// Why a capture cannot be read any further, and where. What was read before it is right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The source failed.
    #[error("the capture cannot be read")]
    Read(#[source] io::Error),
    /// The first octets are neither those of pcap nor those of pcapng.
    #[error("it is no capture: it begins neither as pcap nor as pcapng")]
    Unknown,
    /// The capture ends within a block, as one that was cut off.
    #[error("octet {offset}, after packet {packets}: the capture ends within a block")]
    Truncated {
        /// The octet at which the block begins, from 0.
        offset: u64,
        /// The number of packets before it.
        packets: u64,
    },
    /// A block is not what the format allows.
    #[error("octet {offset}, after packet {packets}: the capture is damaged")]
    Damaged {
        /// The octet at which the block begins, from 0.
        offset: u64,
        /// The number of packets before it.
        packets: u64,
    },
    /// A block is larger than any packet is.
    #[error("octet {offset}, after packet {packets}: a block is over {most} bytes")]
    TooLarge {
        /// The octet at which the block begins, from 0.
        offset: u64,
        /// The number of packets before it.
        packets: u64,
        /// The most that is read, in bytes.
        most: usize,
    },
    /// A packet comes from a link whose headers are not known here.
    #[error("packet {packet}: link type {link_type} is not known")]
    LinkType {
        /// The number of the packet, from 1.
        packet: u64,
        /// Its link type (<https://www.tcpdump.org/linktypes.html>).
        link_type: i32,
    },
}
