//! Captures that are written here, and read.

use std::time::Duration;

use amqp_codec::Frame;
use bytes::BytesMut;
use etherparse::PacketBuilder;
use proptest::prelude::*;

use crate::{
    CaptureError, CaptureOptions, Captured, Choices, End, Item, Speaker, Told, WireFrame, octets,
    read_capture, valid_frames,
};

const CLIENT: u16 = 40_000;
const SERVER: u16 = 5672;

/// A packet over Ethernet and IPv4.
fn packet(from: u16, to: u16, sequence: u32, flags: &str, payload: &[u8]) -> Vec<u8> {
    let mut builder = PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64)
        .tcp(from, to, sequence, 1000);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(1),
            'F' => builder.fin(),
            _ => builder.rst(),
        };
    }
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (number, packet) in packets.iter().enumerate() {
        let length = packet.len() as u32;
        for word in [7, number as u32, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

fn pcapng(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let length = (body.len().next_multiple_of(4) + 12) as u32;
        file.extend([kind, length].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(body);
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend(length.to_le_bytes());
    };
    block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    block(1, &[1, 0, 0, 0, 0, 0, 0, 0]);
    for packet in packets {
        let length = packet.len() as u32;
        let mut body: Vec<u8> =
            [0, 0, 1_000_000, length, length].iter().flat_map(|w: &u32| w.to_le_bytes()).collect();
        body.extend(packet);
        block(6, &body);
    }
    file
}

fn read(file: &[u8], options: CaptureOptions) -> (Vec<Captured>, Result<(), CaptureError>) {
    let mut all = Vec::new();
    let read = read_capture(file, options, |captured| {
        all.push(captured);
        Ok(())
    });
    (all, read)
}

/// The octets of one side.
fn stream(captured: &[Captured], connection: u64, speaker: Speaker) -> BytesMut {
    let mut stream = BytesMut::new();
    for captured in captured.iter().filter(|it| it.connection == connection && it.speaker == speaker) {
        if let Told::Item(item) = &captured.told {
            item.put(&mut stream);
        }
    }
    stream
}

fn remarks(captured: &[Captured]) -> Vec<Told> {
    captured.iter().map(|it| it.told.clone()).filter(|told| !matches!(told, Told::Item(_))).collect()
}

fn frames(seed: u64) -> BytesMut {
    let frames = valid_frames(&mut Choices::from_seed(seed), Default::default(), 20);
    octets(&frames.iter().map(WireFrame::of).collect::<Vec<_>>())
}

fn session(client: u16, stream: &[u8], answer: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = vec![
        packet(client, SERVER, 99, "S", b""),
        packet(SERVER, client, u32::MAX - 2, "SA", b""),
        packet(client, SERVER, 100, "A", b"AMQP\0\0\x09\x01"),
    ];
    for (number, part) in stream.chunks(50).enumerate() {
        packets.push(packet(client, SERVER, 108 + 50 * number as u32, "A", part));
    }
    packets.push(packet(SERVER, client, u32::MAX - 1, "A", answer));
    packets.push(packet(client, SERVER, 108 + stream.len() as u32, "FA", b""));
    packets.push(packet(SERVER, client, (u32::MAX - 1).wrapping_add(answer.len() as u32), "FA", b""));
    packets
}

#[test]
fn both_sides_of_several_connections_are_read_from_both_formats() {
    let answer = WireFrame::of(&Frame::Heartbeat(0));
    let answer = octets([&answer]);
    let packets: Vec<_> = session(CLIENT, &frames(1), &answer)
        .into_iter()
        .zip(session(CLIENT + 1, &frames(1), &answer))
        .flat_map(<[_; 2]>::from)
        .collect();
    for file in [pcap(&packets), pcapng(&packets)] {
        let (captured, ended) = read(&file, CaptureOptions::default());
        ended.unwrap();
        for connection in [1, 2] {
            let sent = stream(&captured, connection, Speaker::Client);
            assert_eq!(&sent[..8], b"AMQP\0\0\x09\x01");
            assert_eq!(sent[8..], frames(1)[..]);
            assert_eq!(stream(&captured, connection, Speaker::Server), answer);
        }
        let ends = remarks(&captured).iter().filter(|told| **told == Told::Ended(End::Closed)).count();
        assert_eq!((ends, remarks(&captured).len()), (2, 4));
        assert!(captured.iter().all(|it| it.time.is_some_and(|time| time > Duration::ZERO)));
    }
    let other = CaptureOptions { ports: vec![5673], ..CaptureOptions::default() };
    assert_eq!(read(&pcap(&packets), other).0, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn packets_in_any_order_and_twice_are_the_same_session(seed: u64, order: u64) {
        let mut packets = session(CLIENT, &frames(seed), b"");
        let mut choices = Choices::from_seed(order);
        let end = packets.len() - 3;
        for at in (4..end).rev() {
            packets.swap(at, choices.below(at - 2) + 3);
            let again = packets[at].clone();
            packets.insert(choices.below(at - 2) + 3, again);
        }
        let (captured, ended) = read(&pcap(&packets), CaptureOptions::default());
        ended.unwrap();
        prop_assert_eq!(&stream(&captured, 1, Speaker::Client)[8..], &frames(seed)[..]);
        prop_assert_eq!(remarks(&captured).len(), 2);
    }

    #[test]
    fn damage_anywhere_is_an_error_or_read(seed: u64, at in 0usize..4000, octet: u8, cut in 0usize..4000) {
        for mut file in [pcap(&session(CLIENT, &frames(seed), b"")), pcapng(&session(CLIENT, &frames(seed), b""))] {
            let length = file.len();
            file[at % length] = octet;
            file.truncate(length - cut % length);
            let _ = read(&file, CaptureOptions::default());
        }
    }
}

#[test]
fn a_start_in_mid_stream_and_a_gap_are_told_and_frames_found_again() {
    let heartbeat = octets([&WireFrame::of(&Frame::Heartbeat(0))]);
    let packets = [
        packet(CLIENT, SERVER, 10, "A", b"end of a body\xce"),
        packet(CLIENT, SERVER, 24, "A", &heartbeat),
        packet(CLIENT, SERVER, 40, "A", b"half\xce"),
        packet(CLIENT, SERVER, 45, "A", &heartbeat),
        packet(CLIENT, SERVER, 53, "R", b""),
    ];
    let (captured, ended) = read(&pcap(&packets), CaptureOptions::default());
    ended.unwrap();
    let remarks = remarks(&captured);
    assert!(matches!(remarks[0], Told::Begun { is_whole: false, .. }));
    assert_eq!(
        remarks[1..],
        [Told::InStep { skipped: 14 }, Told::Gap(8), Told::InStep { skipped: 5 }, Told::Ended(End::Reset)]
    );
    let frame = Told::Item(Item::Frame(Frame::Heartbeat(0)));
    assert_eq!(captured.iter().filter(|it| it.told == frame).count(), 2);
}

#[test]
fn the_capture_s_damage_has_a_place() {
    let file = pcap(&session(CLIENT, b"", b""));
    let cut = read(&file[..file.len() - 5], CaptureOptions::default()).1.unwrap_err();
    assert!(matches!(cut, CaptureError::Truncated { packets: 5, .. }), "{cut}");
    assert!(matches!(read(b"GET / HTTP", CaptureOptions::default()).1, Err(CaptureError::Unknown)));
    let mut other = file.clone();
    other[20] = 147;
    let unknown = read(&other, CaptureOptions::default()).1.unwrap_err();
    assert!(matches!(unknown, CaptureError::LinkType { packet: 1, link_type: 147 }), "{unknown}");
}

#[test]
fn a_source_that_fails_is_told_with_its_reason() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the tape is torn"))
        }
    }
    let file = pcap(&session(CLIENT, b"", b""));
    for source in [&b""[..], &file] {
        let source = std::io::Read::chain(source, Broken);
        let read = read_capture(source, CaptureOptions::default(), |_| Ok(()));
        assert!(matches!(read, Err(CaptureError::Read(error)) if error.to_string() == "the tape is torn"));
    }
}

#[test]
fn what_is_held_is_bounded_and_the_silent_are_forgotten() {
    let options = CaptureOptions { connections: 2, ..CaptureOptions::default() };
    let packets: Vec<_> = (0..4).map(|n| packet(CLIENT + n, SERVER, 5, "S", b"")).collect();
    let (captured, ended) = read(&pcap(&packets), options);
    ended.unwrap();
    let forgotten: Vec<_> =
        captured.iter().filter(|it| it.told == Told::Ended(End::Forgotten)).map(|it| it.connection).collect();
    assert_eq!(forgotten, [1, 2]);
}
