//! Faults that tests inject.

pub(crate) mod plan;
pub(crate) mod publish_faults;

use std::time::Duration;

use amqp_codec::ReplyCode;

use crate::{
    broker::Broker,
    core::work::Work,
    faults::{
        plan::{Cut, Direction},
        publish_faults::PublishFault,
    },
    session::command::{Command, cut},
};

/// Injects faults, so that the tests of a client see a broker that misbehaves; see
/// [`Broker::faults`].
///
/// All faults work over TCP and in memory, and under tokio's paused clock. A fault holds from the
/// call on for every connection of the broker, until [`clear`](Faults::clear).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use amqp_broker::{Broker, Direction};
///
/// let broker = Broker::builder().build();
/// let faults = broker.faults();
/// faults.nack_publishes(2);                 // the next two publishes are nacked
/// faults.drop_at_frame(Direction::In, 7);   // the next connection ends at its client's 7th frame
/// faults.drop_connections();                // the present connections end now
/// faults.clear();                           // no fault holds any more
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # On drop
/// Nothing happens: the faults stay in force.
#[derive(Clone, Debug)]
pub struct Faults {
    broker: Broker,
}

impl Broker {
    /// Injects faults, for tests.
    pub fn faults(&self) -> Faults {
        Faults { broker: self.clone() }
    }
}

/// Faults of connections.
impl Faults {
    /// Drops every connection now, without a close, like a network failure or a crash of the
    /// broker. Later connections are served.
    pub fn drop_connections(&self) {
        self.broker.inner.clients.all().iter().for_each(|client| client.command(Command::Drop));
    }

    /// Drops one connection now, without a close; `id` is
    /// [`ConnectionInfo::id`](crate::ConnectionInfo::id). Returns whether there is such a
    /// connection.
    pub fn drop_connection(&self, id: u64) -> bool {
        self.command(id, Command::Drop)
    }

    /// Drops all connections of this name now, without a close. The name is the client's property
    /// `connection_name`. Returns how many there were.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert_eq!(broker.faults().drop_connections_named("worker"), 0);
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drop_connections_named(&self, name: &str) -> usize {
        self.command_named(name, &Command::Drop)
    }

    /// Closes all connections of this name with this code and text, which is cut to 255 bytes.
    /// Returns how many there were.
    pub fn close_connections_named(&self, name: &str, code: u16, text: &str) -> usize {
        self.command_named(name, &Command::Close { code: ReplyCode(code), text: cut(text) })
    }

    /// Drops the next new connection, without a close, at its `n`-th frame, which is lost: one from
    /// the client is not processed, one from the broker is not sent. All frames before it are
    /// processed and answered. Repeated calls apply to as many connections, in this order.
    ///
    /// Frames are counted from 1 and from the beginning of the connection, including those of the
    /// login but not heartbeats: the client's first is `start-ok`, the broker's `start`. A publish
    /// takes two frames or more.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use amqp_broker::{Broker, Direction};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// let broker = Broker::builder().build();
    /// broker.faults().drop_at_frame(Direction::Out, 1);
    /// let mut client = broker.connect();
    /// client.write_all(b"AMQP\x00\x00\x09\x01").await?;
    /// assert_eq!(client.read_to_end(&mut Vec::new()).await?, 0);   // not even `start`
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drop_at_frame(&self, direction: Direction, n: u64) {
        self.broker.inner.faults.cut(Cut { direction, frame: n.max(1) });
    }

