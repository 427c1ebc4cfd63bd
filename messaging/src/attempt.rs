//! How one attempt to publish ended.

use amqp_client::{Confirmation, Returned};

use crate::{
    error::{Error, Outcome},
    retry::Retry,
};

/// How far an attempt is, for when its time runs out.
pub(crate) enum Progress {
    Opening,
    Sending,
    Confirming,
}

impl Progress {
    pub(crate) fn out_of_time(&self, retry: &Retry, cause: Option<Box<Error>>) -> Fault {
        let (outcome, during) = match self {
            Progress::Opening => (Outcome::NotSent, "connecting"),
            Progress::Sending => (Outcome::NotSent, "waiting for room to send"),
            Progress::Confirming => (Outcome::Unknown, "waiting for the broker's confirm"),
        };
        let late = || Box::new(Error::Timeout { after: retry.elapsed(), during });
        Fault { outcome, source: Some(cause.unwrap_or_else(late)) }
    }
}

/// Why an attempt failed, and what became of the message in it.
pub(crate) struct Fault {
    pub(crate) outcome: Outcome,
    pub(crate) source: Option<Box<Error>>,
}

impl Fault {
    pub(crate) fn not_sent(source: Error) -> Self {
        Fault { outcome: Outcome::NotSent, source: Some(Box::new(source)) }
    }

    /// The message was not sent, by the client's account.
    pub(crate) fn not_published(source: amqp_client::Error) -> Self {
        Fault::not_sent(publishing(source))
    }

    fn returned(returned: &Returned) -> Self {
        tracing::debug!(code = %returned.code(), text = returned.text(), "a mandatory message came back");
        Fault { outcome: Outcome::Unroutable, source: None }
    }
}

/// What the broker said, or why it said nothing.
pub(crate) fn outcome(confirmed: amqp_client::Result<Confirmation>) -> Result<(), Fault> {
    match confirmed {
        Ok(Confirmation::Ack) => Ok(()),
        Ok(Confirmation::Nack) => Err(Fault { outcome: Outcome::Rejected, source: None }),
        Ok(Confirmation::Returned(returned)) => Err(Fault::returned(&returned)),
        Err(source) => Err(Fault { outcome: Outcome::Unknown, source: Some(Box::new(publishing(source))) }),
    }
}

fn publishing(source: amqp_client::Error) -> Error {
    Error::Broker { operation: "publish".to_owned(), source }
}
