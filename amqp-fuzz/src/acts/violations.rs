//! What a broker must refuse by closing the connection, and with which reply code.

use amqp_codec::{
    Arguments as _, ContentHeader, EncodedProperties, Frame, FrameKind, Method, ReplyCode, ShortString,
    frame::HEARTBEAT,
    method::{basic, channel, connection, exchange, queue},
};
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::client::state::State;
use crate::{choices::Choices, pools::text, wire_frame::WireFrame};

/// A channel that no session opens.
const UNOPENED: u16 = 0x7ff;

/// One breach of the protocol. It is on a channel that is open, where it needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say what is done")]
pub enum Violation {
    WrongFrameEnd,
    UnknownFrameType,
    OversizedFrame,
    HeartbeatWithPayload,
    TruncatedArguments,
    UnknownFieldType,
    DeeplyNestedTable,
    TrailingOctets,
    MethodOfTheServer,
    UnaskedFlowOk,
    UnaskedCancelOk,
    UnknownExchangeType,
    UnopenedChannel,
    OpenedTwice,
    ContentWithoutMethod,
    MethodWithinContent,
    BodyTooLong,
    ConsumerTagReused,
    PrefetchSize,
    RecoverWithoutRequeue,
    FlowOff,
    Immediate,
    UnknownMethod,
    ConnectionOpenedTwice,
}

impl Violation {
    /// Every violation.
    pub const ALL: &[Violation] = &[
        Violation::WrongFrameEnd,
        Violation::UnknownFrameType,
        Violation::OversizedFrame,
        Violation::HeartbeatWithPayload,
        Violation::TruncatedArguments,
        Violation::UnknownFieldType,
        Violation::DeeplyNestedTable,
        Violation::TrailingOctets,
        Violation::MethodOfTheServer,
        Violation::UnaskedFlowOk,
        Violation::UnaskedCancelOk,
        Violation::UnknownExchangeType,
        Violation::UnopenedChannel,
        Violation::OpenedTwice,
        Violation::ContentWithoutMethod,
        Violation::MethodWithinContent,
        Violation::BodyTooLong,
        Violation::ConsumerTagReused,
        Violation::PrefetchSize,
        Violation::RecoverWithoutRequeue,
        Violation::FlowOff,
        Violation::Immediate,
        Violation::UnknownMethod,
        Violation::ConnectionOpenedTwice,
    ];

    /// Returns whether a connection may be closed with this code for it. RabbitMQ answers with 501
    /// to what it cannot decode, where the specification has 502.
    pub fn allows(self, code: ReplyCode) -> bool {
        let is_malformed = |code| matches!(code, ReplyCode::SYNTAX_ERROR | ReplyCode::FRAME_ERROR);
        code == self.code() || (is_malformed(code) && is_malformed(self.code()))
    }

    /// The reply code with which a connection is closed for it by the specification or, where that
    /// leaves it open, by RabbitMQ.
    pub const fn code(self) -> ReplyCode {
        match self {
            Violation::WrongFrameEnd
            | Violation::UnknownFrameType
            | Violation::OversizedFrame
            | Violation::HeartbeatWithPayload => ReplyCode::FRAME_ERROR,
            Violation::TruncatedArguments
            | Violation::UnknownFieldType
            | Violation::DeeplyNestedTable
            | Violation::TrailingOctets => ReplyCode::SYNTAX_ERROR,
            Violation::MethodOfTheServer
            | Violation::UnaskedFlowOk
            | Violation::UnaskedCancelOk
            | Violation::UnknownExchangeType => ReplyCode::COMMAND_INVALID,
            Violation::UnopenedChannel | Violation::OpenedTwice | Violation::ConnectionOpenedTwice => {
                ReplyCode::CHANNEL_ERROR
            }
            Violation::ContentWithoutMethod | Violation::MethodWithinContent | Violation::BodyTooLong => {
                ReplyCode::UNEXPECTED_FRAME
            }
            Violation::ConsumerTagReused => ReplyCode::NOT_ALLOWED,
            Violation::PrefetchSize
            | Violation::RecoverWithoutRequeue
            | Violation::FlowOff
            | Violation::Immediate
            | Violation::UnknownMethod => ReplyCode::NOT_IMPLEMENTED,
        }
    }
}

