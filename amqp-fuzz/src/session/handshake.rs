//! The client's side of the handshake (spec section 2.2.4).

use amqp_codec::{Frame, Method, Table, Tune, frame::PROTOCOL_HEADER, method::connection, sasl};
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::acts::declaring::put;
use crate::client::{options::SessionOptions, state::State};
use crate::{pools::text, wire_frame::WireFrame};

/// What a client answers in the handshake.
pub(crate) fn answer(state: &mut State, method: &connection::Method) -> Option<Method> {
    match method {
        connection::Method::Start(_) => Some(start_ok(&state.options).into()),
        // A mechanism with a challenge has the password as its second response.
        connection::Method::Secure(_) => {
            Some(connection::SecureOk { response: state.options.password.as_str().into() }.into())
        }
        connection::Method::Tune(offer) => Some(tune_ok(state, offer).into()),
        _ => None,
    }
}

/// All that a client sends to open a connection, without waiting for the broker. It is valid where
/// the broker offers no less than is asked for.
pub(crate) fn ahead(options: &SessionOptions) -> Bytes {
    let limits = connection::TuneOk { channel_max: 0x7ff, frame_max: options.frame_max, heartbeat: 0 };
    let mut octets = BytesMut::from(&PROTOCOL_HEADER[..]);
    let methods: [Method; 3] = [start_ok(options).into(), limits.into(), open(options).into()];
    for method in methods {
        WireFrame::of(&Frame::Method(0, method)).put(&mut octets);
    }
    octets.freeze()
}

pub(crate) fn open(options: &SessionOptions) -> connection::Open {
    connection::Open { virtual_host: text(&options.virtual_host), ..Default::default() }
}

fn start_ok(options: &SessionOptions) -> connection::StartOk {
    let mut capabilities = Table::new();
    for name in ["basic.nack", "connection.blocked", "consumer_cancel_notify", "publisher_confirms"] {
        put(&mut capabilities, name, true);
    }
    let mut client_properties = Table::new();
    put(&mut client_properties, "product", "amqp-fuzz");
    put(&mut client_properties, "capabilities", capabilities);
    connection::StartOk {
        client_properties,
        mechanism: text(sasl::PLAIN),
        response: sasl::plain(&options.user, &options.password),
        locale: text("en_US"),
    }
}

fn tune_ok(state: &mut State, offer: &connection::Tune) -> connection::TuneOk {
    let &connection::Tune { channel_max, frame_max, heartbeat } = offer;
    let offer = Tune { channel_max, frame_max, heartbeat };
    let wish = Tune { channel_max: 0, frame_max: state.options.frame_max, heartbeat: 0 };
    let Tune { channel_max, frame_max, heartbeat } = wish.answer(offer).unwrap_or(wish);
    state.frame_max = frame_max as usize;
    if channel_max > 0 {
        state.channel_max = channel_max;
    }
    connection::TuneOk { channel_max, frame_max, heartbeat }
}

/// The first octets of a connection.
pub(crate) fn header() -> Bytes {
    let mut octets = BytesMut::new();
    octets.put_slice(&PROTOCOL_HEADER);
    octets.freeze()
}
