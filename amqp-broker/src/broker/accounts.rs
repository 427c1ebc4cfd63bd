//! Users and permissions, changed while the broker runs.

use super::Broker;
use crate::core::rabbitmq::access::Permissions;

/// Users and permissions. What is changed holds for connections that are open, too; it is not kept
/// in [`data_dir`](crate::BrokerBuilder::data_dir).
impl Broker {
    /// Lets a user log in with this password: a new one, who may do everything everywhere until
    /// [`set_permissions`](Self::set_permissions) says otherwise, or one who had another.
    /// Connections of that one go on.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// broker.add_user("reader", "secret");
    /// assert!(broker.delete_user("reader"));
    /// ```
    pub fn add_user(&self, name: impl Into<String>, password: impl Into<String>) {
        self.inner.config.users.add(name.into(), Some(password.into()));
    }

    /// Adds a user who has no password, or takes a user's away: it logs in by certificate only, as
    /// with [`BrokerBuilder::user_without_password`](crate::BrokerBuilder::user_without_password).
    /// Its open connections go on.
    pub fn add_user_without_password(&self, name: impl Into<String>) {
        self.inner.config.users.add(name.into(), None);
    }

    /// Deletes a user, whose connections are closed with 320 CONNECTION_FORCED. Tells whether there
    /// was one.
    pub fn delete_user(&self, name: &str) -> bool {
        let was = self.inner.config.users.remove(name);
        self.apply(name);
        was
    }

    /// Says what a user may do in a virtual host: there, and from now on nowhere else but where it
    /// is said too, as [`BrokerBuilder::permissions`](crate::BrokerBuilder::permissions) does. For
    /// a user who is not there yet, it is kept until there is a password for it; by certificate it
    /// may log in at once. Open connections are held to it from their next method on; RabbitMQ may
    /// let a channel use a little longer what it has used before.
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

    /// Takes a user's permissions in a virtual host away: it may not enter any more, and where it
    /// is inside it may do nothing with any queue or exchange. What it may elsewhere stays. Tells
    /// whether it had any.
    pub fn clear_permissions(&self, user: &str, vhost: &str) -> bool {
        let config = &self.inner.config;
        let had = config.users.forbid(user, vhost, config.vhosts().cloned());
        self.apply(user);
        had
    }

    /// Lets what has changed of a user hold for its connections.
    fn apply(&self, user: &str) {
        for client in self.inner.clients.all() {
            if client.login().is_some_and(|login| login.user == user) {
                self.inner.renew_access(&client);
            }
        }
    }
}