/// The frames of a violation on an open channel.
pub(crate) fn violate(
    violation: Violation,
    state: &State,
    number: u16,
    choices: &mut Choices<'_>,
) -> Vec<WireFrame> {
    let one = |method: Method| vec![method_on(number, method)];
    let publish = |immediate| Method::from(basic::Publish { immediate, ..Default::default() });
    let header = |body_size| {
        let header = ContentHeader { class_id: 60, body_size, properties: EncodedProperties::NONE };
        WireFrame::of(&Frame::Header(number, header))
    };
    let body = |length: usize| WireFrame::of(&Frame::Body(number, Bytes::from(vec![b'b'; length])));
    match violation {
        Violation::WrongFrameEnd => {
            vec![WireFrame { end: choices.octet() & 0x7f, ..WireFrame::of(&Frame::Heartbeat(0)) }]
        }
        Violation::UnknownFrameType => {
            let kind = choices.pick(&[0, 4, 5, 6, 7, 9, 0xff]).copied().unwrap_or_default();
            vec![WireFrame::new(kind, number, Bytes::new())]
        }
        Violation::OversizedFrame => {
            let payload = Bytes::from(vec![0; state.frame_max + choices.below(100)]);
            vec![WireFrame::new(FrameKind::Body.octet(), number, payload)]
        }
        Violation::HeartbeatWithPayload => {
            let [kind, ..] = HEARTBEAT;
            vec![WireFrame::new(kind, 0, Bytes::from_static(b"x"))]
        }
        Violation::TruncatedArguments => {
            let declare = method_on(number, queue::Declare { queue: text("cut"), ..Default::default() });
            let length = 4 + choices.below(declare.payload.len() - 4);
            vec![WireFrame::new(declare.kind, number, declare.payload.slice(..length))]
        }
        Violation::UnknownFieldType => vec![declare_with(number, b"\x01a?")],
        Violation::DeeplyNestedTable => vec![declare_with(number, &nested(40 + choices.below(60)))],
        Violation::TrailingOctets => {
            let close_ok = method_on(number, basic::Qos::default());
            let payload = [&close_ok.payload[..], &choices.octets(1)].concat();
            vec![WireFrame::new(close_ok.kind, number, Bytes::from(payload))]
        }
        Violation::MethodOfTheServer => {
            let get_empty: [Method; 3] =
                [basic::GetEmpty::default().into(), queue::BindOk {}.into(), exchange::DeclareOk {}.into()];
            choices.pick(&get_empty).cloned().map(one).unwrap_or_default()
        }
        Violation::UnaskedFlowOk => one(channel::FlowOk { active: true }.into()),
        Violation::UnaskedCancelOk => one(basic::CancelOk { consumer_tag: text("nobody") }.into()),
        Violation::UnknownExchangeType => {
            let (exchange, kind) = (text("fuzz-odd"), text("x-nothing"));
            one(exchange::Declare { exchange, kind, ..Default::default() }.into())
        }
        Violation::UnopenedChannel => vec![method_on(UNOPENED, basic::Qos::default())],
        Violation::OpenedTwice => one(channel::Open::default().into()),
        Violation::ContentWithoutMethod => match choices.one_in(2) {
            true => vec![header(3)],
            false => vec![body(3)],
        },
        Violation::MethodWithinContent => match choices.one_in(2) {
            true => [one(publish(false)), one(publish(false))].concat(),
            false => {
                [one(publish(false)), vec![header(10), body(4)], one(basic::Qos::default().into())].concat()
            }
        },
        Violation::BodyTooLong => [one(publish(false)), vec![header(3), body(4)]].concat(),
        Violation::ConsumerTagReused => {
            let queue = ShortString::EMPTY;
            let declare = queue::Declare { queue: queue.clone(), exclusive: true, ..Default::default() };
            let consume = basic::Consume { queue, consumer_tag: text("fuzz-same"), ..Default::default() };
            [one(declare.into()), one(consume.clone().into()), one(consume.into())].concat()
        }
        Violation::PrefetchSize => one(basic::Qos { prefetch_size: 1, ..Default::default() }.into()),
        Violation::RecoverWithoutRequeue => one(basic::Recover { requeue: false }.into()),
        Violation::FlowOff => one(channel::Flow { active: false }.into()),
        Violation::Immediate => [one(publish(true)), vec![header(0)]].concat(),
        Violation::UnknownMethod => {
            let payload = Bytes::from_static(&[0, 60, 0, 99]);
            vec![WireFrame::new(FrameKind::Method.octet(), number, payload)]
        }
        Violation::ConnectionOpenedTwice => {
            let virtual_host = text(&state.options.virtual_host);
            vec![method_on(0, connection::Open { virtual_host, ..Default::default() })]
        }
    }
}

fn method_on(number: u16, method: impl Into<Method>) -> WireFrame {
    WireFrame::of(&Frame::Method(number, method.into()))
}

/// A `queue.declare` with these entries as its arguments.
fn declare_with(number: u16, entries: &[u8]) -> WireFrame {
    let mut payload = BytesMut::from(&queue::Declare::ID.octets()[..]);
    payload.put_slice(b"\0\0\x03odd\0");
    payload.put_u32(entries.len() as u32);
    payload.put_slice(entries);
    WireFrame::new(FrameKind::Method.octet(), number, payload.freeze())
}

/// Tables in tables, so many of them.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, _| {
        let length = (inner.len() as u32).to_be_bytes();
        [b"\x01tF", &length[..], &inner].concat()
    })
}
