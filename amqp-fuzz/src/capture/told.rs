//! Items that a capture is told as.

use std::{net::SocketAddr, time::Duration};

use crate::transcript::item::Item;

/// One of the two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// Whoever connected.
    Client,
    /// Whoever listened.
    Server,
}

/// Something that a capture tells about one side of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    /// The number of the connection in this capture, from 1.
    pub connection: u64,
    /// Whose octets these are.
    pub speaker: Speaker,
    /// The number of the packet after which it was clear, from 1.
    pub packet: u64,
    /// The time of that packet since 1970, if the capture has it.
    pub time: Option<Duration>,
    /// The item itself.
    pub told: Told,
}

/// An item of a stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Told {
    /// A connection is seen for the first time.
    Begun {
        /// The client's address.
        client: SocketAddr,
        /// The server's address.
        server: SocketAddr,
        /// Set when the capture has its beginning. Otherwise frames are looked for.
        is_whole: bool,
    },
    /// A frame, or octets that are none.
    Item(Item),
    /// So many octets are not in the capture. What follows is looked through for a frame.
    Gap(u64),
    /// No frame follows here: the next one is looked for. Octets before it are items.
    OutOfStep,
    /// A frame has been found after so many octets.
    InStep {
        /// The number of octets that were no frame.
        skipped: u64,
    },
    /// Nothing more comes of this connection.
    Ended(End),
}

/// The end of a connection in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Both sides closed it.
    Closed,
    /// One side reset it.
    Reset,
    /// Another connection has the same addresses.
    Replaced,
    /// It was the one that was silent longest when there were too many connections, or too much of
    /// them was in memory. If it goes on, it is a connection with another number.
    Forgotten,
    /// The capture ended before it.
    CaptureEnded,
}