    /// Refuses new connections for this time: over TCP they are accepted and closed at once, in
    /// memory the stream ends at once. Open connections continue.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use std::time::Duration;
    /// use tokio::io::AsyncReadExt;
    ///
    /// let broker = amqp_broker::Broker::builder().build();
    /// broker.faults().refuse_connections_for(Duration::from_secs(60));
    /// assert_eq!(broker.connect().read_to_end(&mut Vec::new()).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn refuse_connections_for(&self, time: Duration) {
        self.broker.inner.faults.refuse_for(time);
    }

    /// Refuses the next `count` connections; 0 refuses none, `u64::MAX` all until
    /// [`clear`](Faults::clear).
    pub fn refuse_connections(&self, count: u64) {
        self.broker.inner.faults.refuse_next(count);
    }

    /// Closes a connection with this code and text, which is cut to 255 bytes. Returns whether
    /// there is such a connection.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = amqp_broker::Broker::builder().build();
    /// for connection in broker.connections() {
    ///     broker.faults().close_connection(connection.id, 320, "CONNECTION_FORCED - maintenance");
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close_connection(&self, connection: u64, code: u16, text: &str) -> bool {
        self.command(connection, Command::Close { code: ReplyCode(code), text: cut(text) })
    }

    /// Closes a channel with this code and text, which is cut to 255 bytes. Returns whether there
    /// is such a connection; if it has no such channel, nothing happens.
    pub fn close_channel(&self, connection: u64, channel: u16, code: u16, text: &str) -> bool {
        let command = Command::CloseChannel { number: channel, code: ReplyCode(code), text: cut(text) };
        self.command(connection, command)
    }

    /// Delays all output by at least this long; zero ends that. The order stays, and the connection
    /// is still read meanwhile.
    pub fn delay_answers(&self, delay: Duration) {
        self.broker.inner.faults.set_delay(delay);
    }

    /// Holds publishers back as RabbitMQ does when memory is short: from its next publish on a
    /// connection is not read, and is sent `connection.blocked` with this reason if the client has
    /// that capability. Clients that only consume continue. A reason over 255 bytes is cut.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = amqp_broker::Broker::builder().build();
    /// broker.faults().block("low on memory");
    /// broker.faults().unblock();
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn block(&self, reason: &str) {
        let reason = cut(reason);
        self.broker
            .inner
            .hosts()
            .iter()
            .for_each(|host| host.with(|_, shared| shared.block(Some(reason.clone()))));
    }

    /// Lets publishers continue; those that were sent `connection.blocked` are sent
    /// `connection.unblocked`.
    pub fn unblock(&self) {
        self.broker.inner.hosts().iter().for_each(|host| host.with(|_, shared| shared.block(None)));
    }

    /// Cancels all faults that have not happened yet. What has been closed, deleted or cancelled
    /// stays so.
    pub fn clear(&self) {
        self.broker.inner.faults.clear();
        self.unblock();
    }

    fn command(&self, id: u64, command: Command) -> bool {
        let client = self.broker.inner.clients.find(id).filter(|client| client.login().is_some());
        client.map(|client| client.command(command)).is_some()
    }

    fn command_named(&self, name: &str, command: &Command) -> usize {
        let clients = self.broker.inner.clients.all();
        let named = clients
            .iter()
            .filter(|client| client.login().is_some_and(|login| login.client_name.as_deref() == Some(name)));
        named.map(|client| client.command(command.clone())).count()
    }
}

/// Faults of publishes, confirms, consumers and queues.
impl Faults {
    /// Nacks the next `count` publishes on channels in confirm mode; none of them gets into a
    /// queue. Publishes on other channels do not count. 0 ends it, `u64::MAX` goes on until
    /// [`clear`](Faults::clear).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = amqp_broker::Broker::builder().build();
    /// broker.faults().nack_publishes(1);   // the first publish is nacked, the second confirmed
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn nack_publishes(&self, count: u64) {
        self.broker.inner.faults.publish_faults.nack(count);
    }

    /// Injects this fault instead of the `n`-th publish from now on, counted from 1 over all
    /// connections. Each call counts separately; when two apply to the same publish, the second
    /// applies to the next one. Publishes in transactions do not count.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use amqp_broker::{Broker, PublishFault};
    ///
    /// let broker = Broker::builder().build();
    /// broker.faults().at_publish(3, PublishFault::DropConnection);
    /// broker.faults().at_publish_of("shop (publish)", 1, PublishFault::Nack);
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn at_publish(&self, n: u64, fault: PublishFault) {
        self.broker.inner.faults.publish_faults.plan(None, n, fault);
    }

    /// As [`at_publish`](Self::at_publish), counted over the connections of this name.
    pub fn at_publish_of(&self, connection: &str, n: u64, fault: PublishFault) {
        self.broker.inner.faults.publish_faults.plan(Some(connection.to_owned()), n, fault);
    }

    /// Returns the next `count` mandatory publishes with 312 NO_ROUTE, even if a queue would take
    /// them. In confirm mode each is confirmed after that, as by RabbitMQ. Publishes that are not
    /// mandatory do not count.
    pub fn return_publishes(&self, count: u64) {
        self.broker.inner.faults.publish_faults.return_messages(count);
    }

    /// Swallows the next `count` confirms, acks and nacks alike: the messages are routed, but the
    /// publisher does not learn of it. Later confirms of such a channel are sent one by one, so
    /// that none covers a swallowed one.
    pub fn swallow_confirms(&self, count: u64) {
        self.broker.inner.faults.publish_faults.swallow_confirms(count);
    }

    /// Ends the consumers of a queue, all or those of one tag. Clients with that capability are
    /// sent `basic.cancel`, as when a queue fails over. Returns how many there were.
    pub fn cancel_consumers(&self, vhost: &str, queue: &str, consumer_tag: Option<&str>) -> usize {
        let Some(host) = self.broker.inner.host(vhost) else { return 0 };
        host.with(|now, shared| shared.vhost.expel(now, queue, consumer_tag, &mut shared.outboxes))
    }

    /// Deletes a queue, whoever uses it. Returns how many messages were ready; `None` when there is
    /// none of this name.
    pub fn delete_queue(&self, vhost: &str, name: &str) -> Option<u32> {
        let host = self.broker.inner.host(vhost)?;
        host.with(|now, shared| {
            let (count, removal) = shared.vhost.remove_named_queue(name)?;
            shared.leave_behind(now, Work::Remove(Box::new(removal)));
            Some(count)
        })
    }
}
