//! The end of a channel or of the connection.

use amqp_codec::{
    MethodId,
    method::{channel, connection},
};

use crate::{backend::Link, shown::shown};

use super::{
    fault::Fault,
    session::{Phase, Session},
};

impl<L: Link> Session<L> {
    /// Closes the channel, or the connection, that the fault belongs to.
    pub(super) async fn fail(&mut self, number: u16, fault: Fault, method: MethodId) {
        if self.phase != Phase::Running {
            return;
        }
        if fault.closes_connection || number == 0 {
            self.close(&fault, method);
            return;
        }
        let (connection, error) = (&self.terms.name, shown(fault.text.to_text()).to_string());
        tracing::debug!(connection, channel = number, error, "channel closed");
        if let Some(channel) = self.channel(number) {
            channel.is_closing = true;
            let Fault { code, text, .. } = fault;
            let MethodId { class_id, method_id } = method;
            let close = channel::Close { reply_code: code.0, reply_text: text, class_id, method_id };
            self.output.method(number, &close);
            self.end_channel(number).await;
        }
    }

    /// Ends what a channel has: its consumers, its unsettled deliveries, its incomplete content.
    pub(super) async fn end_channel(&mut self, number: u16) {
        self.pending.retain(|pending| pending.channel != number);
        self.requeue_all(number);
        let mut ended = Ok(());
        for tag in self.consumers.of_channel(number) {
            ended = ended.and(self.end_consumer(number, &tag).await);
        }
        let ended = ended.and(self.flush_settled().await);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.incoming.clear();
            channel.arrived = 0;
        }
        if let Err(fault) = ended {
            self.close(&fault, MethodId::default());
        }
    }

    /// Closes the connection.
    pub(super) fn close(&mut self, fault: &Fault, method: MethodId) {
        if self.phase != Phase::Running {
            return;
        }
        let Fault { code, text, .. } = fault;
        self.why = Some(format!("the broker closed it: {} {text}", code.0));
        let MethodId { class_id, method_id } = method;
        let close = connection::Close { reply_code: code.0, reply_text: text.clone(), class_id, method_id };
        self.output.method(0, &close);
        self.phase = Phase::Closing;
    }

    /// Ends what the connection has: its channels, its consumers, its exclusive queues. What a lost
    /// backend does not take any more is its own to clean up.
    pub(super) async fn leave(&mut self) {
        self.pending.clear();
        if let Err(fault) = self.leave_everything().await {
            let (connection, error) = (&self.terms.name, fault.text.to_text());
            tracing::debug!(connection, error = shown(error), "the connection could not be ended in order");
        }
        for queue in self.registry.owned(self.number) {
            self.registry.forget(&queue);
        }
        self.channels.clear();
    }

    /// Ends the connection in the backend.
    pub(super) async fn end(mut self) {
        self.leave().await;
        self.link.close().await;
    }

    async fn leave_everything(&mut self) -> Result<(), Fault> {
        let numbers: Vec<_> = self.channels.keys().copied().collect();
        let mut left = Ok(());
        for number in numbers {
            self.requeue_all(number);
            for tag in self.consumers.of_channel(number) {
                left = left.and(self.end_consumer(number, &tag).await);
            }
        }
        left = left.and(self.flush_settled().await);
        for queue in self.registry.owned(self.number) {
            left = left.and(self.link.delete_queue(&queue).await.map(drop).map_err(Fault::from));
        }
        left
    }
}
