//! All methods of AMQP 0-9-1 with RabbitMQ's extensions, in one table (spec section 1.3 to 1.8 of
//! the generated reference).

mod macros;
pub(crate) mod method_ref;
pub(crate) mod sender;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser as _;

use crate::{
    error::Error,
    method::{macros::methods, sender::Sender},
    table::Table,
    wire::{
        argument::{Argument, Reader, Writer, show_argument},
        field::{Field, FieldKind},
        octets::{Mode, Parsed, array},
        text::{LongString, Secret, ShortString},
    },
};

methods! {
    /// Work with connections: handshake, tuning, close.
    Connection(connection) = 10 {
        /// The broker's first method: it introduces itself and offers login mechanisms.
        Start("start") = 10 by Server -> StartOk { version_major: u8, version_minor: u8, server_properties: Table, mechanisms: LongString, locales: LongString }
        /// The client introduces itself and logs in.
        StartOk("start-ok") = 11 by Client { client_properties: Table, mechanism: ShortString, response: Secret, locale: ShortString }
        /// A further challenge of the login mechanism.
        Secure("secure") = 20 by Server -> SecureOk { challenge: LongString }
        /// The answer to the challenge.
        SecureOk("secure-ok") = 21 by Client { response: Secret }
        /// The broker's limits; 0 is no limit, and heartbeat 0 is off.
        Tune("tune") = 30 by Server -> TuneOk { channel_max: u16, frame_max: u32, heartbeat: u16 }
        /// The limits that both sides will keep to.
        TuneOk("tune-ok") = 31 by Client { channel_max: u16, frame_max: u32, heartbeat: u16 }
        /// Enter a virtual host.
        Open("open") = 40 by Client -> OpenOk { virtual_host: ShortString, capabilities: ShortString, insist: bool }
        /// The connection is ready.
        OpenOk("open-ok") = 41 by Server { known_hosts: ShortString }
        /// End the connection, saying why and, when a method caused it, which.
        Close("close") = 50 by Either -> CloseOk { reply_code: u16, reply_text: ShortString, class_id: u16, method_id: u16 }
        /// The connection has ended.
        CloseOk("close-ok") = 51 by Either {}
        /// RabbitMQ: the broker is short of memory or disk and takes no publishes.
        Blocked("blocked") = 60 by Server { reason: ShortString }
        /// RabbitMQ: the broker takes publishes again.
        Unblocked("unblocked") = 61 by Server {}
        /// RabbitMQ: replace the secret (an OAuth 2 token) of this connection.
        UpdateSecret("update-secret") = 70 by Client -> UpdateSecretOk { new_secret: Secret, reason: ShortString }
        /// The secret has been replaced.
        UpdateSecretOk("update-secret-ok") = 71 by Server {}
    }
    /// Work with channels.
    Channel(channel) = 20 {
        /// Open the channel whose number the frame carries.
        Open("open") = 10 by Client -> OpenOk { out_of_band: ShortString }
        /// The channel is ready.
        OpenOk("open-ok") = 11 by Server { channel_id: LongString }
        /// Stop or resume the flow of content.
        Flow("flow") = 20 by Either -> FlowOk { active: bool }
        /// The flow is as asked.
        FlowOk("flow-ok") = 21 by Either { active: bool }
        /// End the channel, saying why and, when a method caused it, which.
        Close("close") = 40 by Either -> CloseOk { reply_code: u16, reply_text: ShortString, class_id: u16, method_id: u16 }
        /// The channel has ended.
        CloseOk("close-ok") = 41 by Either {}
    }
    /// Access tickets of AMQP 0-8, still answered by brokers.
    Access(access) = 30 {
        /// Ask for a ticket.
        Request("request") = 10 by Client -> RequestOk { realm: ShortString, exclusive: bool, passive: bool, active: bool, write: bool, read: bool }
        /// A ticket, which means nothing.
        RequestOk("request-ok") = 11 by Server { ticket: u16 }
    }
    /// Work with exchanges.
    Exchange(exchange) = 40 {
        /// Create the exchange, or check that it exists as described.
        Declare("declare") = 10 by Client -> DeclareOk { ticket: u16, exchange: ShortString, kind: ShortString, passive: bool, durable: bool, auto_delete: bool, internal: bool, no_wait: bool, arguments: Table }
        /// The exchange exists.
        DeclareOk("declare-ok") = 11 by Server {}
        /// Delete the exchange.
        Delete("delete") = 20 by Client -> DeleteOk { ticket: u16, exchange: ShortString, if_unused: bool, no_wait: bool }
        /// The exchange is gone.
        DeleteOk("delete-ok") = 21 by Server {}
        /// RabbitMQ: bind an exchange to an exchange.
        Bind("bind") = 30 by Client -> BindOk { ticket: u16, destination: ShortString, source: ShortString, routing_key: ShortString, no_wait: bool, arguments: Table }
        /// The binding exists.
        BindOk("bind-ok") = 31 by Server {}
        /// RabbitMQ: unbind an exchange from an exchange.
        Unbind("unbind") = 40 by Client -> UnbindOk { ticket: u16, destination: ShortString, source: ShortString, routing_key: ShortString, no_wait: bool, arguments: Table }
        /// The binding is gone.
        UnbindOk("unbind-ok") = 51 by Server {}
    }
    /// Work with queues.
    Queue(queue) = 50 {
        /// Create the queue, or check that it exists as described.
        Declare("declare") = 10 by Client -> DeclareOk { ticket: u16, queue: ShortString, passive: bool, durable: bool, exclusive: bool, auto_delete: bool, no_wait: bool, arguments: Table }
        /// The queue exists: its name, its ready messages, its consumers.
        DeclareOk("declare-ok") = 11 by Server { queue: ShortString, message_count: u32, consumer_count: u32 }
        /// Bind the queue to an exchange.
        Bind("bind") = 20 by Client -> BindOk { ticket: u16, queue: ShortString, exchange: ShortString, routing_key: ShortString, no_wait: bool, arguments: Table }
        /// The binding exists.
        BindOk("bind-ok") = 21 by Server {}
        /// Drop the queue's ready messages.
        Purge("purge") = 30 by Client -> PurgeOk { ticket: u16, queue: ShortString, no_wait: bool }
        /// How many were dropped.
        PurgeOk("purge-ok") = 31 by Server { message_count: u32 }
        /// Delete the queue.
        Delete("delete") = 40 by Client -> DeleteOk { ticket: u16, queue: ShortString, if_unused: bool, if_empty: bool, no_wait: bool }
        /// The queue is gone, with so many messages.
        DeleteOk("delete-ok") = 41 by Server { message_count: u32 }
        /// Unbind the queue from an exchange.
        Unbind("unbind") = 50 by Client -> UnbindOk { ticket: u16, queue: ShortString, exchange: ShortString, routing_key: ShortString, arguments: Table }
        /// The binding is gone.
        UnbindOk("unbind-ok") = 51 by Server {}
    }
    /// Work with content: publish, consume, acknowledge.
    Basic(basic) = 60 {
        /// Limit how much may be unacknowledged.
        Qos("qos") = 10 by Client -> QosOk { prefetch_size: u32, prefetch_count: u16, global: bool }
        /// The limit holds.
        QosOk("qos-ok") = 11 by Server {}
        /// Start a consumer.
        Consume("consume") = 20 by Client -> ConsumeOk { ticket: u16, queue: ShortString, consumer_tag: ShortString, no_local: bool, no_ack: bool, exclusive: bool, no_wait: bool, arguments: Table }
        /// The consumer's tag.
        ConsumeOk("consume-ok") = 21 by Server { consumer_tag: ShortString }
        /// End a consumer. RabbitMQ also sends it, when the queue has gone
        /// (<https://www.rabbitmq.com/docs/consumer-cancel>).
        Cancel("cancel") = 30 by Either -> CancelOk { consumer_tag: ShortString, no_wait: bool }
        /// The consumer has ended.
        CancelOk("cancel-ok") = 31 by Either { consumer_tag: ShortString }
        /// Publish the content that follows.
        Publish("publish") = 40 by Client { ticket: u16, exchange: ShortString, routing_key: ShortString, mandatory: bool, immediate: bool }
        /// The content that follows could not be routed.
        Return("return") = 50 by Server { reply_code: u16, reply_text: ShortString, exchange: ShortString, routing_key: ShortString }
        /// The content that follows is for this consumer.
        Deliver("deliver") = 60 by Server { consumer_tag: ShortString, delivery_tag: u64, redelivered: bool, exchange: ShortString, routing_key: ShortString }
        /// Ask for one message.
        Get("get") = 70 by Client -> GetOk { ticket: u16, queue: ShortString, no_ack: bool }
        /// The content that follows is the message asked for.
        GetOk("get-ok") = 71 by Server { delivery_tag: u64, redelivered: bool, exchange: ShortString, routing_key: ShortString, message_count: u32 }
        /// There is no message.
        GetEmpty("get-empty") = 72 by Server { cluster_id: ShortString }
        /// Processed: deliveries to a consumer, or, from the broker, publishes in confirm mode.
        Ack("ack") = 80 by Either { delivery_tag: u64, multiple: bool }
        /// Refused, one message.
        Reject("reject") = 90 by Client { delivery_tag: u64, requeue: bool }
        /// Redeliver what is unacknowledged, without an answer.
        RecoverAsync("recover-async") = 100 by Client { requeue: bool }
        /// Redeliver what is unacknowledged.
        Recover("recover") = 110 by Client -> RecoverOk { requeue: bool }
        /// It will be redelivered.
        RecoverOk("recover-ok") = 111 by Server {}
        /// RabbitMQ: refused, one message or several: deliveries, or, from the broker, publishes in
        /// confirm mode.
        Nack("nack") = 120 by Either { delivery_tag: u64, multiple: bool, requeue: bool }
    }
    /// RabbitMQ: publisher confirms.
    Confirm(confirm) = 85 {
        /// Put the channel in confirm mode.
        Select("select") = 10 by Client -> SelectOk { no_wait: bool }
        /// The channel is in confirm mode.
        SelectOk("select-ok") = 11 by Server {}
    }
    /// Transactions.
    Tx(tx) = 90 {
        /// Put the channel in transaction mode.
        Select("select") = 10 by Client -> SelectOk {}
        /// The channel is in transaction mode.
        SelectOk("select-ok") = 11 by Server {}
        /// Publish and acknowledge what has gathered.
        Commit("commit") = 20 by Client -> CommitOk {}
        /// It is done.
        CommitOk("commit-ok") = 21 by Server {}
        /// Drop what has gathered.
        Rollback("rollback") = 30 by Client -> RollbackOk {}
        /// It is dropped.
        RollbackOk("rollback-ok") = 31 by Server {}
    }
}

