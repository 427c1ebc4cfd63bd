//! Consumers that wait until the broker gives up what it reserves for a lost connection.

use amqp_codec::ShortString;

use super::Channel;
use crate::{
    error::Result,
    proto::{calls::CallId, link::Link},
};

impl Channel {
    /// Restarts a consumer that has waited; returns the call to wait for, or `None` if it does not
    /// wait any more. If the broker refuses before the consumer [has
    /// started](Self::consumer_resumed), the channel is reopened.
    pub(crate) fn resume_held_consumer(
        &mut self,
        link: &mut Link,
        tag: &ShortString,
    ) -> Result<Option<CallId>> {
        let consumer = self.consumers.get_mut(tag);
        if !consumer.is_some_and(|consumer| std::mem::take(&mut consumer.is_held)) {
            return Ok(None);
        }
        let call = self.resume_consumer(link, tag)?;
        self.resumes_held = call.is_some();
        Ok(call)
    }

    /// Notes that the consumer has started.
    pub(crate) fn consumer_resumed(&mut self) {
        self.resumes_held = false;
    }
}
