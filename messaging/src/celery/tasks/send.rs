//! Sends a task.

use serde_json::Value;

use crate::{
    celery::tasks::{
        async_result::AsyncResult,
        message::{Followers, Outgoing, after},
        signature::Signature,
    },
    error::Error,
};

/// The part of a task that whoever sends it decides.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) id: String,
    /// The id of the group that it belongs to, and its place there.
    pub(super) group: Option<(String, i64)>,
    /// The tasks that follow in its chain, the next one last.
    pub(super) chain: Vec<Value>,
    /// The last task of its chain, and whether its result is ignored.
    pub(super) last: Option<Box<(String, bool)>>,
}

impl Envelope {
    pub(super) fn new(id: String) -> Self {
        Envelope { id, group: None, chain: Vec::new(), last: None }
    }
}

impl Signature {
    /// Sends it, and returns what waits for its result. The queue is declared if it is not there,
    /// unless [`declare`](Self::declare) says otherwise.
    ///
    /// # Errors
    /// Arguments that have no JSON form; those of [`Producer::ensure_publish`], after its retries.
    ///
    /// # Cancel safety
    /// It may have been sent.
    ///
    /// [`Producer::ensure_publish`]: crate::Producer::ensure_publish
    pub async fn send<T>(&self) -> Result<AsyncResult<T>, Error> {
        self.dispatch(Envelope::new(self.sent_id())).await
    }

    pub(super) async fn dispatch<T>(&self, envelope: Envelope) -> Result<AsyncResult<T>, Error> {
        let waiting = match envelope.last.as_deref() {
            // The result that counts is that of the last task of a chain.
            Some((last, is_ignored)) => self.app.expect(last, *is_ignored).await?,
            None => self.app.expect(&envelope.id, self.ignores_result).await?,
        };
        let id = envelope.last.as_ref().map_or(&envelope.id, |last| &last.0).clone();
        self.app.publish(&self.outgoing(envelope)?).await?;
        Ok(AsyncResult::new(self.app.clone(), id, waiting))
    }

    /// Returns the task as it is sent.
    fn outgoing(&self, envelope: Envelope) -> Result<Outgoing, Error> {
        let (args, kwargs) = self.arguments()?;
        let [callbacks, errbacks] = self.followers()?;
        let chain = Some(envelope.chain).filter(|chain| !chain.is_empty()).map_or(Value::Null, Value::Array);
        let reply_to = self.app.reply_to(self.ignores_result);
        let (group, group_index) = envelope.group.unzip();
        let (root_id, parent_id) = self.app.ancestors().cloned().unzip();
        Ok(Outgoing {
            name: self.name.clone(),
            id: envelope.id,
            args: args.to_vec(),
            kwargs: kwargs.clone(),
            followers: Followers { callbacks, errbacks, chain, chord: Value::Null },
            queue: self.queue_name().to_owned(),
            declares: self.declares,
            priority: self.priority,
            eta: self.eta.or_else(|| self.countdown.map(after)),
            expires: self.expires.map(after),
            retries: 0,
            time_limits: self.time_limits,
            group,
            group_index,
            root_id,
            parent_id,
            ignores_result: self.app.ignores(self.ignores_result),
            reply_to,
            kept: Vec::new(),
        })
    }
}
