//! Frames that are none, octet by octet.

use super::{both::both, peer::Peer};

/// A heartbeat with something in it.
fn beat(channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[8, 0, channel][..], &length, payload, &[0xce]].concat()
}

async fn refused(peer: &mut Peer, octets: &[u8]) -> String {
    peer.raw(octets).await;
    peer.refusal().await
}

both! {
    async fn a_heartbeat_with_a_payload_is_no_frame(broker: &Tested) {
        for channel in [0, 1, 7] {
            let said = refused(&mut broker.open().await, &beat(channel, b"xyz")).await;
            assert_eq!(said, "connection 501 FRAME_ERROR - type 8, all octets = <<\"xyz\">>: unknown_frame");
        }
    }

    async fn of_a_long_frame_the_beginning_is_shown(broker: &Tested) {
        let said = refused(&mut broker.open().await, &beat(0, &[b'x'; 16])).await;
        assert_eq!(said, "connection 501 FRAME_ERROR - type 8, all octets = <<\"xxxxxxxxxxxxxxxx\">>: unknown_frame");
        let said = refused(&mut broker.open().await, &beat(0, &[b'x'; 300])).await;
        assert_eq!(said, "connection 501 FRAME_ERROR - type 8, first 16 octets = <<\"xxxxxxxxxxxxxxxx\">>: unknown_frame");
    }

    async fn a_heartbeat_is_the_connections(broker: &Tested) {
        let said = refused(&mut broker.open().await, &beat(1, b"")).await;
        assert_eq!(said, "connection 505 UNEXPECTED_FRAME - type 8, all octets = <<>>");
        let mut peer = broker.open().await;
        peer.raw(&beat(0, b"")).await;
        peer.settle_down().await;
    }
}
