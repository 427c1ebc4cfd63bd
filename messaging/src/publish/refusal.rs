//! Finds the message at fault when the broker closes a channel that messages share.
//!
//! A refusal (406 for a size, a user id or an expiration, 403, 404) closes the channel, and names
//! no message. The broker processes publishes in order, so the culprit comes after the last that
//! was answered. If there are several candidates, none is told yet: they are published again in
//! smaller groups, each on its own channel, until the refused one is alone.

use std::sync::Arc;

use amqp_client::Error as Client;
use amqp_codec::{Arguments as _, method::basic};

use crate::{
    error::{Error, Outcome},
    publish::{
        attempt::Fault,
        publish_channel::{OpenPublishChannel, PublishChannel},
    },
};

/// How many groups are made of the candidates.
const GROUPS: u64 = 16;

/// Returns the fault of a message that was not sent, because its channel had ended or because it
/// cannot be sent at all.
pub(crate) fn not_sent(
    publish_channel: &PublishChannel,
    open: &Arc<OpenPublishChannel>,
    source: Client,
) -> Fault {
    if is_local(&source) {
        return Fault::not_sent(publishing(source));
    }
    publish_channel.give_up(open);
    if is_of_another_request(&source) {
        return Fault::of_another(Outcome::NotSent, beside_request(source));
    }
    if is_of_a_publish(&source) {
        return Fault::of_another(Outcome::NotSent, beside("another message", source));
    }
    Fault::not_sent(publishing(source))
}

/// Returns the fault of the message with this tag, whose channel ended before it was answered.
pub(crate) fn unanswered(
    publish_channel: &PublishChannel,
    open: &Arc<OpenPublishChannel>,
    tag: u64,
    source: Client,
) -> Fault {
    publish_channel.give_up(open);
    if is_of_another_request(&source) {
        return Fault::of_another(Outcome::Unknown, beside_request(source));
    }
    if !is_of_a_publish(&source) {
        return Fault::new(Outcome::Unknown, Some(publishing(source)));
    }
    let suspects = open.publisher.unanswered();
    let count = suspects.end.saturating_sub(suspects.start);
    let Some(rank) = tag.checked_sub(suspects.start) else {
        return Fault::of_another(Outcome::Unknown, beside("another message", source));
    };
    let apart = publish_channel.group(open, rank * GROUPS / count.max(1));
    if count > 1 {
        tracing::debug!(%source, count, "the broker refused one of these messages; they are published again in groups");
        let beside = beside(&format!("one of {count} messages"), source);
        return Fault { apart: Some(apart), ..Fault::of_another(Outcome::Unknown, beside) };
    }
    let outcome = if names_publish(&source) { Outcome::Rejected } else { Outcome::Unknown };
    Fault { apart: Some(apart), ..Fault::new(outcome, Some(publishing(source))) }
}

/// Whether the broker closed the channel for a publish, or does not name the method.
fn is_of_a_publish(error: &Client) -> bool {
    let says_nothing = matches!(error, Client::ChannelClosed { close, .. } if close.method.is_none());
    says_nothing || names_publish(error)
}

fn names_publish(error: &Client) -> bool {
    matches!(error, Client::ChannelClosed { close, .. } if close.method == Some(basic::Publish::ID))
}

/// Tells whether the broker closed the connection because of another request. No publish is one for
/// which brokers do so.
fn is_of_another_request(error: &Client) -> bool {
    let lost = if let Client::PublishLost(source) = error { source } else { error };
    let Client::ConnectionClosed(close) = lost else { return false };
    close.method.is_some_and(|method| method != basic::Publish::ID)
}

/// Whether the message cannot be sent on any channel, so that this one is not affected.
fn is_local(error: &Client) -> bool {
    matches!(error, Client::Invalid(_) | Client::PublishTooLarge { .. })
}

fn publishing(source: Client) -> Error {
    Error::Broker { operation: "publish".to_owned(), source }
}

fn beside(culprit: &str, source: Client) -> Error {
    let operation = format!("publish on a channel that the broker closed because of {culprit}");
    Error::Broker { operation, source }
}

fn beside_request(source: Client) -> Error {
    let operation = "publish on a connection that the broker closed because of another request";
    Error::Broker { operation: operation.to_owned(), source }
}
