//! Channels for publishing, each with what has been declared on it.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, Weak},
};

use amqp_client::{Channel, Exchange, Publisher};

use crate::{
    connection::{entity::Entities, lazy_connection::LazyConnection, setup::Setup, setup_error::SetupError},
    publish::slow::{Slow, SlowConnections},
    sync::{
        Mutex, OwnedSemaphorePermit, Semaphore,
        atomic::{AtomicBool, Ordering},
    },
};

/// The most channels for messages that are published apart from others. A connection has room for
/// 2047 channels by default.
const CHANNELS_APART: usize = 128;

/// The most channels for declarations. Messages that are published apart need them too, while they
/// keep their own channels.
const CHANNELS_DECLARING: usize = 128;

/// The publish channels of a transport. Producers of one exchange share one, so that many
/// short-lived producers cost no more channels than there are exchanges.
#[derive(Clone)]
pub(crate) struct PublishChannels(Arc<Pool>);

struct Pool {
    link: LazyConnection,
    slow_connections: SlowConnections,
    room_apart: Arc<Semaphore>,
    room_declaring: Arc<Semaphore>,
    /// The channels by the exchange's whole definition.
    by_exchange: Mutex<HashMap<String, Weak<PublishChannel>>>,
}

/// The channel on which messages to one exchange are published. It is opened on first use, and
/// again after it has ended.
pub(crate) struct PublishChannel {
    link: LazyConnection,
    slow_connections: SlowConnections,
    pub(crate) slow: Slow<Arc<PublishChannel>>,
    pub(crate) exchange: String,
    entities: Entities,
    room_apart: Arc<Semaphore>,
    room_declaring: Arc<Semaphore>,
    /// Whether it is for messages that are published apart from others.
    is_apart: bool,
    open: Mutex<Option<Arc<OpenPublishChannel>>>,
    /// The opening of a channel, shared by all callers that wait for it.
    opening: Setup<Arc<OpenPublishChannel>>,
}

pub(crate) struct OpenPublishChannel {
    channel: Channel,
    pub(crate) publisher: Publisher,
    /// The required entities by name. Each is declared once, however many messages need it at the
    /// same time.
    declared: Mutex<HashMap<String, Arc<Declaration>>>,
    /// Whether nothing more is to be published on it.
    given_up: AtomicBool,
    /// The channels on which groups of suspected messages are published again, after the broker
    /// closed this channel. A group's channel lives as long as messages of the group need it,
    /// because a holder of this one may keep it for long.
    groups: Mutex<HashMap<u64, Weak<PublishChannel>>>,
    _room: Option<OwnedSemaphorePermit>,
}

/// The declaration of something that messages need.
#[derive(Default)]
pub(crate) struct Declaration {
    /// The declaring, shared by all callers that wait for it.
    declaring: Setup<()>,
    done: Arc<OnceLock<()>>,
}

/// Entities that a message needs besides the exchange, under a name that identifies them.
pub(crate) struct Required<'a> {
    pub(crate) name: &'a str,
    pub(crate) entities: &'a (dyn Fn() -> Entities + Sync),
}

impl PublishChannels {
    pub(crate) fn new(link: LazyConnection, slow_connections: SlowConnections) -> Self {
        let room_apart = Arc::new(Semaphore::new(CHANNELS_APART));
        let room_declaring = Arc::new(Semaphore::new(CHANNELS_DECLARING));
        let by_exchange = Mutex::default();
        PublishChannels(Arc::new(Pool { link, slow_connections, room_apart, room_declaring, by_exchange }))
    }

    /// Makes a publish channel that nobody else gets.
    pub(crate) fn apart(&self, exchange: Exchange) -> Arc<PublishChannel> {
        Arc::new(PublishChannel::new(&self.0, exchange))
    }

