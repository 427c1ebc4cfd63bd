//! Channels to publish on, each with what has been declared on it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use amqp_client::{Channel, Exchange, Publisher};
use parking_lot::Mutex;

use crate::{entity::Entities, error::Error, link::Link};

/// The lanes of a transport: producers of one exchange share theirs, so that many short-lived ones cost no more channels than
/// there are exchanges.
#[derive(Clone)]
pub(crate) struct Lanes(Arc<Pool>);

struct Pool {
    link: Link,
    /// By the exchange's whole definition.
    by_exchange: Mutex<HashMap<String, Weak<Lane>>>,
}

/// The way to one exchange: a channel that is opened on first use, and again when it has ended.
pub(crate) struct Lane {
    link: Link,
    pub(crate) exchange: String,
    entities: Entities,
    open: Mutex<Option<Arc<OpenLane>>>,
    /// Held while it opens: all who wait get the one channel.
    opening: tokio::sync::Mutex<()>,
}

pub(crate) struct OpenLane {
    channel: Channel,
    pub(crate) publisher: Publisher,
    declared: Mutex<HashSet<String>>,
}

/// Entities that a message needs besides the exchange, under a name that tells them from others.
pub(crate) struct Required<'a> {
    pub(crate) name: &'a str,
    pub(crate) entities: &'a (dyn Fn() -> Entities + Sync),
}

impl Lanes {
    pub(crate) fn new(link: Link) -> Self {
        Lanes(Arc::new(Pool { link, by_exchange: Mutex::default() }))
    }

    /// A lane that nobody else gets.
    pub(crate) fn apart(&self, exchange: Exchange) -> Arc<Lane> {
        Arc::new(Lane::new(self.0.link.clone(), exchange))
    }

    pub(crate) fn of(&self, exchange: Exchange) -> Arc<Lane> {
        let mut lanes = self.0.by_exchange.lock();
        let definition = format!("{exchange:?}");
        if let Some(lane) = lanes.get(&definition).and_then(Weak::upgrade) {
            return lane;
        }
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::new(Lane::new(self.0.link.clone(), exchange));
        lanes.insert(definition, Arc::downgrade(&lane));
        lane
    }
}

impl Lane {
    fn new(link: Link, exchange: Exchange) -> Self {
        Lane {
            link,
            exchange: exchange.name().to_owned(),
            entities: Entities { exchanges: vec![exchange], ..Entities::default() },
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Its channel, opened when there is none that works.
    pub(crate) async fn open(&self) -> Result<Arc<OpenLane>, Error> {
        if let Some(open) = self.current() {
            return Ok(open);
        }
        let _opening = self.opening.lock().await;
        if let Some(open) = self.current() {
            return Ok(open);
        }
        let open = Arc::new(OpenLane::open(&self.link, &self.entities).await?);
        *self.open.lock() = Some(open.clone());
        Ok(open)
    }

    /// The channel that was opened last; it may have ended since.
    pub(crate) fn opened(&self) -> Option<Arc<OpenLane>> {
        self.open.lock().clone()
    }

    fn current(&self) -> Option<Arc<OpenLane>> {
        self.open.lock().as_ref().filter(|open| open.channel.is_open()).cloned()
    }

    /// Gives up a channel that failed: what was declared on it may be gone as well.
    pub(crate) fn give_up(&self, failed: &Arc<OpenLane>) {
        self.open.lock().take_if(|current| Arc::ptr_eq(current, failed));
    }
}

impl OpenLane {
    async fn open(link: &Link, entities: &Entities) -> Result<Self, Error> {
        let channel = link.open_channel().await?;
        entities.declare(&channel).await?;
        let publisher = channel.publisher().await.map_err(Error::broker("turn confirms on"))?;
        Ok(OpenLane { channel, publisher, declared: Mutex::default() })
    }

    /// Declares once on this channel.
    pub(crate) async fn declare(&self, required: &Required<'_>) -> Result<(), Error> {
        if self.declared.lock().contains(required.name) {
            return Ok(());
        }
        // Twice by two at once does no harm.
        (required.entities)().declare(&self.channel).await?;
        self.declared.lock().insert(required.name.to_owned());
        Ok(())
    }

    /// What was declared seems to be gone: it is to be declared again.
    pub(crate) fn forget(&self, required: &Required<'_>) {
        self.declared.lock().remove(required.name);
    }
}
