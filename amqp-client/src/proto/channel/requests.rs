//! Methods that are sent on a channel.

use amqp_codec::{
    Method,
    method::{basic, channel},
};

use super::{Channel, Due, Phase};
use crate::{
    error::Result,
    proto::{calls::CallId, expects::Expects, link::Link, registry::Registry},
};

impl Channel {
    /// Sends a method that will be answered. The answer goes to `call`; with `None` it is
    /// discarded.
    pub(crate) fn request(
        &mut self,
        link: &mut Link,
        mut method: Method,
        mut expects: Expects,
        call: Option<CallId>,
    ) -> Result<()> {
        self.flush_acks(link);
        self.name_queue(link, &mut method, &mut expects);
        let request = to_record(link, &method);
        let qos = match &method {
            Method::Basic(basic::Method::Qos(qos)) if qos.global => Some(qos.clone()),
            _ => None,
        };
        link.send_method(self.id, method)?;
        self.qos = qos.or(self.qos.take());
        if matches!(expects, Expects::Recover) {
            self.acks.forget();
            self.recovering += 1;
            self.drain_waiters.wake_all(&mut link.wakes);
        }
        self.due.push_back(Due { call, expects, request });
        Ok(())
    }

    /// Sends a method that is not answered. If the broker refuses it, the channel ends.
    pub(crate) fn send_no_wait(&mut self, link: &mut Link, method: Method) -> Result<()> {
        self.flush_acks(link);
        let request = to_record(link, &method);
        self.declared_no_wait(&method);
        link.send_method(self.id, method)?;
        if let (Some(registry), Some(mut request)) = (&mut link.registry, request) {
            self.name_answered_queue(&mut request);
            registry.apply(request, None);
        }
        Ok(())
    }

    /// Asks the broker to close the channel.
    pub(crate) fn close(&mut self, link: &mut Link, call: Option<CallId>) {
        let close = channel::Close { reply_code: 200, ..Default::default() };
        // A close without text always fits.
        if self.request(link, close.into(), Expects::Close, call).is_ok() {
            self.phase = Phase::Closing;
        }
    }
}

/// Returns the method to be recorded in the registry when it succeeds.
fn to_record(link: &Link, method: &Method) -> Option<Method> {
    (link.registry.is_some() && Registry::concerns(method)).then(|| method.clone())
}
