//! The handshake from the protocol header to `connection.open-ok` (spec section 2.2.4 and 4.2.2).

use std::sync::Arc;

use amqp_codec::{
    Error as CodecError, Method, ReplyCode, Report, ShortString, Table, Tune, Value,
    frame::{self, PROTOCOL_HEADER},
    method::connection,
};
use bytes::{BufMut, Bytes};

use super::link::Link;
use crate::{
    error::{Close, Error, Result},
    login::{
        credentials::{Credentials, CredentialsError},
        sasl::SaslMechanism,
    },
};

/// The size of a frame with a secret besides the secret: frame header and end, ids, lengths, the
/// mechanism's name.
const ROOM_BESIDE_SECRET: usize = 512;

/// How many rounds of login are made before the broker counts as endless.
const MAX_ROUNDS: u32 = 16;

/// The login, and the wishes for the connection.
pub(crate) struct Login {
    pub(crate) credentials: Credentials,
    /// The mechanisms in the order of preference.
    pub(crate) mechanisms: Vec<Box<dyn SaslMechanism>>,
    pub(crate) vhost: String,
    pub(crate) tune: Tune,
    pub(crate) client_properties: Table,
}

/// What the broker has to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Tune,
    Open,
}

pub(crate) struct Handshake {
    login: Login,
    stage: Stage,
    /// The chosen mechanism.
    mechanism: Option<Box<dyn SaslMechanism>>,
    rounds: u32,
    /// Whether the broker reports a refused login in a close, instead of only hanging up.
    tells_refusal: bool,
    agreed: Tune,
}

/// Whether the handshake is over.
pub(crate) enum Progress {
    Going,
    Done(Tune),
}

impl Handshake {
    /// Sends the protocol header.
    pub(crate) fn begin(login: Login, link: &mut Link) -> Self {
        link.output.buffer().put_slice(&PROTOCOL_HEADER);
        let agreed = login.tune;
        Handshake { login, stage: Stage::Start, mechanism: None, rounds: 0, tells_refusal: false, agreed }
    }

    /// Tells whether the first bytes may be a frame. A broker of another version answers with its
    /// own protocol header, which is not a frame, but not an error before it is complete either.
    ///
    /// # Errors
    /// [`Error::VersionRefused`] with that header.
    pub(crate) fn may_be_frame(&self, bytes: &[u8]) -> Result<bool> {
        let begins_header = !bytes.is_empty() && bytes.iter().zip(b"AMQP").all(|(byte, of)| byte == of);
        if self.stage != Stage::Start || !begins_header {
            return Ok(true);
        }
        bytes.first_chunk().map_or(Ok(false), |header| Err(Error::VersionRefused(*header)))
    }

    /// Returns the meaning of malformed bytes at this stage.
    pub(crate) fn broken(&self, error: CodecError) -> Error {
        match self.stage {
            Stage::Start => Error::NotAmqp(error),
            Stage::Tune | Stage::Open => Error::Protocol { channel: 0, source: error },
        }
    }

    /// Returns the meaning of the end of the stream at this stage. A broker that does not report
    /// refused logins hangs up; one that does has gone down
    /// (<https://www.rabbitmq.com/docs/auth-notification>).
    pub(crate) fn end_of_stream(&self) -> Error {
        match self.stage {
            Stage::Tune if !self.tells_refusal => self.login_refused("the broker closed the socket".into()),
            Stage::Start | Stage::Tune | Stage::Open => Error::end_of_stream(),
        }
    }

    pub(crate) fn handle(&mut self, method: Method, link: &mut Link) -> Result<Progress> {
        let Method::Connection(method) = method else { return Err(self.unexpected(method.name())) };
        match (self.stage, method) {
            (Stage::Start, connection::Method::Start(start)) => self.start(&start, link),
            (Stage::Tune, connection::Method::Tune(tune)) => self.tune(&tune, link),
            (Stage::Tune, connection::Method::Secure(secure)) => self.secure(&secure, link),
            (Stage::Open, connection::Method::OpenOk(_)) => Ok(Progress::Done(self.agreed)),
            (_, connection::Method::Close(close)) => {
                link.reply(0, &connection::CloseOk {});
                Err(self.refused(&close))
            }
            (_, other) => Err(self.unexpected(Method::Connection(other).name())),
        }
    }