    pub(crate) fn of(&self, exchange: Exchange) -> Arc<PublishChannel> {
        let mut publish_channels = self.0.by_exchange.lock();
        let definition = format!("{exchange:?}");
        if let Some(publish_channel) = publish_channels.get(&definition).and_then(Weak::upgrade) {
            return publish_channel;
        }
        publish_channels.retain(|_, publish_channel| publish_channel.strong_count() > 0);
        let publish_channel = Arc::new(PublishChannel::new(&self.0, exchange));
        publish_channels.insert(definition, Arc::downgrade(&publish_channel));
        publish_channel
    }
}

impl PublishChannel {
    fn new(pool: &Pool, exchange: Exchange) -> Self {
        PublishChannel {
            link: pool.link.clone(),
            slow_connections: pool.slow_connections.clone(),
            slow: Slow::default(),
            exchange: exchange.name().to_owned(),
            entities: Entities { exchanges: vec![exchange], ..Entities::default() },
            room_apart: pool.room_apart.clone(),
            room_declaring: pool.room_declaring.clone(),
            is_apart: false,
            open: Mutex::default(),
            opening: Setup::default(),
        }
    }

    /// Makes another publish channel to the same exchange.
    fn beside(&self, link: &LazyConnection, is_apart: bool) -> Arc<PublishChannel> {
        Arc::new(PublishChannel {
            link: link.clone(),
            slow_connections: self.slow_connections.clone(),
            slow: Slow::default(),
            exchange: self.exchange.clone(),
            entities: self.entities.clone(),
            room_apart: self.room_apart.clone(),
            room_declaring: self.room_declaring.clone(),
            is_apart,
            open: Mutex::default(),
            opening: Setup::default(),
        })
    }

    /// Notes that the broker does not answer messages with this key although it answers others.
    /// Returns the channel on which they are published meanwhile.
    pub(crate) fn add_slow(&self, key: &str) -> Arc<PublishChannel> {
        self.slow.add(key, || self.beside(self.slow_connections.next().unwrap_or(&self.link), false))
    }

    /// Notes that the broker answers messages with this key.
    #[inline]
    pub(crate) fn answered(&self, key: &str) {
        self.slow.remove(key);
    }

    /// Returns the channel for a group of the messages for which the broker may have closed `open`.
    pub(crate) fn group(&self, open: &OpenPublishChannel, number: u64) -> Arc<PublishChannel> {
        let mut groups = open.groups.lock();
        if let Some(group) = groups.get(&number).and_then(Weak::upgrade) {
            return group;
        }
        let group = self.beside(&self.link, true);
        groups.insert(number, Arc::downgrade(&group));
        group
    }

