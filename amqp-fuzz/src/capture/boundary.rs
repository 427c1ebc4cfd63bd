//! Where in a stream a frame begins.

use amqp_codec::{FrameKind, frame::FRAME_END};
use bytes::Bytes;

use crate::wire_frame::WireFrame;

const HEADER: usize = amqp_codec::frame::HEADER_LEN;

/// The verdict on octets that may be the beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    /// They are.
    Here,
    /// They are not.
    Not,
    /// More octets tell.
    Unknown,
}

/// The header of a frame that may be one: its type and its size.
pub(super) fn head(octets: &[u8], largest: usize) -> Result<(FrameKind, usize), Boundary> {
    let Some(&[kind, _, _, s3, s2, s1, s0]) = octets.first_chunk::<HEADER>() else {
        let is_kind = octets.first().is_none_or(|kind| FrameKind::from_octet(*kind).is_ok());
        return Err(if is_kind { Boundary::Unknown } else { Boundary::Not });
    };
    let size = u32::from_be_bytes([s3, s2, s1, s0]) as usize;
    match FrameKind::from_octet(kind) {
        Ok(kind) if size <= largest => Ok((kind, size)),
        _ => Err(Boundary::Not),
    }
}

/// Tells whether a frame begins here. A part of a body may be any octets, so that another frame
/// has to follow it.
pub(super) fn boundary(octets: &Bytes, largest: usize) -> Boundary {
    let (kind, size) = match head(octets, largest) {
        Ok(head) => head,
        Err(verdict) => return verdict,
    };
    let after = HEADER + size + 1;
    match octets.get(after - 1) {
        Some(&FRAME_END) => {}
        Some(_) => return Boundary::Not,
        None => return Boundary::Unknown,
    }
    if kind != FrameKind::Body {
        let frame = WireFrame::cut(&mut octets.clone()).and_then(|frame| frame.frame());
        return if frame.is_some() { Boundary::Here } else { Boundary::Not };
    }
    let follows = octets.get(after..).unwrap_or_default();
    match head(follows, largest) {
        Ok((_, size)) => match follows.get(HEADER + size) {
            Some(&FRAME_END) => Boundary::Here,
            Some(_) => Boundary::Not,
            None => Boundary::Unknown,
        },
        Err(verdict) => verdict,
    }
}
