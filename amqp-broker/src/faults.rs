//! What a test wants to go wrong.

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

/// Makes things go wrong, so that a client's tests see what a broker does on a bad day: see
/// [`Broker::faults`].
///
/// All of it works over TCP and in memory, and under tokio's paused clock. What is said holds from
/// then on for every connection of the broker, until [`clear`](Faults::clear).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use amqp_broker::{Broker, Direction};
///
/// let broker = Broker::builder().build();
/// let faults = broker.faults();
/// faults.nack_publishes(2);                     // the next two publishes are nacked
/// faults.drop_at_frame(Direction::In, 7);       // the next connection ends at the client's seventh frame
/// faults.drop_connections();                    // those there are end now
/// faults.clear();                               // from here on all goes well again
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # On drop
/// Nothing: what was said still holds.
#[derive(Clone, Debug)]
pub struct Faults {
    broker: Broker,
}

impl Broker {
    /// Makes things go wrong, for tests.
    pub fn faults(&self) -> Faults {
        Faults { broker: self.clone() }
    }
}

/// Connections.
impl Faults {
    /// Ends every connection now, without a word: a network that breaks, a broker that crashes.
    /// Connections that come later are served.
    pub fn drop_connections(&self) {
        self.broker.inner.clients.all().iter().for_each(|client| client.command(Command::Drop));
    }

    /// Ends one connection now, without a word; `id` is
    /// [`ConnectionInfo::id`](crate::ConnectionInfo::id). Tells whether there is such a one.
    pub fn drop_connection(&self, id: u64) -> bool {
        self.command(id, Command::Drop)
    }

    /// Ends the connections now, without a word, to which their client gave this name (its property
    /// `connection_name`). Tells how many there were.
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

    /// Closes the connections with this code and text, cut to 255 bytes, to which their client gave
    /// this name. Tells how many there were.
    pub fn close_connections_named(&self, name: &str, code: u16, text: &str) -> usize {
        self.command_named(name, &Command::Close { code: ReplyCode(code), text: cut(text) })
    }

    /// Ends the next connection that comes, without a word, at its `n`-th frame, which is lost: one
    /// the client sends is not looked at, one the broker sends does not leave. All before it is
    /// done and answered. Said several times, it holds for as many connections, in this order.
    ///
    /// Frames are counted from 1 and from the first of the connection, those of the login included,
    /// heartbeats not: the client's first is `start-ok`, the broker's `start`. A publish is two
    /// frames or more.
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

    /// Refuses the connections that come in this time: over TCP they are accepted and closed at
    /// once, in memory the stream has ended. Those there are go on.
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

    /// Refuses the next `count` connections that come; 0 refuses none, `u64::MAX` all until
    /// [`clear`](Faults::clear).
    pub fn refuse_connections(&self, count: u64) {
        self.broker.inner.faults.refuse_next(count);
    }

    /// Closes a connection with this code and text, cut to 255 bytes. Tells whether there is such a
    /// connection.
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

    /// Closes a channel with this code and text, cut to 255 bytes. Tells whether there is such a
    /// connection; on one that has no such channel nothing happens.
    pub fn close_channel(&self, connection: u64, channel: u16, code: u16, text: &str) -> bool {
        let command = Command::CloseChannel { number: channel, code: ReplyCode(code), text: cut(text) };
        self.command(connection, command)
    }

    /// Holds back all that the broker writes for at least this long, each time it has something to
    /// write; zero ends that. Nothing is reordered, and the connection still reads meanwhile.
    pub fn delay_answers(&self, delay: Duration) {
        self.broker.inner.faults.set_delay(delay);
    }

    /// Holds publishers back as RabbitMQ does when memory is short: from its next publish on a
    /// connection is told `connection.blocked` with this reason, if it is capable of it, and is not
    /// read from. Whoever only consumes goes on. A reason longer than 255 bytes is cut.
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
        self.broker.inner.hosts().for_each(|host| host.with(|_, shared| shared.block(Some(reason.clone()))));
    }

    /// Lets publishers go on, and tells those that were told: `connection.unblocked`.
    pub fn unblock(&self) {
        self.broker.inner.hosts().for_each(|host| host.with(|_, shared| shared.block(None)));
    }

    /// Ends all that was said and is not done yet. What has been closed, deleted or cancelled stays
    /// so.
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

/// Publishes, confirms, consumers and queues.
impl Faults {
    /// Nacks the next `count` publishes on channels in confirm mode; none of them gets into a
    /// queue. Other channels' publishes do not count. 0 ends it, `u64::MAX` goes on until
    /// [`clear`](Faults::clear).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = amqp_broker::Broker::builder().build();
    /// broker.faults().nack_publishes(1);   // ... and a client's first publish is nacked, its second confirmed
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn nack_publishes(&self, count: u64) {
        self.broker.inner.faults.publish_faults.nack(count);
    }

    /// Has this happen in place of the `n`-th publish from now on, counted from 1 over all
    /// connections. Said several times, each counts for itself; where two are for the same publish,
    /// the second is for the next one. Publishes in transactions do not count.
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

    /// As [`at_publish`](Self::at_publish), counted over the connections to which their client gave
    /// this name.
    pub fn at_publish_of(&self, connection: &str, n: u64, fault: PublishFault) {
        self.broker.inner.faults.publish_faults.plan(Some(connection.to_owned()), n, fault);
    }

    /// Returns the next `count` mandatory publishes with 312 NO_ROUTE, wherever they would have
    /// gone; in confirm mode each is confirmed after that, as RabbitMQ does it. Publishes that are
    /// not mandatory do not count.
    pub fn return_publishes(&self, count: u64) {
        self.broker.inner.faults.publish_faults.return_messages(count);
    }

    /// Swallows the next `count` confirms, acks and nacks alike: the messages get where they should
    /// and the publisher does not learn of it. Later confirms of such a channel come one by one, so
    /// that none covers a swallowed one.
    pub fn swallow_confirms(&self, count: u64) {
        self.broker.inner.faults.publish_faults.swallow_confirms(count);
    }

    /// Ends the consumers of a queue, all of them or those of one tag, and tells the clients that
    /// are capable of it with `basic.cancel`, as when a queue fails over. Tells how many there
    /// were.
    pub fn cancel_consumers(&self, vhost: &str, queue: &str, consumer_tag: Option<&str>) -> usize {
        let Some(host) = self.broker.inner.host(vhost) else { return 0 };
        host.with(|now, shared| shared.vhost.expel(now, queue, consumer_tag, &mut shared.outboxes))
    }

    /// Deletes a queue, whoever uses it; tells how many messages were ready in it, `None` when
    /// there is none of this name.
    pub fn delete_queue(&self, vhost: &str, name: &str) -> Option<u32> {
        let host = self.broker.inner.host(vhost)?;
        host.with(|now, shared| {
            let (count, removal) = shared.vhost.remove_named_queue(name)?;
            shared.leave_behind(now, Work::Remove(Box::new(removal)));
            Some(count)
        })
    }
}