    /// Returns its channel; opens one if there is none that works.
    ///
    /// # Cancel safety
    /// Opening continues after this future is dropped, and the next caller gets the channel.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<Arc<OpenPublishChannel>, SetupError> {
        match self.current() {
            Some(open) => Ok(open),
            None => self.opening.wait(|| self.current(), || self.open_anew()).await,
        }
    }

    /// Opens a channel. The work ends when the publish channel is dropped.
    fn open_anew(
        self: &Arc<Self>,
    ) -> impl Future<Output = Result<Arc<OpenPublishChannel>, SetupError>> + use<> {
        let (publish_channel, link, entities) =
            (Arc::downgrade(self), self.link.clone(), self.entities.clone());
        let room = self.is_apart.then(|| self.room_apart.clone());
        async move {
            let room = match room {
                Some(room) => room.acquire_owned().await.ok(),
                None => None,
            };
            let open = Arc::new(OpenPublishChannel::open(&link, entities, room).await?);
            if let Some(publish_channel) = publish_channel.upgrade() {
                *publish_channel.open.lock() = Some(open.clone());
            }
            Ok(open)
        }
    }

    /// Returns the channel that was opened last; it may have ended since.
    pub(crate) fn opened(&self) -> Option<Arc<OpenPublishChannel>> {
        self.open.lock().clone()
    }

    /// Returns the reason why the broker blocks publishing, if it does.
    pub(crate) fn blocked(&self) -> Option<amqp_client::Error> {
        self.link.blocked()
    }

    /// Tells whether a nack says that the broker does not have the message. From a Redis it also
    /// comes when too few replicas have it, or when that is not known.
    pub(crate) fn is_nack_certain(&self) -> bool {
        !self.link.is_on_redis()
    }

    /// Counts a retry of a message.
    pub(crate) fn count_retry(&self) {
        self.link.count_retry();
    }

    fn current(&self) -> Option<Arc<OpenPublishChannel>> {
        self.open.lock().as_ref().filter(|open| !open.channel.is_closed()).cloned()
    }

    /// Declares what is required, once for the lifetime of `open`. It uses another channel, because
    /// a refused declaration closes its channel, which must not affect messages of others.
    ///
    /// # Cancel safety
    /// The declaration continues after this future is dropped.
    pub(crate) async fn declare(
        &self,
        open: &OpenPublishChannel,
        required: &Required<'_>,
    ) -> Result<Arc<Declaration>, SetupError> {
        let declaration = open.declaration(required.name);
        let Declaration { declaring, done } = &*declaration;
        let ready = || done.get().copied();
        if ready().is_none() {
            declaring.wait(ready, || self.declare_once(required, done.clone())).await?;
        }
        Ok(declaration)
    }

    fn declare_once(
        &self,
        required: &Required<'_>,
        done: Arc<OnceLock<()>>,
    ) -> impl Future<Output = Result<(), SetupError>> + use<> {
        let (link, room) = (self.link.clone(), self.room_declaring.clone());
        // The exchange may have been deleted, and the required entities may refer to it.
        let all = Arc::new([self.entities.clone(), (required.entities)().after(&self.entities)]);
        async move {
            let _room = room.acquire().await;
            let declare = |channel| {
                let all = all.clone();
                async move {
                    for entities in &*all {
                        entities.declare(&channel).await?;
                    }
                    Ok(())
                }
            };
            link.set_up(&*all, || link.with_channel(declare)).await?;
            // Later callers find the declaration done.
            done.get_or_init(|| ());
            Ok(())
        }
    }

    /// Gives up a channel that failed, or did not answer in time: the next message opens another,
    /// where everything is declared again. Work in progress on the old one continues, and it is
    /// closed with the last of it.
    pub(crate) fn give_up(&self, failed: &Arc<OpenPublishChannel>) {
        failed.given_up.store(true, Ordering::Relaxed);
        self.open.lock().take_if(|current| Arc::ptr_eq(current, failed));
    }
}

impl OpenPublishChannel {
    async fn open(
        link: &LazyConnection,
        entities: Entities,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, SetupError> {
        let all = Arc::new([entities]);
        let prepare = |channel: Channel| {
            let all = all.clone();
            async move {
                for entities in &*all {
                    entities.declare(&channel).await?;
                }
                let publisher = channel.publisher().await.map_err(SetupError::broker("turn confirms on"))?;
                Ok((channel, publisher))
            }
        };
        let (channel, publisher) = link.set_up(&*all, || link.with_channel(prepare)).await?;
        let (declared, given_up, groups) = Default::default();
        Ok(OpenPublishChannel { channel, publisher, declared, given_up, groups, _room: room })
    }

    /// Whether nothing more is to be published on it.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    fn declaration(&self, name: &str) -> Arc<Declaration> {
        let mut declared = self.declared.lock();
        if let Some(known) = declared.get(name) {
            return known.clone();
        }
        declared.entry(name.to_owned()).or_default().clone()
    }

    /// Notes that what was declared seems to be gone, so that it is declared again, unless that has
    /// happened already.
    pub(crate) fn forget(&self, required: &Required<'_>, gone: &Arc<Declaration>) {
        let mut declared = self.declared.lock();
        if declared.get(required.name).is_some_and(|present| Arc::ptr_eq(present, gone)) {
            declared.remove(required.name);
        }
    }
}
