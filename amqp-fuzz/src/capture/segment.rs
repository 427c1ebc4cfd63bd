//! The TCP segment in a packet.

use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

/// A segment of TCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) sequence: u32,
    pub(super) is_syn: bool,
    pub(super) is_ack: bool,
    pub(super) is_fin: bool,
    pub(super) is_reset: bool,
    pub(super) payload: &'a [u8],
}

/// That a link type is not known.
#[derive(Debug)]
pub(super) struct UnknownLink;

/// Finds the segment of a packet; `None` for what is no whole TCP.
///
/// # Errors
/// A link type whose headers are not known here.
pub(super) fn segment(link_type: i32, data: &[u8]) -> Result<Option<Segment<'_>>, UnknownLink> {
    /// The header of the Linux cooked capture, and where in it the protocol is.
    const COOKED: (usize, usize) = (16, 14);
    const COOKED_2: (usize, usize) = (20, 0);
    let cooked = |(length, place): (usize, usize)| {
        let protocol = data.get(place..)?.first_chunk::<2>()?;
        let protocol = EtherType(u16::from_be_bytes(*protocol));
        Some(LaxSlicedPacket::from_ether_type(protocol, data.get(length..)?))
    };
    // https://www.tcpdump.org/linktypes.html
    let packet = match link_type {
        1 => LaxSlicedPacket::from_ethernet(data).ok(),
        // Four octets of the family, in whichever order, come before IP.
        0 | 108 => data.get(4..).and_then(|data| LaxSlicedPacket::from_ip(data).ok()),
        12 | 14 | 101 | 228 | 229 => LaxSlicedPacket::from_ip(data).ok(),
        113 => cooked(COOKED),
        276 => cooked(COOKED_2),
        _ => return Err(UnknownLink),
    };
    Ok(packet.and_then(|packet| of_packet(&packet)))
}

fn of_packet<'a>(packet: &LaxSlicedPacket<'a>) -> Option<Segment<'a>> {
    let (source, destination): (IpAddr, IpAddr) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
    Some(Segment {
        source: SocketAddr::new(source, tcp.source_port()),
        destination: SocketAddr::new(destination, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        is_syn: tcp.syn(),
        is_ack: tcp.ack(),
        is_fin: tcp.fin(),
        is_reset: tcp.rst(),
        payload: tcp.payload(),
    })
}
