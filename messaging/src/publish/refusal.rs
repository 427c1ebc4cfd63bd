//! Whose the fault is when the broker closes a channel that messages share.
//!
//! A refusal (406 for a size, a user id or an expiration, 403, 404) ends the channel, and names no
//! message. The broker takes publishes in their order, so it was one behind the last that has been
//! answered. Where those are several, none of them is told: they are published again in smaller
//! groups, each on a channel of its own, and at last the one that is refused is alone.

use std::sync::Arc;

use amqp_client::Error as Client;
use amqp_codec::{Arguments as _, method::basic};

use crate::{
    error::{Error, Outcome},
    publish::{
        attempt::Fault,
        lane::{Lane, OpenLane},
    },
};

/// So many groups are made of the messages that a channel may have been closed for.
const GROUPS: u64 = 16;

/// What it means for a message that its channel had ended before it was sent, or that it could not
/// be sent at all.
pub(crate) fn not_sent(lane: &Lane, open: &Arc<OpenLane>, source: Client) -> Fault {
    if is_local(&source) {
        return Fault::not_sent(publishing(source));
    }
    lane.give_up(open);
    if is_of_a_publish(&source) {
        return Fault::of_another(Outcome::NotSent, beside("another message", source));
    }
    Fault::not_sent(publishing(source))
}

/// What it means for the message with this tag that its channel ended before it was answered.
pub(crate) fn unanswered(lane: &Lane, open: &Arc<OpenLane>, tag: u64, source: Client) -> Fault {
    lane.give_up(open);
    if !is_of_a_publish(&source) {
        return Fault::new(Outcome::Unknown, Some(publishing(source)));
    }
    let suspects = open.publisher.unanswered();
    let count = suspects.end.saturating_sub(suspects.start);
    let Some(rank) = tag.checked_sub(suspects.start) else {
        return Fault::of_another(Outcome::Unknown, beside("another message", source));
    };
    let apart = lane.group(open, rank * GROUPS / count.max(1));
    if count > 1 {
        tracing::debug!(%source, count, "one of these was refused; they are tried apart");
        let beside = beside(&format!("one of {count} messages"), source);
        return Fault { apart: Some(apart), ..Fault::of_another(Outcome::Unknown, beside) };
    }
    let outcome = if names_publish(&source) { Outcome::Rejected } else { Outcome::Unknown };
    Fault { apart: Some(apart), ..Fault::new(outcome, Some(publishing(source))) }
}

/// Tells whether the broker closed the channel for a publish, or does not say for what.
fn is_of_a_publish(error: &Client) -> bool {
    let says_nothing = matches!(error, Client::ChannelClosed { close, .. } if close.method.is_none());
    says_nothing || names_publish(error)
}

fn names_publish(error: &Client) -> bool {
    matches!(error, Client::ChannelClosed { close, .. } if close.method == Some(basic::Publish::ID))
}

/// Tells whether the message cannot be sent on any channel: this one is as good as it was.
fn is_local(error: &Client) -> bool {
    matches!(error, Client::Invalid(_) | Client::PublishTooLarge { .. })
}

fn publishing(source: Client) -> Error {
    Error::Broker { operation: "publish".to_owned(), source }
}

fn beside(culprit: &str, source: Client) -> Error {
    let operation = format!("publish on a channel that the broker closed for {culprit}");
    Error::Broker { operation, source }
}
