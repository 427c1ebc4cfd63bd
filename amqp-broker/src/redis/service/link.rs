//! What one AMQP connection sees of Redis.

use std::sync::Arc;

use super::shared::Shared;
use crate::{
    backend::{
        BackendError, Binding, Claimed, ExchangeDeclaration, Link, Message, Published, QueueDeclaration,
        QueueOrder, Settlement, Source, Wakes,
    },
    redis::{
        claims::{self, RedisClaim},
        hub::Hub,
        owners, publish, topology,
    },
};

/// The view of one AMQP connection. When it is dropped, its claimed messages return to their queues
/// as soon as Redis can be reached.
#[derive(Debug)]
pub struct RedisLink {
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    number: u64,
    wakes: Wakes,
}

impl RedisLink {
    pub(super) fn new(shared: Arc<Shared>, hub: Arc<Hub>, wakes: Wakes) -> Self {
        let number = hub.link_number();
        hub.arrivals.loss.tell(number, wakes.clone());
        RedisLink { shared, hub, number, wakes }
    }

    /// The hub, unless it is lost.
    fn hub(&self) -> Result<&Hub, BackendError> {
        match self.hub.arrivals.loss.why() {
            None => Ok(&self.hub),
            Some(why) => Err(why),
        }
    }
}

/// The periodic work, at once.
#[cfg(test)]
impl RedisLink {
    pub(crate) async fn renew(&self) -> Result<(), BackendError> {
        topology::renew(self.hub()?).await
    }

    pub(crate) async fn sweep_bindings(&self) -> Result<(), BackendError> {
        topology::sweep_bindings(self.hub()?).await
    }

    /// Returns lapsed claims; returns how many.
    pub(crate) async fn restore(&self) -> Result<usize, BackendError> {
        let restored = claims::restore_once(self.hub()?, &claims::Unroutable::default()).await?;
        Ok(restored.unwrap_or_default())
    }

    pub(crate) async fn check_health(&self) -> Result<(), BackendError> {
        self.hub()?.check_health().await
    }
}

impl Drop for RedisLink {
    fn drop(&mut self) {
        self.shared.inherit(&self.hub, self.number);
    }
}

impl Link for RedisLink {
    type Claim = RedisClaim;

    fn queue_order(&self) -> QueueOrder {
        self.hub.options.queue_order_strategy
    }

    async fn declare_exchange(&mut self, exchange: &ExchangeDeclaration) -> Result<(), BackendError> {
        topology::declare_exchange(self.hub()?, exchange).await
    }

    async fn find_exchange(&mut self, name: &str) -> Result<(), BackendError> {
        topology::find_exchange(self.hub()?, name).await
    }

    async fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<(), BackendError> {
        topology::delete_exchange(self.hub()?, name, if_unused).await
    }

    async fn declare_queue(&mut self, queue: &QueueDeclaration) -> Result<u32, BackendError> {
        topology::declare_queue(self.hub()?, self.number, queue).await
    }

    async fn find_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        topology::find_queue(self.hub()?, name).await
    }

    async fn delete_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        topology::delete_queue(self.hub()?, name).await
    }

    async fn leave_queue(&mut self, name: &str) -> Result<(), BackendError> {
        topology::leave_queue(self.hub()?, self.number, name).await
    }

    async fn purge_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        topology::purge_queue(self.hub()?, name).await
    }

    async fn bind(&mut self, binding: &Binding) -> Result<(), BackendError> {
        topology::bind(self.hub()?, self.number, binding).await
    }

    async fn unbind(&mut self, binding: &Binding) -> Result<(), BackendError> {
        topology::unbind(self.hub()?, binding).await
    }

    async fn check_access(&mut self, queue: &str) -> Result<(), BackendError> {
        topology::check_access(self.hub()?, self.number, queue).await
    }

    async fn add_consumer(&mut self, queue: &str, exclusive: bool) -> Result<(), BackendError> {
        owners::add_consumer(self.hub()?, self.number, queue, exclusive).await
    }

    async fn remove_consumer(&mut self, queue: &str) -> Result<(), BackendError> {
        let hub = self.hub()?;
        match hub.leases.remove_consumer(self.number, queue) {
            true => owners::remove_consumers(hub, &hub.holder, queue, 1).await,
            false => Ok(()),
        }
    }

    async fn count_consumers(&mut self, queue: &str) -> Result<Option<u32>, BackendError> {
        owners::count_consumers(self.hub()?, queue).await.map(Some)
    }

    async fn publish(&mut self, messages: &[Message]) -> Result<Vec<Published>, BackendError> {
        publish::publish(self.hub()?, messages).await
    }

    async fn watch(&mut self, queue: &str) -> Result<(), BackendError> {
        let hub = self.hub()?;
        topology::find_queue(hub, queue).await?;
        hub.arrivals.fanouts.join(self.number, queue);
        hub.arrivals.watches.watch(queue, hub.keys.lists(queue), self.number, self.wakes.clone());
        Ok(())
    }

    async fn unwatch(&mut self, queue: &str) -> Result<(), BackendError> {
        self.hub()?.arrivals.watches.unwatch(queue, self.number);
        Ok(())
    }

    async fn claim(&mut self, sources: &[Source<'_>]) -> Result<Vec<Claimed<RedisClaim>>, BackendError> {
        let hub = self.hub()?;
        for source in sources {
            // A queue that is consumed was checked when its consumer began.
            if !hub.arrivals.watches.is_watched(source.queue, self.number) {
                topology::check_known(hub, self.number, source.queue).await?;
            }
        }
        let claimed = claims::claim(hub, self.number, sources).await;
        if claimed.is_err() {
            self.shared.return_pending(&self.hub, self.number);
        }
        claimed
    }

    async fn settle(&mut self, claims: Vec<(RedisClaim, Settlement)>) -> Result<usize, BackendError> {
        claims::settle(self.hub()?, self.number, claims).await
    }

    async fn close(self) {
        self.shared.clear_up_after(&self.hub, self.number).await;
    }
}
