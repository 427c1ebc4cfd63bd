//! The data that all codecs read and write.

use amqp_codec::{
    EncodedProperties, PERSISTENT, Properties, ShortString, Table, Value,
    frame::encode_content,
    method::basic::{Deliver, Publish},
};
use bytes::{Bytes, BytesMut};

/// RabbitMQ's default.
pub const FRAME_MAX: usize = 131_072;
/// The channel of all frames.
pub const CHANNEL: u16 = 1;
/// The exchange of the publish and of the delivery.
pub const EXCHANGE: &str = "events";
/// The routing key of the publish and of the delivery.
pub const ROUTING_KEY: &str = "job.run";
/// The content type of the publish and of the delivery.
pub const CONTENT_TYPE: &str = "application/json";
/// A tag as RabbitMQ generates them.
pub const CONSUMER_TAG: &str = "amq.ctag-9LHEiuCLNrnO4kcLGb7_Hg";
/// The tag of the delivery.
pub const DELIVERY_TAG: u64 = 1_234_567;
/// A body of 16 bytes.
pub const BODY: &[u8] = b"{\"id\":123456789}";

/// The properties of the publish and of the delivery.
pub fn properties() -> Properties {
    Properties {
        content_type: Some(ShortString::from_static(CONTENT_TYPE)),
        delivery_mode: Some(PERSISTENT),
        ..Default::default()
    }
}

/// One publish as its frames.
pub fn publish() -> Bytes {
    let publish = Publish {
        exchange: ShortString::from_static(EXCHANGE),
        routing_key: ShortString::from_static(ROUTING_KEY),
        ..Default::default()
    };
    let mut out = BytesMut::new();
    encode_content(CHANNEL, &publish, &encoded(), BODY, FRAME_MAX, u64::MAX, &mut out).expect("it fits");
    out.freeze()
}

/// One delivery of `body` as its frames.
pub fn delivery(body: &[u8], frame_max: usize) -> Bytes {
    let deliver = Deliver {
        consumer_tag: ShortString::from_static(CONSUMER_TAG),
        delivery_tag: DELIVERY_TAG,
        redelivered: false,
        exchange: ShortString::from_static(EXCHANGE),
        routing_key: ShortString::from_static(ROUTING_KEY),
    };
    let mut out = BytesMut::new();
    encode_content(CHANNEL, &deliver, &encoded(), body, frame_max, u64::MAX, &mut out).expect("it fits");
    out.freeze()
}

fn encoded() -> EncodedProperties {
    properties().encode().expect("it fits")
}

/// 20 headers like an application's: half of them text, the rest numbers, flags and a time.
pub fn headers() -> Table {
    let mut headers = Table::new();
    for number in 0..20i32 {
        let value: Value = match number % 6 {
            0 => "a value of some length".into(),
            1 => number.into(),
            2 => format!("value-{number}").into(),
            3 => (number % 2 == 0).into(),
            4 => "eu-central-1".into(),
            _ => Value::Timestamp(1_700_000_000),
        };
        headers.push(&format!("x-header-{number:02}"), value).expect("it is short");
    }
    headers
}

/// [`headers`] as a content header has them: their length, then the entries.
pub fn encoded_headers() -> Bytes {
    let headers = headers();
    let mut out = BytesMut::new();
    out.extend_from_slice(&(headers.as_encoded().len() as u32).to_be_bytes());
    out.extend_from_slice(headers.as_encoded());
    out.freeze()
}
