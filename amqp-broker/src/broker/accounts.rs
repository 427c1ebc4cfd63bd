//! Users and permissions, changed while the broker runs.

use super::{Broker, BrokerBuilder};
use crate::core::rabbitmq::access::{Permissions, tags::UserTag, topics::TopicPermissions};

/// The rights of users beyond their [`permissions`](Self::permissions).
impl BrokerBuilder {
    /// Sets a user's permissions on the routing keys of a topic exchange in a virtual host, as
    /// `rabbitmqctl set_topic_permissions` does. Without any, every key is allowed, if the
    /// permissions on names are; exchanges of other types have none. Like permissions, they do not
    /// add the user; and the exchange need not exist. In the virtual host of a
    /// [`backend`](Self::backend) they apply whatever the exchange's type is.
    ///
    /// A publish with another key, or a binding or unbinding, is refused with RabbitMQ's 403 on the
    /// channel. As in RabbitMQ, only a message's routing key is checked, not its `CC` and `BCC`;
    /// and messages that pass other exchanges before, or are dead letters, are not checked.
    ///
    /// ```
    /// # fn main() -> Result<(), amqp_broker::InvalidPattern> {
    /// use amqp_broker::{Broker, TopicPermissions};
    ///
    /// let own = TopicPermissions::new("^{username}\\.", "")?;
    /// let broker = Broker::builder()
    ///     .user("sensor", "secret")
    ///     .topic_permissions("sensor", "/", "amq.topic", own)
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn topic_permissions(
        self,
        user: impl Into<String>,
        vhost: impl Into<String>,
        exchange: impl Into<String>,
        permissions: TopicPermissions,
    ) -> Self {
        self.config.users.permit_topics(user.into(), vhost.into(), exchange.into(), permissions);
        self
    }

    /// Sets a user's tags. Default: none. This does not add the user.
    ///
    /// ```
    /// use amqp_broker::{Broker, UserTag};
    ///
    /// let broker = Broker::builder()
    ///     .user("bridge", "secret")
    ///     .user_tags("bridge", [UserTag::Impersonator])
    ///     .build();
    /// # drop(broker);
    /// ```
    pub fn user_tags(self, user: impl Into<String>, tags: impl IntoIterator<Item = UserTag>) -> Self {
        self.config.users.tag(user.into(), tags.into_iter().collect());
        self
    }
}

/// Users and permissions. Changes also apply to open connections, except for tags. Users that the
/// settings or these methods add are not stored in `data_dir`: they are there when they are added.
/// Those that administrators add over HTTP are, with what they may do.
impl Broker {
    /// Adds a user with this password, or changes the password of an existing one, whose
    /// connections stay open. A new user may do everything everywhere until
    /// [`set_permissions`](Self::set_permissions) restricts it.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// broker.add_user("reader", "secret");
    /// assert!(broker.delete_user("reader"));
    /// ```
    pub fn add_user(&self, name: impl Into<String>, password: impl Into<String>) {
        self.inner.config.users.add(name.into(), Some(password.into()));
    }

    /// Adds a user without a password, or removes the password of an existing one, who may then log
    /// in by certificate only, as with
    /// [`BrokerBuilder::user_without_password`](crate::BrokerBuilder::user_without_password). Its
    /// open connections stay open.
    pub fn add_user_without_password(&self, name: impl Into<String>) {
        self.inner.config.users.add(name.into(), None);
    }

    /// Deletes a user, and closes its connections with 320 CONNECTION_FORCED. Returns whether there
    /// was such a user.
    pub fn delete_user(&self, name: &str) -> bool {
        let was = self.inner.config.users.remove(name);
        self.apply(name);
        was
    }

