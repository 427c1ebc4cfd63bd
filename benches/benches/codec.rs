//! Compares amqp-codec with amq-protocol and amqp_serde, on the same bytes in one run.

use amqp_codec::PropertyList;
use benches::codec::{amq_protocol, amqp_serde, ours, sample};
use bytes::{Bytes, BytesMut};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Encodes method, header with content-type and delivery-mode, and 16 bytes of body, into a buffer
/// with enough capacity.
mod encode_publish {
    use super::*;

    /// The properties are encoded beforehand, as for a message that is sent repeatedly.
    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amqp_codec(bencher: Bencher) {
        encode(bencher, &ours::properties().encode().expect("it fits"));
    }

    /// The properties are encoded each time.
    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amqp_codec_properties(bencher: Bencher) {
        encode(bencher, &ours::properties());
    }

    fn encode(bencher: Bencher, properties: &impl PropertyList) {
        let mut out = BytesMut::with_capacity(4096);
        bencher.bench_local(|| {
            out.clear();
            ours::encode(black_box(properties), &mut out);
            black_box(out.len())
        });
    }

    /// The publish is encoded as any method with content.
    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amqp_codec_any_method(bencher: Bencher) {
        let publish = ours::publish();
        let mut out = BytesMut::with_capacity(4096);
        bencher.bench_local(|| {
            out.clear();
            ours::encode_method(black_box(&publish), &mut out);
            black_box(out.len())
        });
    }

    /// The frames are built beforehand.
    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amq_protocol(bencher: Bencher) {
        let frames = amq_protocol::publish();
        let mut out = Some(Vec::with_capacity(4096));
        bencher.bench_local(|| {
            let mut buffer = out.take().unwrap_or_default();
            buffer.clear();
            let buffer = amq_protocol::encode(black_box(&frames), buffer);
            let length = buffer.len();
            out = Some(buffer);
            black_box(length)
        });
    }

    /// The frames are built each time, from names, properties and body as a caller has them.
    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amq_protocol_built(bencher: Bencher) {
        let mut out = Some(Vec::with_capacity(4096));
        bencher.bench_local(|| {
            let mut buffer = out.take().unwrap_or_default();
            buffer.clear();
            let buffer = amq_protocol::encode(&black_box(amq_protocol::publish()), buffer);
            let length = buffer.len();
            out = Some(buffer);
            black_box(length)
        });
    }

    /// The frames are built beforehand.
    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amqp_serde(bencher: Bencher) {
        let publish = amqp_serde::publish();
        let mut out = BytesMut::with_capacity(4096);
        bencher.bench_local(|| {
            out.clear();
            amqp_serde::encode(black_box(&publish), &mut out);
            black_box(out.len())
        });
    }
}

/// Decodes a thousand deliveries, as one read brings them, each with method, header and 16 bytes of
/// body, to messages that can be kept. One message takes a thousandth of the time shown.
mod decode_1000_deliveries {
    use super::*;

    const COUNT: usize = 1000;

    fn deliveries() -> Bytes {
        sample::delivery(sample::BODY, sample::FRAME_MAX).repeat(COUNT).into()
    }

    /// Decodes by `Frames` and `borrowed::Deliver`, which handle the usual case.
    #[divan::bench(sample_count = 500, sample_size = 1)]
    fn amqp_codec(bencher: Bencher) {
        let deliveries = deliveries();
        bencher.with_inputs(|| BytesMut::from(&deliveries[..])).bench_local_refs(|buffer| {
            for _ in 0..COUNT {
                drop(black_box(ours::decode_delivery(buffer)));
            }
        });
    }

    /// Decodes by `RawFrame`, `Frame` and `Assembler`, which handle every case.
    #[divan::bench(sample_count = 500, sample_size = 1)]
    fn amqp_codec_any_frame(bencher: Bencher) {
        let deliveries = deliveries();
        bencher.with_inputs(|| BytesMut::from(&deliveries[..])).bench_local_refs(|buffer| {
            for _ in 0..COUNT {
                drop(black_box(ours::decode_content(buffer)));
            }
        });
    }

    #[divan::bench(sample_count = 500, sample_size = 1)]
    fn amq_protocol(bencher: Bencher) {
        let deliveries = deliveries();
        bencher.bench_local(|| all(&deliveries, amq_protocol::decode_delivery));
    }

    #[divan::bench(sample_count = 500, sample_size = 1)]
    fn amqp_serde(bencher: Bencher) {
        let deliveries = deliveries();
        bencher.bench_local(|| all(&deliveries, amqp_serde::decode_delivery));
    }

    fn all<M>(mut bytes: &[u8], decode: impl Fn(&[u8]) -> (M, usize)) {
        while !bytes.is_empty() {
            let (message, length) = decode(bytes);
            drop(black_box(message));
            bytes = &bytes[length..];
        }
    }
}

/// Decodes a table of 20 headers, with every key and value.
mod decode_headers {
    use super::*;

    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amqp_codec(bencher: Bencher) {
        let headers = sample::encoded_headers();
        bencher.bench_local(|| {
            ours::decode_headers(black_box(&headers), |entry| {
                black_box(entry);
            })
        });
    }

    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amq_protocol(bencher: Bencher) {
        let headers = sample::encoded_headers();
        bencher.bench_local(|| drop(black_box(amq_protocol::decode_headers(black_box(&headers)))));
    }

    #[divan::bench(sample_count = 500, sample_size = 1000)]
    fn amqp_serde(bencher: Bencher) {
        let headers = sample::encoded_headers();
        bencher.bench_local(|| drop(black_box(amqp_serde::decode_headers(black_box(&headers)))));
    }
}