    fn start(&mut self, start: &connection::Start, link: &mut Link) -> Result<Progress> {
        let mut mechanism = self.choose(&start.mechanisms.to_text())?;
        let response = mechanism.response(&self.login.credentials).map_err(no_credentials)?;
        let secret_len = response.expose().len();
        let start_ok = connection::StartOk {
            mechanism: ShortString::new("mechanism", mechanism.name()).map_err(Error::Invalid)?,
            response,
            locale: ShortString::from_static("en_US"),
            client_properties: std::mem::take(&mut self.login.client_properties),
        };
        let room = secret_len + start_ok.client_properties.as_encoded().len() + ROOM_BESIDE_SECRET;
        let buffer = link.output.secret_buffer(room);
        frame::encode_method(0, &start_ok, link.frame_max, buffer).map_err(Error::Invalid)?;
        link.has_consumer_qos = is_capable(&start.server_properties, "per_consumer_qos");
        // A copy, because the original would keep the whole read buffer.
        link.server_properties = detached(&start.server_properties);
        self.tells_refusal = is_capable(&start.server_properties, "authentication_failure_close");
        self.mechanism = Some(mechanism);
        self.stage = Stage::Tune;
        Ok(Progress::Going)
    }

    /// Returns the first of our mechanisms that the broker offers.
    fn choose(&mut self, offered: &str) -> Result<Box<dyn SaslMechanism>> {
        let mechanisms = &mut self.login.mechanisms;
        let is_offered = |name: &str| offered.split(' ').any(|mechanism| mechanism == name);
        match mechanisms.iter().position(|mechanism| is_offered(mechanism.name())) {
            Some(index) => Ok(mechanisms.swap_remove(index)),
            None => {
                let wanted: Vec<_> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
                Err(Error::NoMechanism { offered: offered.into(), wanted: wanted.join(" ") })
            }
        }
    }

    fn secure(&mut self, secure: &connection::Secure, link: &mut Link) -> Result<Progress> {
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            return Err(self.login_refused(format!("the broker sent more than {MAX_ROUNDS} challenges")));
        }
        let expected =
            Error::UnexpectedMethod { channel: 0, expected: "connection.tune", got: "connection.secure" };
        let mechanism = self.mechanism.as_mut().ok_or(expected)?;
        let answer = mechanism.challenge(&self.login.credentials, secure.challenge.as_bytes());
        let response = answer.map_err(|error| self.login_refused(Report(&*error).to_string()))?;
        let buffer = link.output.secret_buffer(response.expose().len() + ROOM_BESIDE_SECRET);
        let secure_ok = connection::SecureOk { response };
        frame::encode_method(0, &secure_ok, link.frame_max, buffer).map_err(Error::Invalid)?;
        Ok(Progress::Going)
    }

    fn tune(&mut self, tune: &connection::Tune, link: &mut Link) -> Result<Progress> {
        let offer =
            Tune { channel_max: tune.channel_max, frame_max: tune.frame_max, heartbeat: tune.heartbeat };
        let agreed =
            self.login.tune.answer(offer).map_err(|source| Error::Protocol { channel: 0, source })?;
        let Tune { channel_max, frame_max, heartbeat } = agreed;
        link.send(0, &connection::TuneOk { channel_max, frame_max, heartbeat })?;
        let virtual_host = ShortString::new("virtual host", &self.login.vhost).map_err(Error::Invalid)?;
        link.send(0, &connection::Open { virtual_host, ..Default::default() })?;
        self.agreed = agreed;
        self.stage = Stage::Open;
        Ok(Progress::Going)
    }

    fn refused(&self, close: &connection::Close) -> Error {
        let close = Close::new(close.reply_code, &close.reply_text, close.class_id, close.method_id);
        // A broker that is going down (320) refuses nothing, and may be back in a moment.
        let refuses = matches!(
            close.code,
            ReplyCode::ACCESS_REFUSED | ReplyCode::NOT_ALLOWED | ReplyCode::INVALID_PATH
        );
        match self.stage {
            Stage::Tune if refuses => self.login_refused(close.to_string()),
            Stage::Open if refuses => Error::VhostRefused { vhost: self.login.vhost.clone(), close },
            _ => Error::ConnectionClosed(close),
        }
    }

    fn login_refused(&self, reason: String) -> Error {
        Error::LoginRefused { user: self.login.credentials.user.clone(), reason }
    }

    fn unexpected(&self, got: &'static str) -> Error {
        let expected = match self.stage {
            Stage::Start => "connection.start",
            Stage::Tune => "connection.tune",
            Stage::Open => "connection.open-ok",
        };
        Error::UnexpectedMethod { channel: 0, expected, got }
    }
}

fn no_credentials(error: CredentialsError) -> Error {
    Error::Credentials(Arc::from(error))
}

fn detached(table: &Table) -> Table {
    Table::from_encoded(Bytes::copy_from_slice(table.as_encoded())).unwrap_or_default()
}

fn is_capable(server_properties: &Table, capability: &str) -> bool {
    let capabilities = server_properties.get("capabilities");
    let capabilities = capabilities.as_ref().and_then(Value::as_table);
    capabilities.and_then(|table| table.get(capability)).and_then(|value| value.as_bool()).unwrap_or(false)
}
