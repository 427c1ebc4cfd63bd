//! How one attempt to publish ended.

use std::sync::Arc;

use amqp_client::{Confirmation, Returned};

use crate::{
    error::{Error, Outcome},
    publish::lane::{Lane, OpenLane},
    retry::Retry,
};

/// How far an attempt is, for when its time runs out.
pub(crate) enum Progress {
    Opening,
    /// On this channel, when there is room.
    Sending(Arc<OpenLane>),
    /// On this channel, which owes the answer to the publish with this tag.
    Confirming(Arc<OpenLane>, u64),
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

/// Why an attempt failed, and what became of the message in it.
pub(crate) struct Fault {
    pub(crate) outcome: Outcome,
    pub(crate) source: Option<Box<Error>>,
    /// It is the fault of another message, or may be.
    pub(crate) is_of_another: bool,
    /// Where the message is tried from now on, when it was refused or may have been.
    pub(crate) apart: Option<Arc<Lane>>,
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
        tracing::debug!(code = %returned.code(), text = returned.text(), "a mandatory message came back");
        Fault::new(Outcome::Unroutable, None)
    }
}

/// What the broker said.
pub(crate) fn outcome(confirmation: &Confirmation) -> Result<(), Fault> {
    match confirmation {
        Confirmation::Ack => Ok(()),
        Confirmation::Nack => Err(Fault::new(Outcome::Rejected, None)),
        Confirmation::Returned(returned) => Err(Fault::returned(returned)),
    }
}
