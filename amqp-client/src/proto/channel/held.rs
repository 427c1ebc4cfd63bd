//! Consumers that wait until the broker lets go of what it keeps for a connection that was lost.

use amqp_codec::ShortString;

use super::Channel;
use crate::{
    error::Result,
    proto::{calls::CallId, link::Link},
};

impl Channel {
    /// Begins a consumer that has waited; the call to wait for, `None` when it waits no more. Until
    /// it [has begun](Self::consumer_resumed), a refusal of it has the channel opened again.
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

    /// It has begun.
    pub(crate) fn consumer_resumed(&mut self) {
        self.resumes_held = false;
    }
}
