//! The answers that calls of a channel wait for.

use std::sync::Arc;

use amqp_codec::{
    Arguments, Method, MethodId, Request, ShortString,
    method::{basic, channel, confirm},
};

use crate::proto::consuming::{inbox::Inbox, subscription::Subscription};

/// The kind of an answer, and what it changes in the channel.
pub(crate) enum Expects {
    Method(MethodId, &'static str),
    Get {
        no_ack: bool,
    },
    Consume(Box<Subscription>, Arc<Inbox>),
    /// As `Consume`, for an existing consumer.
    Resume {
        tag: ShortString,
    },
    Cancel {
        tag: ShortString,
    },
    ConfirmSelect,
    /// `tx.select`, commit or rollback: a transaction begins.
    Transaction(MethodId, &'static str),
    Recover,
    Close,
}

impl Expects {
    /// Returns the method that answers `R`.
    pub(crate) fn reply_to<R: Request>() -> Self {
        Expects::Method(R::Reply::ID, R::Reply::NAME)
    }

    /// As [`reply_to`](Self::reply_to), for a method with which a transaction begins.
    pub(crate) fn transaction<R: Request>() -> Self {
        Expects::Transaction(R::Reply::ID, R::Reply::NAME)
    }

    pub(crate) fn is_answered_by(&self, method: &Method) -> bool {
        match (self, method) {
            (Expects::Method(id, _) | Expects::Transaction(id, _), method) => method.id() == *id,
            (Expects::Get { .. }, Method::Basic(method)) => {
                matches!(method, basic::Method::GetOk(_) | basic::Method::GetEmpty(_))
            }
            (Expects::Consume(subscription, _), Method::Basic(basic::Method::ConsumeOk(ok))) => {
                ok.consumer_tag == *subscription.tag()
            }
            (Expects::Resume { tag }, Method::Basic(basic::Method::ConsumeOk(ok))) => ok.consumer_tag == *tag,
            (Expects::Cancel { tag }, Method::Basic(basic::Method::CancelOk(ok))) => ok.consumer_tag == *tag,
            (Expects::Recover, Method::Basic(basic::Method::RecoverOk(_))) => true,
            (Expects::ConfirmSelect, Method::Confirm(confirm::Method::SelectOk(_))) => true,
            (Expects::Close, Method::Channel(channel::Method::CloseOk(_))) => true,
            _ => false,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Expects::Method(_, name) | Expects::Transaction(_, name) => name,
            Expects::Get { .. } => "basic.get-ok or basic.get-empty",
            Expects::Consume(..) | Expects::Resume { .. } => basic::ConsumeOk::NAME,
            Expects::Cancel { .. } => basic::CancelOk::NAME,
            Expects::ConfirmSelect => confirm::SelectOk::NAME,
            Expects::Recover => basic::RecoverOk::NAME,
            Expects::Close => channel::CloseOk::NAME,
        }
    }
}
