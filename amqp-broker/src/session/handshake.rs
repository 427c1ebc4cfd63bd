//! The handshake: protocol header, login, limits, virtual host (spec section 2.2.4).

mod dialect;
mod opening;

use amqp_codec::{
    Arguments, FRAME_MIN_SIZE, LongString, Method, MethodId, RawFrame, ReplyCode, Secret, ShortString, Table,
    Tune, Value,
    frame::{PROTOCOL_HEADER, encode_method},
    method::connection,
    sasl,
};
use bytes::{Buf, Bytes, BytesMut};

use crate::{
    config::{Config, DEFAULT_USER},
    core::rabbitmq::{access::Access, refusal::reply_text},
};

use self::{
    dialect::{CLOSE_OK_0_8, Dialect, close_of_0_8, is_close_0_8},
    opening::Opening,
};
use super::frames::bad_frame::{LENIENCY, bad_frame};

/// The longest configured text that is sent to clients, in octets.
const MOST_TEXT: usize = 255;

/// The extensions that every version of RabbitMQ has and announces.
const CAPABILITIES: &[&str] = &[
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The server properties that no version of RabbitMQ differs in.
const CLUSTER_NAME: &str = "rabbit@localhost";
const INFORMATION: &str = "Licensed under the MPL 2.0. Website: https://rabbitmq.com";

/// The terms that a client and the broker have agreed on.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) access: Access,
    pub(crate) vhost: String,
    pub(crate) tune: Tune,
    /// Set when the client wants to be told when the broker ends a consumer.
    pub(crate) cancel_notify: bool,
    /// Set when the client wants to be told when it is held back.
    pub(crate) blocked_notify: bool,
    /// The client's name for the connection.
    pub(crate) client_name: Option<String>,
    pub(crate) introduction: Introduction,
}

/// The introduction of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Introduction {
    #[cfg_attr(not(feature = "management"), allow(dead_code))]
    pub(crate) properties: Table,
    #[cfg_attr(not(feature = "management"), allow(dead_code))]
    pub(crate) mechanism: String,
}

/// Why a connection was not opened. The answer for the client is already written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it does not speak AMQP 0-9-1: {0}")]
    Protocol(Opening),
    #[error("the login of user '{user}' was refused")]
    Login { user: String },
    #[error("user '{user}' logs in from this machine only (see loopback_users)")]
    Far { user: String },
    #[error("{0}")]
    Closed(String),
    #[error("its login by {0} is malformed")]
    Malformed(&'static str),
    #[error("the client closed the connection before it was open")]
    Left,
    #[error("the client disconnected without sending anything")]
    Silent,
}

/// Why there is no room for a connection: the limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Vhost(usize),
    User(i64),
}

/// Enters a client into a virtual host as a user, if there is room.
pub(crate) type Enter<'a> = &'a (dyn Fn(&str, &str) -> Result<(), Full> + Sync);

/// A connection before it is open.
pub(crate) struct Handshake<'a> {
    config: &'a Config,
    /// Enters the client into a virtual host, if there is room.
    enter: Enter<'a>,
    /// The user that the client's certificate names.
    external: Option<String>,
    /// Set when the client is on this machine.
    is_near: bool,
    dialect: Dialect,
    stage: Stage,
    user: String,
    tune: Tune,
    cancel_notify: bool,
    blocked_notify: bool,
    client_name: Option<String>,
    introduction: Introduction,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Header,
    StartOk,
    TuneOk,
    Open,
    /// The virtual host is open to a client of 0-8, which can only close the connection now.
    Open0_8,
}

impl<'a> Handshake<'a> {
    pub(crate) fn new(config: &'a Config, enter: Enter<'a>, external: Option<String>, is_near: bool) -> Self {
        let tune = config.tune();
        Handshake {
            config,
            enter,
            external,
            is_near,
            dialect: Dialect::V0_9_1,
            stage: Stage::Header,
            user: String::new(),
            tune,
            cancel_notify: false,
            blocked_notify: false,
            client_name: None,
            introduction: Introduction::default(),
        }
    }

