//! Settling a message within the operation that it is handled in.

use amqp_client::Result;

use crate::telemetry::observer::Operation;

/// Settles a message.
///
/// # On drop
/// The message stays unsettled.
#[derive(Debug)]
pub(crate) struct Acker {
    acker: amqp_client::Acker,
    operation: Operation,
}

impl Acker {
    /// Returns what settles a message that is handled in this operation.
    pub(crate) fn new(acker: amqp_client::Acker, operation: Operation) -> Self {
        Acker { acker, operation }
    }

    /// Returns the operation in which the message is handled.
    pub(crate) fn operation(&self) -> &Operation {
        &self.operation
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.acker.is_stale()
    }

    pub(crate) async fn ack(self) -> Result<()> {
        let settling = self.operation.settle("ack");
        settled(&settling, self.acker.ack().await)
    }

    pub(crate) async fn nack(self, requeue: bool) -> Result<()> {
        let settling = self.operation.settle("nack");
        settled(&settling, self.acker.nack(requeue).await)
    }

    pub(crate) async fn reject(self, requeue: bool) -> Result<()> {
        let settling = self.operation.settle("reject");
        settled(&settling, self.acker.reject(requeue).await)
    }
}

/// Notes the result of settling a message.
pub(crate) fn settled(settling: &Operation, result: Result<()>) -> Result<()> {
    settling.end_as(result.is_err().then_some("broker"));
    result
}