/// Class and method number, as they begin a method frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct MethodId {
    /// The class.
    pub class_id: u16,
    /// The method within it.
    pub method_id: u16,
}

impl MethodId {
    /// The four octets with which the method's payload begins.
    ///
    /// ```
    /// use amqp_codec::{Arguments as _, method::basic};
    ///
    /// const ACK: [u8; 4] = basic::Ack::ID.octets();
    /// assert_eq!(ACK, [0, 60, 0, 80]);
    /// ```
    #[inline]
    pub const fn octets(self) -> [u8; 4] {
        let ([c1, c0], [m1, m0]) = (self.class_id.to_be_bytes(), self.method_id.to_be_bytes());
        [c1, c0, m1, m0]
    }

    /// The id in these four octets, whether or not the specification has such a method.
    #[inline]
    pub const fn from_octets([c1, c0, m1, m0]: [u8; 4]) -> Self {
        MethodId { class_id: u16::from_be_bytes([c1, c0]), method_id: u16::from_be_bytes([m1, m0]) }
    }

    /// Reads the id at the start of a method frame's payload; `None` when the payload is shorter
    /// than that. Nothing else is checked: a proxy or broker compares the id with the constants of
    /// the methods.
    ///
    /// ```
    /// use amqp_codec::{Arguments as _, MethodId, method::basic};
    ///
    /// let is_settlement = |payload: &[u8]| {
    ///     let id = MethodId::peek(payload);
    ///     matches!(id, Some(basic::Ack::ID | basic::Nack::ID | basic::Reject::ID))
    /// };
    /// assert!(is_settlement(b"\0\x3c\0\x50\0\0\0\0\0\0\0\x07\0"));
    /// assert!(!is_settlement(b"\0\x3c\0"));
    /// ```
    #[inline]
    pub fn peek(payload: &[u8]) -> Option<Self> {
        payload.first_chunk().copied().map(Self::from_octets)
    }
}

