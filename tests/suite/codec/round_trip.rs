//! Every value that is written is read back the same, however its bytes arrive.

use amqp_codec::{
    EncodedProperties, Frame, Method, MethodId, RawFrame, Table, Value,
    borrowed::{Deliver, Publish},
    codec::FrameCodec,
    method::basic,
};
use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*, sample::Index};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::{
    arbitrary,
    reference::{sample_entries, sample_payload, sample_table},
};

const FRAME_MAX: usize = 131_072;

proptest! {
    #[test]
    fn a_method_of_any_arguments_is_written_as_it_was_read((id, payload) in arbitrary::payload()) {
        let method = Method::decode(&payload).unwrap();
        prop_assert_eq!(method.id(), id);
        prop_assert_eq!(encoded(&method), payload);
    }

    #[test]
    fn properties_of_any_kind_are_read_as_they_were_written(properties in arbitrary::properties()) {
        let encoded = properties.encode().unwrap();
        prop_assert_eq!(&encoded.decode().unwrap(), &properties);
        let copied = EncodedProperties::from_encoded(Bytes::copy_from_slice(encoded.as_encoded()));
        prop_assert_eq!(copied.decode().unwrap().encode().unwrap(), encoded);
    }

    #[test]
    fn a_table_has_its_entries_in_order_and_keeps_its_bytes(entries in arbitrary::entries()) {
        let table = arbitrary::table_of(entries.clone());
        let read: Vec<_> = table.iter().map(|(key, value)| (key.to_string(), value)).collect();
        prop_assert_eq!(&read, &entries);
        prop_assert_eq!(Table::from_encoded(table.as_encoded().clone()).unwrap(), table);
    }

    #[test]
    fn a_table_finds_the_first_and_removes_all_of_a_name(
        entries in vec(("[ab]{0,2}", arbitrary::value()), 1..8),
        chosen in any::<Index>(),
        other in arbitrary::value(),
    ) {
        let key = chosen.get(&entries).0.clone();
        let mut table = arbitrary::table_of(entries.clone());
        let first = entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        prop_assert_eq!(table.get(&key), first);

        let mut kept: Vec<_> = entries.into_iter().filter(|(name, _)| *name != key).collect();
        let mut without = table.clone();
        prop_assert!(without.remove(&key));
        prop_assert_eq!(&without, &arbitrary::table_of(kept.clone()));

        table.insert(&key, other.clone()).unwrap();
        kept.push((key, other));
        prop_assert_eq!(table, arbitrary::table_of(kept));
    }

    #[test]
    fn frames_cut_anywhere_come_out_whole(
        frames in vec(arbitrary::frame(), 1..6),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let stream = stream_of(&frames);
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        prop_assert_eq!(split_in_parts(&stream, &ends), frames.clone());
        prop_assert_eq!(decoded_in_parts(&stream, &ends), frames);
    }

    #[test]
    fn a_publish_reads_the_same_borrowed(payload in arbitrary::payload_of(id_of::<basic::Publish>())) {
        let owned = basic::Publish::try_from(Method::decode(&payload).unwrap()).unwrap();
        let borrowed = Publish::decode(&payload).unwrap().unwrap();
        prop_assert_eq!(borrowed.exchange, owned.exchange.as_bytes());
        prop_assert_eq!(borrowed.routing_key, owned.routing_key.as_bytes());
        prop_assert_eq!((borrowed.mandatory, borrowed.immediate), (owned.mandatory, owned.immediate));
    }

    #[test]
    fn a_deliver_reads_the_same_borrowed(payload in arbitrary::payload_of(id_of::<basic::Deliver>())) {
        let owned = basic::Deliver::try_from(Method::decode(&payload).unwrap()).unwrap();
        let borrowed = Deliver::decode(&payload).unwrap().unwrap();
        prop_assert_eq!(borrowed.consumer_tag, owned.consumer_tag.as_bytes());
        prop_assert_eq!(borrowed.exchange, owned.exchange.as_bytes());
        prop_assert_eq!(borrowed.routing_key, owned.routing_key.as_bytes());
        prop_assert_eq!((borrowed.delivery_tag, borrowed.redelivered), (owned.delivery_tag, owned.redelivered));
    }
}

