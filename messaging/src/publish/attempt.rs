//! The result of one attempt to publish.

use std::sync::Arc;

use amqp_client::{Confirmation, Returned};

use crate::{
    error::{Error, Outcome},
    publish::publish_channel::{OpenPublishChannel, PublishChannel},
    retry::Retry,
};

/// The stage of an attempt when its time ends.
pub(crate) enum Progress {
    Opening,
    /// The attempt waits for room on this channel.
    Sending(Arc<OpenPublishChannel>),
    /// The attempt waits for the answer to the publish with this tag on this channel.
    Confirming(Arc<OpenPublishChannel>, u64),
}

impl Progress {
    pub(crate) fn out_of_time(&self, retry: &Retry, cause: Option<Box<Error>>) -> Fault {
        let (outcome, during) = match self {
            Progress::Opening => (Outcome::NotSent, "connecting"),
            Progress::Sending(_) => (Outcome::NotSent, "waiting for room to send"),
            Progress::Confirming(..) => (Outcome::Unknown, "waiting for the broker's confirm"),
        };
        let late = || Box::new(Error::Timeout { after: retry.elapsed(), during });
        Fault { source: Some(cause.unwrap_or_else(late)), ..Fault::new(outcome, None) }
    }
}

/// The reason why an attempt failed, and the fate of its message.
pub(crate) struct Fault {
    pub(crate) outcome: Outcome,
    pub(crate) source: Option<Box<Error>>,
    /// Whether another message is, or may be, at fault.
    pub(crate) is_of_another: bool,
    /// The publish channel that the message uses from now on, if it was or may have been refused.
    pub(crate) apart: Option<Arc<PublishChannel>>,
}

impl Fault {
    pub(crate) fn new(outcome: Outcome, source: Option<Error>) -> Self {
        Fault { outcome, source: source.map(Box::new), is_of_another: false, apart: None }
    }

    pub(crate) fn not_sent(source: impl Into<Error>) -> Self {
        Fault::new(Outcome::NotSent, Some(source.into()))
    }

    pub(crate) fn of_another(outcome: Outcome, source: Error) -> Self {
        Fault { is_of_another: true, ..Fault::new(outcome, Some(source)) }
    }

    fn returned(returned: &Returned) -> Self {
        tracing::debug!(code = %returned.code(), text = returned.text(), "the broker returned a mandatory message");
        Fault::new(Outcome::Unroutable, None)
    }
}

/// Returns the result of an attempt for the broker's answer.
pub(crate) fn outcome(confirmation: &Confirmation) -> Result<(), Fault> {
    match confirmation {
        Confirmation::Ack => Ok(()),
        Confirmation::Nack => Err(Fault::new(Outcome::Rejected, None)),
        Confirmation::Returned(returned) => Err(Fault::returned(returned)),
    }
}