/// Class and method number.
#[inline]
pub(crate) fn method_id<M: Mode<Error = Error>>() -> impl Fn(&[u8]) -> Parsed<'_, MethodId> {
    move |input: &[u8]| array::<M, 4>("method id").map(MethodId::from_octets).parse(input)
}

/// A method that is answered by another.
pub trait Request: Arguments + Into<Method> {
    /// The answer.
    type Reply: Arguments + TryFrom<Method, Error = Method>;
}

/// One method's arguments: implemented by every struct of the table, and by nothing else.
pub trait Arguments: Sized {
    /// Class and method number.
    const ID: MethodId;
    /// The name in the specification, `queue.declare-ok`.
    const NAME: &'static str;
    /// The arguments in their order on the wire.
    const FIELDS: &'static [Field];
    /// Which side may send it.
    const SENDER: Sender;

    #[doc(hidden)]
    fn write_arguments(&self, writer: &mut Writer<'_>) -> Result<(), Error>;
    #[doc(hidden)]
    fn read_arguments(reader: &mut Reader<'_>) -> Result<Self, Error>;
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Method {
    /// Reads a method frame's payload.
    ///
    /// # Errors
    /// An unknown method, an argument that reaches past the end, bytes left over.
    pub fn decode(payload: &Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(payload);
        let id = MethodId { class_id: reader.u16("class id")?, method_id: reader.u16("method id")? };
        let method = Self::read(id, &mut reader)?;
        reader.finish(method.name())?;
        Ok(method)
    }

    /// Appends a method frame's payload.
    ///
    /// # Errors
    /// When an argument is longer than its length field can say; nothing is appended then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), Error> {
        append(self.id(), out, |writer| self.write_arguments(writer))
    }

    /// Checks that a method of class connection is on channel 0, and that no other method is (spec
    /// section 4.2.3).
    ///
    /// # Errors
    /// [`Error::WrongChannel`]
    pub fn check_channel(&self, channel: u16) -> Result<(), Error> {
        if matches!(self, Method::Connection(_)) == (channel == 0) {
            return Ok(());
        }
        Err(Error::WrongChannel { method: self.name(), channel })
    }

    /// Whether content (a header and body frames) follows this method.
    pub fn has_content(&self) -> bool {
        matches!(
            self,
            Method::Basic(
                basic::Method::Publish(_)
                    | basic::Method::Return(_)
                    | basic::Method::Deliver(_)
                    | basic::Method::GetOk(_)
            )
        )
    }
}

/// Appends the payload of one known method, without wrapping it in a [`Method`].
pub(crate) fn encode_arguments<A: Arguments>(method: &A, out: &mut BytesMut) -> Result<(), Error> {
    append(A::ID, out, |writer| method.write_arguments(writer))
}

fn append(
    id: MethodId,
    out: &mut BytesMut,
    arguments: impl FnOnce(&mut Writer<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let before = out.len();
    out.put_u16(id.class_id);
    out.put_u16(id.method_id);
    let mut writer = Writer::new(out);
    let written = arguments(&mut writer);
    writer.finish();
    if written.is_err() {
        out.truncate(before);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declare_reads_as_the_specification_writes_it() {
        let declare = queue::Declare {
            queue: ShortString::from_static("jobs"),
            durable: true,
            no_wait: true,
            ..Default::default()
        };
        let mut out = BytesMut::new();
        Method::from(declare.clone()).encode(&mut out).unwrap();
        assert_eq!(&out[..], b"\x00\x32\x00\x0a\x00\x00\x04jobs\x12\x00\x00\x00\x00");
        assert_eq!(Method::decode(&out.freeze()).unwrap(), Method::from(declare));
    }

    #[test]
    fn connection_methods_are_on_channel_0_and_others_are_not() {
        let (close, bind) = (Method::from(connection::CloseOk {}), Method::from(queue::BindOk {}));
        assert_eq!((close.check_channel(0), bind.check_channel(1)), (Ok(()), Ok(())));
        let error = bind.check_channel(0).unwrap_err();
        assert_eq!(error, Error::WrongChannel { method: "queue.bind-ok", channel: 0 });
        assert!(close.check_channel(1).is_err());
    }

    #[test]
    fn an_unknown_method_is_named_by_its_numbers() {
        let error = Method::decode(&Bytes::from_static(&[0, 60, 0, 99])).unwrap_err();
        assert_eq!(error, Error::UnknownMethod { class_id: 60, method_id: 99 });
    }

    #[test]
    fn bytes_after_the_last_argument_are_refused() {
        let error = Method::decode(&Bytes::from_static(&[0, 10, 0, 51, 0])).unwrap_err();
        assert_eq!(error, Error::TrailingBytes { what: "connection.close-ok", count: 1 });
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let start_ok = connection::StartOk { response: "\0guest\0hunter2".into(), ..Default::default() };
        assert_eq!(format!("{:?}", Method::from(start_ok)), "connection.start-ok response=[redacted]");
    }
}