    /// Processes what it can of `input`, and puts answers into `output`.
    ///
    /// # Errors
    /// When the connection ends here; `output` says why as far as the client may know.
    pub(crate) fn receive(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<Option<Agreed>, Refused> {
        loop {
            if let Stage::Header = self.stage {
                let Some(header) = input.first_chunk::<8>() else {
                    // Fewer bytes may already show that this is another protocol.
                    if Dialect::may_begin(input, self.config.profile()) {
                        return Ok(None);
                    }
                    let mut begun = [0; 8];
                    begun.iter_mut().zip(input.iter()).for_each(|(to, from)| *to = *from);
                    return self.refuse_protocol(begun, output);
                };
                let Some(dialect) = Dialect::of(*header, self.config.profile()) else {
                    return self.refuse_protocol(*header, output);
                };
                self.dialect = dialect;
                input.advance(PROTOCOL_HEADER.len());
                put(output, &self.start())?;
                self.stage = Stage::StartOk;
            }
            let frame_max = self.frame_max() + LENIENCY;
            let frame = match RawFrame::split_from(input, frame_max) {
                Ok(Some(raw)) if self.dialect == Dialect::V0_8 && is_close_0_8(&raw.payload) => {
                    output.extend_from_slice(&CLOSE_OK_0_8);
                    return Err(Refused::Left);
                }
                Ok(Some(raw)) => raw.decode(),
                Ok(None) => return Ok(None),
                Err(error) => Err(error),
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return self.unreadable(&error, input, output).map_or(Ok(None), Err),
            };
            let method = match frame {
                amqp_codec::Frame::Heartbeat(_) => continue,
                amqp_codec::Frame::Method(0, method) => method,
                amqp_codec::Frame::Method(_, method) if matches!(self.stage, Stage::Open0_8) => method,
                _ => {
                    let text = "expected method frame, got non method frame instead";
                    return Err(self.closed(output, ReplyCode::UNEXPECTED_FRAME, text, MethodId::default()));
                }
            };
            if let Some(agreed) = self.method(method, output)? {
                return Ok(Some(agreed));
            }
        }
    }

    /// Tells whether the client has sent anything, including the unread `input`.
    pub(crate) fn has_heard(&self, input: &BytesMut) -> bool {
        !input.is_empty() || !matches!(self.stage, Stage::Header)
    }

    /// The largest frame; before one is agreed on, the smallest that may be agreed on (spec section
    /// 4.2.3).
    fn frame_max(&self) -> usize {
        let least = self.config.profile().least_frame_max;
        let frame_max = if matches!(self.stage, Stage::Open) { self.tune.frame_max } else { least };
        frame_max as usize
    }

    /// Refuses a malformed or unexpected frame; `None` until it has arrived. As in RabbitMQ, a
    /// client that has not logged in is not told why.
    fn unreadable(&self, error: &amqp_codec::Error, input: &[u8], output: &mut BytesMut) -> Option<Refused> {
        use amqp_codec::Error::{FrameTooLarge, UnknownFrameType};
        Some(match (self.stage, error) {
            (Stage::Open, FrameTooLarge { .. } | UnknownFrameType(_)) => {
                let refusal = bad_frame(error, input, self.frame_max())?;
                self.closed(output, refusal.code(), &refusal.to_string(), MethodId::default())
            }
            (Stage::Open, _) => {
                self.closed(output, error.reply_code(), &error.to_string(), MethodId::default())
            }
            _ => Refused::Closed(error.to_string()),
        })
    }

    fn start(&self) -> connection::Start {
        let (version_major, version_minor) = self.dialect.version();
        let mut mechanisms = vec!["AMQPLAIN", "PLAIN"];
        mechanisms.extend(self.external.is_some().then_some("EXTERNAL"));
        mechanisms.extend(self.allows_anonymous().then_some("ANONYMOUS"));
        connection::Start {
            version_major,
            version_minor,
            server_properties: server_properties(self.config, self.dialect).unwrap_or_default(),
            mechanisms: LongString::from(mechanisms.join(" ")),
            locales: LongString::from_static("en_US"),
        }
    }

    fn method(&mut self, method: Method, output: &mut BytesMut) -> Result<Option<Agreed>, Refused> {
        let id = method.id();
        let Method::Connection(method) = method else {
            return Err(self.out_of_turn(output, id));
        };
        match (self.stage, method) {
            (_, connection::Method::Close(_)) => {
                put(output, &connection::CloseOk {})?;
                Err(Refused::Left)
            }
            (Stage::StartOk, connection::Method::StartOk(start_ok)) => {
                self.log_in(&start_ok, output)?;
                let Tune { channel_max, frame_max, heartbeat } = self.tune;
                put(output, &connection::Tune { channel_max, frame_max, heartbeat })?;
                self.stage = Stage::TuneOk;
                Ok(None)
            }
            (Stage::TuneOk, connection::Method::TuneOk(tune_ok)) => {
                self.agree(&tune_ok)?;
                self.stage = Stage::Open;
                Ok(None)
            }
            (Stage::Open, connection::Method::Open(open)) => self.open(&open, output),
            _ => Err(self.out_of_turn(output, id)),
        }
    }

    fn log_in(&mut self, start_ok: &connection::StartOk, output: &mut BytesMut) -> Result<(), Refused> {
        let capabilities = start_ok.client_properties.get("capabilities");
        let capable = |name: &str| {
            let value = capabilities.as_ref().and_then(Value::as_table).and_then(|table| table.get(name));
            value.and_then(|value| value.as_bool()).unwrap_or(false)
        };
        self.cancel_notify = capable("consumer_cancel_notify");
        self.blocked_notify = capable("connection.blocked");
        let name = start_ok.client_properties.get("connection_name");
        self.client_name = name.as_ref().and_then(Value::as_str).map(str::to_owned);
        let mechanism = start_ok.mechanism.to_text();
        // A copy, because the original is a part of the read buffer.
        let properties = Bytes::copy_from_slice(start_ok.client_properties.as_encoded());
        self.introduction = Introduction {
            properties: Table::from_encoded(properties).unwrap_or_default(),
            mechanism: mechanism.clone().into_owned(),
        };
        let known = match start_ok.mechanism.as_bytes() {
            // As in RabbitMQ, a client whose response is malformed is not told why.
            b"PLAIN" => self.by_password(plain(&start_ok.response).ok_or(Refused::Malformed("PLAIN"))?),
            b"AMQPLAIN" => {
                self.by_password(amqplain(&start_ok.response).ok_or(Refused::Malformed("AMQPLAIN"))?)
            }
            // The TLS handshake has verified this user.
            b"EXTERNAL" if let Some(user) = &self.external => match self.config.users.has(user) {
                true => Ok(user.clone()),
                false => Err(Refused::Login { user: user.clone() }),
            },
            b"ANONYMOUS" if let Some(user) = &self.config.anonymous => Ok(user.clone()),
            b"ANONYMOUS" if self.allows_anonymous() => {
                self.by_password((DEFAULT_USER.to_owned(), DEFAULT_USER.to_owned()))
            }
            _ => {
                let text = format!("unknown authentication mechanism '{mechanism}'");
                return Err(self.closed(output, ReplyCode::COMMAND_INVALID, &text, connection::StartOk::ID));
            }
        };
        let refused = match known.and_then(|user| self.unless_too_far(user)) {
            Ok(user) => {
                self.user = user;
                return Ok(());
            }
            Err(refused) => refused,
        };
        if capable("authentication_failure_close") {
            let text = format!(
                "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
            );
            self.closed(output, ReplyCode::ACCESS_REFUSED, &text, MethodId::default());
        }
        Err(refused)
    }

    /// Tells whether clients may log in without a password.
    fn allows_anonymous(&self) -> bool {
        self.config.anonymous.is_some() || self.config.profile().anonymous_is_guest
    }

    /// The user, if the password is right.
    fn by_password(&self, (user, password): (String, String)) -> Result<String, Refused> {
        match self.config.users.may_log_in(&user, &password) {
            true => Ok(user),
            false => Err(Refused::Login { user }),
        }
    }

    /// The user, unless it may log in from this machine only and the client is elsewhere. This is
    /// RabbitMQ's `loopback_users`, and applies to every mechanism.
    fn unless_too_far(&self, user: String) -> Result<String, Refused> {
        match self.is_near || !self.config.loopback_users.contains(&user) {
            true => Ok(user),
            false => Err(Refused::Far { user }),
        }
    }

    /// Takes the limits that the client wants. As in RabbitMQ, one that wants others than it was
    /// offered is not told why the connection ends.
    fn agree(&mut self, tune_ok: &connection::TuneOk) -> Result<(), Refused> {
        let (offer, least_frame_max) = (self.tune, self.config.profile().least_frame_max);
        let limits = [
            // A smaller offer can still be taken.
            ("frame_max", least_frame_max.min(offer.frame_max), offer.frame_max, tune_ok.frame_max),
            ("channel_max", 1, offer.channel_max.into(), tune_ok.channel_max.into()),
        ];
        for (what, least, most, wish) in limits {
            let verdict = match wish {
                0 => ("higher", "maximum", most),
                _ if wish < least => ("lower", "minimum", least),
                _ if wish > most => ("higher", "maximum", most),
                _ => continue,
            };
            let detail = if what == "channel_max" && wish == 0 { " (no limit)" } else { "" };
            let (is, bound, limit) = verdict;
            return Err(Refused::Closed(format!(
                "negotiated {what} = {wish}{detail} is {is} than the {bound} allowed value ({limit})"
            )));
        }
        let connection::TuneOk { channel_max, frame_max, heartbeat } = *tune_ok;
        self.tune = Tune { channel_max, frame_max, heartbeat };
        Ok(())
    }

    fn open(&mut self, open: &connection::Open, output: &mut BytesMut) -> Result<Option<Agreed>, Refused> {
        let vhost = open.virtual_host.to_text();
        if !self.config.vhosts.has(&vhost) {
            let text = format!("vhost {vhost} not found");
            return Err(self.closed(output, ReplyCode::NOT_ALLOWED, &text, connection::Open::ID));
        }
        let Some(access) = self.config.users.access(&self.user, &vhost) else {
            let text = format!("access to vhost '{vhost}' refused for user '{}'", self.user);
            return Err(self.closed(output, ReplyCode::NOT_ALLOWED, &text, connection::Open::ID));
        };
        if self.dialect == Dialect::V0_8 {
            put(output, &open_ok())?;
            self.stage = Stage::Open0_8;
            return Ok(None);
        }
        if let Err(full) = (self.enter)(&vhost, &self.user) {
            let user = &self.user;
            let text = match full {
                Full::Vhost(limit) => format!(
                    "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
                ),
                Full::User(limit) => {
                    format!(
                        "connection refused for user '{user}': user connection limit ({limit}) is reached"
                    )
                }
            };
            return Err(self.closed(output, ReplyCode::NOT_ALLOWED, &text, connection::Open::ID));
        }
        Ok(Some(Agreed {
            access,
            vhost: vhost.into_owned(),
            tune: self.tune,
            cancel_notify: self.cancel_notify,
            blocked_notify: self.blocked_notify,
            client_name: self.client_name.take(),
            introduction: std::mem::take(&mut self.introduction),
        }))
    }

    /// Refuses another protocol or version, and answers with the supported one.
    fn refuse_protocol(&self, begun: [u8; 8], output: &mut BytesMut) -> Result<Option<Agreed>, Refused> {
        output.extend_from_slice(&dialect::refusal(begun, self.config.profile()));
        Err(Refused::Protocol(Opening(begun)))
    }

    fn out_of_turn(&self, output: &mut BytesMut, id: MethodId) -> Refused {
        match self.stage {
            Stage::Open0_8 => {
                let text = "AMQP 0-8 is spoken until the virtual host is open";
                self.closed(output, ReplyCode::NOT_IMPLEMENTED, text, id)
            }
            _ => {
                let text = format!("unexpected method {}", id.name().unwrap_or("of no name"));
                self.closed(output, ReplyCode::COMMAND_INVALID, &text, id)
            }
        }
    }

    /// Appends a close.
    fn closed(&self, output: &mut BytesMut, code: ReplyCode, text: &str, method: MethodId) -> Refused {
        let reply_text = reply_text(code, text);
        let refused = Refused::Closed(reply_text.to_string());
        let MethodId { class_id, method_id } = method;
        let close = connection::Close { reply_code: code.0, reply_text, class_id, method_id };
        let begin = output.len();
        if let Err(unsaid) = put(output, &close) {
            return unsaid;
        }
        if self.dialect == Dialect::V0_8 {
            close_of_0_8(output.get_mut(begin..).unwrap_or_default());
        }
        refused
    }
}

/// Appends a method of the handshake.
///
/// # Errors
/// When the method is longer than the smallest frame: the connection cannot continue.
fn put<A: Arguments>(output: &mut BytesMut, method: &A) -> Result<(), Refused> {
    let unsaid = |error| Refused::Closed(format!("{} could not be encoded: {error}", A::NAME));
    encode_method(0, method, FRAME_MIN_SIZE as usize, output).map_err(unsaid)
}

/// The user and password of a PLAIN response. As in RabbitMQ, nobody may act as somebody else, and
/// a password has no NUL.
fn plain(response: &Secret) -> Option<(String, String)> {
    let (user, password) = sasl::parse_plain(response).ok()?;
    if !response.expose().starts_with(&[0]) || password.contains('\0') {
        return None;
    }
    Some((user.to_owned(), password.to_owned()))
}

/// The user and password of an AMQPLAIN response: a table's entries, `LOGIN` and `PASSWORD`
/// (<https://www.rabbitmq.com/amqp-0-9-1-quickref>).
fn amqplain(response: &Secret) -> Option<(String, String)> {
    let table = Table::from_encoded(Bytes::copy_from_slice(response.expose())).ok()?;
    let text = |key| table.get(key).as_ref().and_then(Value::as_str).map(str::to_owned);
    Some((text("LOGIN")?, text("PASSWORD")?))
}

/// The server properties: its identity, and the extensions of RabbitMQ that it supports.
fn server_properties(config: &Config, dialect: Dialect) -> Result<Table, amqp_codec::Error> {
    // Those of 0-8 are none.
    let known = if dialect == Dialect::V0_8 { &[] } else { CAPABILITIES };
    let mut capabilities = Table::new();
    for capability in known {
        capabilities.insert(capability, true)?;
    }
    let mut properties = Table::new();
    properties.insert("capabilities", capabilities)?;
    // These are RabbitMQ's own texts, because clients may read them; `platform` tells the truth.
    properties.insert("cluster_name", CLUSTER_NAME)?;
    properties.insert("copyright", config.profile().copyright)?;
    properties.insert("information", INFORMATION)?;
    properties.insert("platform", concat!("amqp-broker ", env!("CARGO_PKG_VERSION")))?;
    properties.insert("product", beginning(config.product()))?;
    properties.insert("version", beginning(config.product_version()))?;
    if !config.backends.is_empty() {
        properties.insert("backends", backends(config)?)?;
    }
    Ok(properties)
}

/// The names of the backends, by virtual host.
fn backends(config: &Config) -> Result<Table, amqp_codec::Error> {
    let mut backends = Table::new();
    for (vhost, backend) in &config.backends {
        backends.insert(vhost.as_str(), beginning(backend))?;
    }
    Ok(backends)
}

/// The part of a text that is sent to clients.
fn beginning(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MOST_TEXT)).unwrap_or_default()
}

/// The answer to a client that may enter the virtual host.
pub(crate) fn open_ok() -> connection::OpenOk {
    connection::OpenOk { known_hosts: ShortString::EMPTY }
}
