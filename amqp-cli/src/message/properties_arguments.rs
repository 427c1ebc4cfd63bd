//! The properties of a message as arguments.

use amqp_client::{Properties, ShortString};
use clap::Args;

use crate::{
    error::Error,
    message::assignment::{Assignment, table_of},
};

/// The properties of the messages to publish.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Properties")]
pub(crate) struct PropertiesArguments {
    /// The MIME type of the body
    #[arg(short = 'C', long, value_name = "TYPE")]
    content_type: Option<String>,

    /// The MIME encoding of the body
    #[arg(short = 'E', long, value_name = "ENCODING")]
    content_encoding: Option<String>,

    /// A header; KEY:=JSON for other types than text; may be repeated
    #[arg(short = 'H', long = "header", value_name = "KEY=TEXT")]
    headers: Vec<Assignment>,

    /// Makes the message persistent: a durable queue keeps it through a restart
    #[arg(short = 'p', long)]
    persistent: bool,

    /// The priority
    #[arg(long, value_name = "0-255")]
    priority: Option<u8>,

    /// The id by which a reply is matched with its request
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,

    /// The queue for the reply
    #[arg(short = 't', long, value_name = "QUEUE")]
    reply_to: Option<String>,

    /// The time to live
    #[arg(long, value_name = "MILLISECONDS")]
    expiration: Option<u64>,

    /// The message's own id
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,

    /// The time of sending, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<u64>,

    /// The kind of message (the property `type`)
    #[arg(long = "type", value_name = "NAME")]
    kind: Option<String>,

    /// The user who sends it; the broker refuses another than that of the login
    #[arg(long, value_name = "NAME")]
    user_id: Option<String>,

    /// The application that sends it
    #[arg(long, value_name = "NAME")]
    app_id: Option<String>,
}

impl PropertiesArguments {
    /// The properties.
    ///
    /// # Errors
    /// [`Error::Usage`] for a text over 255 octets.
    pub(crate) fn properties(&self) -> Result<Properties, Error> {
        let headers = if self.headers.is_empty() { None } else { Some(table_of(&self.headers)?) };
        let expiration = self.expiration.map(|milliseconds| milliseconds.to_string());
        Ok(Properties {
            content_type: short("--content-type", self.content_type.as_deref())?,
            content_encoding: short("--content-encoding", self.content_encoding.as_deref())?,
            headers,
            delivery_mode: self.persistent.then_some(amqp_codec::PERSISTENT),
            priority: self.priority,
            correlation_id: short("--correlation-id", self.correlation_id.as_deref())?,
            reply_to: short("--reply-to", self.reply_to.as_deref())?,
            expiration: short("--expiration", expiration.as_deref())?,
            message_id: short("--message-id", self.message_id.as_deref())?,
            timestamp: self.timestamp,
            kind: short("--type", self.kind.as_deref())?,
            user_id: short("--user-id", self.user_id.as_deref())?,
            app_id: short("--app-id", self.app_id.as_deref())?,
            ..Properties::default()
        })
    }
}

fn short(what: &'static str, text: Option<&str>) -> Result<Option<ShortString>, Error> {
    text.map(|text| ShortString::new(what, text)).transpose().map_err(|error| Error::Usage(error.to_string()))
}