    /// Sets a user's permissions in a virtual host. A user with permissions set anywhere has none
    /// elsewhere, as with [`BrokerBuilder::permissions`](crate::BrokerBuilder::permissions).
    /// Permissions of a user who does not exist yet are kept until the user is added with a
    /// password; by certificate it may log in at once. Open connections are affected from their
    /// next method on; RabbitMQ may let a channel go on for a while with what it has used before.
    ///
    /// ```
    /// # fn main() -> Result<(), amqp_broker::InvalidPattern> {
    /// use amqp_broker::{Broker, Permissions};
    ///
    /// let broker = Broker::builder().build();
    /// broker.set_permissions("guest", "/", Permissions::new("", "", "^events")?);
    /// assert!(broker.clear_permissions("guest", "/"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_permissions(
        &self,
        user: impl Into<String>,
        vhost: impl Into<String>,
        permissions: Permissions,
    ) {
        let user = user.into();
        self.inner.config.users.permit(user.clone(), vhost.into(), permissions);
        self.apply(&user);
    }

    /// Sets a user's permissions in a virtual host, as an administrator does over HTTP: who may do
    /// everything everywhere keeps that in the others.
    #[cfg(feature = "management")]
    pub(crate) fn permit_in(&self, user: &str, vhost: &str, permissions: Permissions) {
        let config = &self.inner.config;
        config.users.permit_in(user, vhost, permissions, config.vhosts.all());
        self.apply(user);
    }

    /// Removes a user's permissions in a virtual host: it may not enter it any more, and its open
    /// connections there may not use any queue or exchange. Its permissions elsewhere stay. Returns
    /// whether it had any.
    pub fn clear_permissions(&self, user: &str, vhost: &str) -> bool {
        let config = &self.inner.config;
        let had = config.users.forbid(user, vhost, config.vhosts.all().into_iter());
        self.apply(user);
        had
    }

    /// Sets a user's permissions on the routing keys of a topic exchange in a virtual host; see
    /// [`BrokerBuilder::topic_permissions`]. Those of a user who does not exist yet are kept until
    /// it does. Open connections are affected from their next method on.
    ///
    /// ```
    /// # fn main() -> Result<(), amqp_broker::InvalidPattern> {
    /// use amqp_broker::{Broker, TopicPermissions};
    ///
    /// let broker = Broker::builder().build(); broker.set_topic_permissions("guest", "/",
    /// "amq.topic", TopicPermissions::new("^news\\.", "")?);
    /// assert!(broker.clear_topic_permissions("guest", "/", "amq.topic"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_topic_permissions(
        &self,
        user: impl Into<String>,
        vhost: impl Into<String>,
        exchange: impl Into<String>,
        permissions: TopicPermissions,
    ) {
        let user = user.into();
        self.inner.config.users.permit_topics(user.clone(), vhost.into(), exchange.into(), permissions);
        self.apply(&user);
    }

    /// Removes a user's permissions on the routing keys of a topic exchange in a virtual host, so
    /// that every key is allowed. Returns whether there were any.
    pub fn clear_topic_permissions(&self, user: &str, vhost: &str, exchange: &str) -> bool {
        let had = self.inner.config.users.clear_topics(user, vhost, exchange);
        self.apply(user);
        had
    }

    /// Sets a user's tags, in place of those before; none removes them. Those of a user who does
    /// not exist yet are kept until it does. As in RabbitMQ, an open connection keeps the tags that
    /// its user had when it logged in.
    ///
    /// ```
    /// use amqp_broker::{Broker, UserTag};
    ///
    /// let broker = Broker::builder().build();
    /// broker.set_user_tags("guest", [UserTag::Impersonator]);
    /// ```
    pub fn set_user_tags(&self, user: impl Into<String>, tags: impl IntoIterator<Item = UserTag>) {
        self.inner.config.users.tag(user.into(), tags.into_iter().collect());
    }

    /// Makes the users, their permissions and their tags those of other settings, as after a change
    /// to a file of settings, all at once. A user whom the settings until now name, and these do
    /// not, is deleted, as by [`delete_user`](Self::delete_user); one that was added while the
    /// broker runs, and these do not name, stays as it is. Where the settings name users no longer,
    /// there is again `guest`. All else that the builder has is disregarded.
    ///
    /// ```
    /// use amqp_broker::Broker;
    ///
    /// let broker = Broker::builder().user("ada", "secret").build();
    /// broker.add_user("visitor", "secret");
    /// broker.reload_users(Broker::builder().user("eve", "secret"));
    /// assert!(!broker.delete_user("ada"));
    /// assert!(broker.delete_user("eve") && broker.delete_user("visitor"));
    /// ```
    pub fn reload_users(&self, settings: BrokerBuilder) {
        let mut config = settings.config;
        config.fill_in();
        for user in self.inner.config.users.reload(&config.users) {
            self.apply(&user);
        }
    }

    /// Keeps what administrators have set, for which there is no folder in this build.
    #[cfg(all(feature = "management", not(feature = "durable")))]
    pub(crate) async fn keep_administration(&self) -> Result<(), String> {
        Ok(())
    }

    /// Applies a user's changed permissions to its connections.
    fn apply(&self, user: &str) {
        for client in self.inner.clients.all() {
            if client.login().is_some_and(|login| login.user == user) {
                self.inner.renew_access(&client);
            }
        }
    }
}
