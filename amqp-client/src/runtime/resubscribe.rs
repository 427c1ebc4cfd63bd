//! Restarts a consumer that the broker cancelled because its queue was deleted or its node went
//! down.

use std::{pin::Pin, sync::Arc};

use amqp_codec::{
    ReplyCode, Report, Request, ShortString,
    method::{exchange, queue},
};
use tokio::time::sleep;
use tracing::debug;

use crate::{
    error::{Error, Result},
    proto::{
        consuming::{inbox::Inbox, subscription::Subscription},
        registry::{RecordedBinding, RecordedQueue},
    },
    runtime::backoff::Backoff,
    runtime::handles::ChannelHandle,
};

/// The restart that a consumer waits for; it returns the new inbox.
pub(crate) type Resubscribing = Pin<Box<dyn Future<Output = Result<Arc<Inbox>>> + Send>>;

/// Declares the queue as it was recorded, or waits until it exists again, and starts the consumer.
///
/// # Errors
/// Why the consumer's channel has ended.
pub(crate) fn resubscribe(
    channel: Arc<ChannelHandle>,
    subscription: Subscription,
    backoff: Backoff,
) -> Resubscribing {
    Box::pin(async move {
        let mut subscription = subscription;
        let mut attempt = 0;
        loop {
            attempt += 1;
            sleep(backoff.pause(attempt)).await;
            if let Some(reason) = channel.status.ended.get() {
                return Err(reason.clone());
            }
            match there_again(&channel, &subscription).await {
                Ok(name) => subscription.consume.queue = name,
                // Permissions are missing, so every attempt would fail.
                Err(error) if error.reply_code() == Some(ReplyCode::ACCESS_REFUSED) && !error.is_taken() => {
                    return Err(error);
                }
                Err(error) => {
                    let queue = subscription.consume.queue.to_string();
                    debug!(attempt, queue, error = %Report(&error), "the queue does not exist yet; another attempt follows");
                    continue;
                }
            }
            match channel.consume(subscription.clone(), channel.connection.call_timeout).await {
                // As above: the channel is opened again, and would be closed again.
                Err(error) if error.reply_code() == Some(ReplyCode::ACCESS_REFUSED) && !error.is_taken() => {
                    return Err(error);
                }
                // The queue is gone once more, with the connection or without.
                Err(error) if channel.status.ended.get().is_none() => {
                    debug!(attempt, error = %Report(&error), "cannot consume from the queue yet; another attempt follows");
                }
                consuming => return consuming,
            }
        }
    })
}

/// Returns the queue's name, once it exists. The check uses a separate channel, because a refusal
/// closes it.
async fn there_again(of: &ChannelHandle, subscription: &Subscription) -> Result<ShortString> {
    let name = &subscription.consume.queue;
    let channel = of.connection.open_temporary_channel().await?;
    let recorded = channel.with(|engine, _| engine.registry().and_then(|registry| registry.queue(name)));
    let place = subscription.place.as_ref().filter(|place| place.next().is_some());
    let Some((RecordedQueue { declare, server_named }, bindings)) = recorded.filter(|_| place.is_none())
    else {
        let passive = queue::Declare { queue: name.clone(), passive: true, ..Default::default() };
        let found = call(&channel, passive).await.map(|ok| ok.queue.detach());
        if let (Some(place), Err(error)) = (place, &found)
            && has_gone(error)
        {
            // A new queue of this name is a different stream.
            place.forget();
        }
        return found;
    };
    let queue = if server_named { ShortString::EMPTY } else { name.clone() };
    let ok = call(&channel, queue::Declare { queue, no_wait: false, ..declare }).await?;
    let new = ok.queue.detach();
    if new != *name {
        channel.with(|engine, _| engine.rename_queue(name, &new));
    }
    for binding in bindings {
        match binding {
            RecordedBinding::Queue(bind) => {
                call(&channel, queue::Bind { queue: new.clone(), no_wait: false, ..bind }).await.map(drop)?;
            }
            RecordedBinding::Exchange(bind) => {
                call(&channel, exchange::Bind { no_wait: false, ..bind }).await.map(drop)?;
            }
        }
    }
    Ok(new)
}

/// Tells whether the queue does not exist. RabbitMQ also answers with this code, in other words,
/// for a queue whose node is down.
fn has_gone(error: &Error) -> bool {
    let close = error.close().filter(|close| close.code == ReplyCode::NOT_FOUND);
    close.is_some_and(|close| !close.text.contains("home node"))
}

async fn call<R: Request>(channel: &ChannelHandle, request: R) -> Result<R::Reply> {
    channel.call(request, channel.connection.call_timeout).await
}
