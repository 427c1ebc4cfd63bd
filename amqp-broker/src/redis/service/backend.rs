//! The backend on Redis.

use std::sync::Arc;

use super::{link::RedisLink, metrics::RedisMetrics, shared::Shared};
use crate::{
    backend::{Backend, BackendError, Wakes},
    redis::options::RedisOptions,
};

/// Messages on the Redis that kombu and Celery use, for the AMQP clients of a
/// [virtual host](crate::BrokerBuilder::backend).
///
/// It connects to Redis when the first client connects, with one connection for the commands of all
/// clients and one that Redis announces messages on. When a connection is lost, all clients are
/// disconnected, as from a lost broker; the next that connects makes new ones. Clones share the
/// connections. The connections are closed when all clones and clients are gone.
///
/// ```no_run
/// use amqp_broker::redis::{Redis, RedisOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::new(RedisOptions::parse("redis://localhost:6379/0")?);
/// # let _ = redis;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Redis {
    shared: Arc<Shared>,
}

impl Redis {
    /// Creates a backend. It connects when it is needed.
    pub fn new(options: RedisOptions) -> Self {
        Redis { shared: Arc::new(Shared::new(options)) }
    }

    /// Counts of what it has done so far. This takes no lock.
    ///
    /// ```
    /// # use amqp_broker::redis::{Redis, RedisOptions};
    /// let redis = Redis::new(RedisOptions::default());
    /// assert_eq!(redis.metrics().undecodable, 0);
    /// ```
    #[must_use]
    pub fn metrics(&self) -> RedisMetrics {
        self.shared.metrics()
    }
}

impl Backend for Redis {
    type Link = RedisLink;

    fn name(&self) -> &str {
        "redis"
    }

    async fn open(&self, wakes: Wakes) -> Result<RedisLink, BackendError> {
        let hub = self.shared.hub().await?;
        Shared::start_clearing(&self.shared);
        Ok(RedisLink::new(Arc::clone(&self.shared), hub, wakes))
    }
}