#[test]
fn every_method_is_written_as_it_was_read() {
    for &id in MethodId::ALL {
        let payload = sample_payload(id);
        let method = Method::decode(&payload).unwrap();
        assert_eq!(method.id(), id);
        assert_eq!(Some(method.name()), id.name());
        assert_eq!(encoded(&method), payload, "{}", method.name());
    }
}

#[test]
fn frames_cut_at_every_byte_come_out_whole() {
    let frames: Vec<_> = MethodId::ALL
        .iter()
        .map(|&id| Frame::Method(id.class_id, Method::decode(&sample_payload(id)).unwrap()))
        .collect();
    let stream = stream_of(&frames);
    for cut in 0..=stream.len() {
        assert_eq!(split_in_parts(&stream, &[cut, stream.len()]), frames, "cut at {cut}");
    }
    let every: Vec<_> = (0..=stream.len()).collect();
    assert_eq!(split_in_parts(&stream, &every), frames);
    assert_eq!(decoded_in_parts(&stream, &every), frames);
}

#[test]
fn every_type_of_value_has_its_bytes() {
    let table = sample_table();
    let mut written = Table::new();
    for ((name, read), (key, _, value)) in table.iter().zip(sample_entries()) {
        assert_eq!((name.to_string(), &read), (key.to_owned(), &value));
        assert_eq!(table.get(key).as_ref(), Some(&value));
        written.push(key, value).unwrap();
    }
    assert_eq!(table.iter().count(), sample_entries().len());
    assert_eq!(written, table);
}

#[test]
fn a_nan_keeps_its_bits() {
    for bits in [0x7ff8_0000_0000_0001u64, 0xfff8_dead_beef_0000, 0x7ff0_0000_0000_0001] {
        let mut table = Table::new();
        table.push("nan", f64::from_bits(bits)).unwrap();
        let Some(Value::F64(read)) = table.get("nan") else { panic!("not a double") };
        assert_eq!(read.to_bits(), bits);
    }
}

fn id_of<A: amqp_codec::Arguments>() -> MethodId {
    A::ID
}

fn encoded(method: &Method) -> Bytes {
    let mut out = BytesMut::new();
    method.encode(&mut out).unwrap();
    out.freeze()
}

fn stream_of(frames: &[Frame]) -> BytesMut {
    let mut stream = BytesMut::new();
    for frame in frames {
        FrameCodec::new(FRAME_MAX).encode(frame.clone(), &mut stream).unwrap();
    }
    stream
}

/// All frames of `stream` when its bytes arrive in parts that end at each of `ends`.
fn split_in_parts(stream: &[u8], ends: &[usize]) -> Vec<Frame> {
    in_parts(stream, ends, |buffer| Some(RawFrame::split_from(buffer, FRAME_MAX).unwrap()?.decode().unwrap()))
}

fn decoded_in_parts(stream: &[u8], ends: &[usize]) -> Vec<Frame> {
    let mut codec = FrameCodec::new(FRAME_MAX);
    in_parts(stream, ends, |buffer| codec.decode(buffer).unwrap())
}

fn in_parts(
    stream: &[u8],
    ends: &[usize],
    mut next: impl FnMut(&mut BytesMut) -> Option<Frame>,
) -> Vec<Frame> {
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    let mut arrived = 0;
    for &end in ends {
        buffer.extend_from_slice(&stream[arrived..end]);
        arrived = end;
        frames.extend(std::iter::from_fn(|| next(&mut buffer)));
    }
    assert!(buffer.is_empty(), "{} bytes left over", buffer.len());
    frames
}
