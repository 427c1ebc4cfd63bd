//! The handler of a worker's user for messages that cannot be decoded.

use std::{panic::AssertUnwindSafe, sync::Arc};

use amqp_client::Received;
use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{
    error::{Malformed, words},
    serialize::BoxError,
};

/// A handler with its types erased; its error is a text.
#[derive(Clone)]
pub(crate) struct OnUndecodable(Arc<dyn Fn(Received, Malformed) -> Outcome + Send + Sync>);

type Outcome = BoxFuture<'static, Result<(), String>>;

impl OnUndecodable {
    pub(crate) fn new<H, Fut, E>(handler: H) -> Self
    where
        H: Fn(Received, Malformed) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        OnUndecodable(Arc::new(move |received, reason| {
            let handling = handler(received, reason);
            async move { handling.await.map_err(words) }.boxed()
        }))
    }

    /// Calls the handler, which has taken the message over when it succeeds.
    ///
    /// # Errors
    /// The reason why the handler failed or panicked.
    pub(crate) async fn handle(&self, received: Received, reason: Malformed) -> Result<(), String> {
        // The handler is called inside the block, so that a panic before its first await is caught
        // as well.
        let handling = AssertUnwindSafe(async { (self.0)(received, reason).await }).catch_unwind();
        handling.await.unwrap_or_else(|_| Err("the handler of undecodable messages panicked".to_owned()))
    }
}
