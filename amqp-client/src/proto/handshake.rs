//! From the protocol header to `connection.open-ok` (spec section 2.2.4 and 4.2.2).

use amqp_codec::{
    Error as CodecError, Method, Secret, ShortString, Table, Tune, frame::PROTOCOL_HEADER,
    method::connection, sasl,
};
use bytes::BufMut;

use super::link::Link;
use crate::error::{Close, Error, Result};

/// Who connects, and with which wishes.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) response: Secret,
    pub(crate) vhost: String,
    pub(crate) tune: Tune,
    pub(crate) client_properties: Table,
}

/// What is due next from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Tune,
    Open,
}

pub(crate) struct Handshake {
    login: Login,
    stage: Stage,
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
        Handshake { login, stage: Stage::Start, agreed }
    }

    /// Whether the first bytes may be a frame. They need not: a broker of another version answers with its own header,
    /// which is no frame, nor an error before all of it is there.
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

    /// What bytes that are no frame mean at this stage.
    pub(crate) fn broken(&self, error: CodecError) -> Error {
        match self.stage {
            Stage::Start => Error::NotAmqp(error),
            Stage::Tune | Stage::Open => Error::Protocol { channel: 0, source: error },
        }
    }

    /// What the end of the stream means at this stage: RabbitMQ closes the socket on a failed login.
    pub(crate) fn end_of_stream(&self) -> Error {
        match self.stage {
            Stage::Tune => self.login_refused("the broker closed the socket".into()),
            Stage::Start | Stage::Open => Error::end_of_stream(),
        }
    }

    pub(crate) fn handle(&mut self, method: Method, link: &mut Link) -> Result<Progress> {
        let Method::Connection(method) = method else { return Err(self.unexpected(method.name())) };
        match (self.stage, method) {
            (Stage::Start, connection::Method::Start(start)) => self.start(&start, link),
            (Stage::Tune, connection::Method::Tune(tune)) => self.tune(&tune, link),
            (Stage::Tune, connection::Method::Secure(_)) => {
                Err(self.login_refused("the broker asks for a second round, which PLAIN has not".into()))
            }
            (Stage::Open, connection::Method::OpenOk(_)) => Ok(Progress::Done(self.agreed)),
            (_, connection::Method::Close(close)) => {
                link.reply(0, &connection::CloseOk {});
                Err(self.refused(&close))
            }
            (_, other) => Err(self.unexpected(Method::Connection(other).name())),
        }
    }

    fn start(&mut self, start: &connection::Start, link: &mut Link) -> Result<Progress> {
        let offered = start.mechanisms.to_text();
        if !offered.split(' ').any(|mechanism| mechanism == sasl::PLAIN) {
            return Err(Error::NoMechanism { offered: offered.into_owned() });
        }
        let start_ok = connection::StartOk {
            client_properties: self.login.client_properties.clone(),
            mechanism: ShortString::from_static(sasl::PLAIN),
            response: self.login.response.clone(),
            locale: ShortString::from_static("en_US"),
        };
        link.send(0, &start_ok)?;
        self.stage = Stage::Tune;
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
        match self.stage {
            Stage::Start => Error::ConnectionClosed(close),
            Stage::Tune => self.login_refused(close.to_string()),
            Stage::Open => Error::VhostRefused { vhost: self.login.vhost.clone(), close },
        }
    }

    fn login_refused(&self, reason: String) -> Error {
        Error::LoginRefused { user: self.login.user.clone(), reason }
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
