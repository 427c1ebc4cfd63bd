//! Users and permissions, changed while the broker runs.

use super::Broker;
use crate::core::rabbitmq::access::Permissions;

/// Users and permissions. Changes also apply to open connections. They are not stored in
/// `data_dir`.
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

    /// Removes a user's permissions in a virtual host: it may not enter it any more, and its open
    /// connections there may not use any queue or exchange. Its permissions elsewhere stay. Returns
    /// whether it had any.
    pub fn clear_permissions(&self, user: &str, vhost: &str) -> bool {
        let config = &self.inner.config;
        let had = config.users.forbid(user, vhost, config.vhosts().cloned());
        self.apply(user);
        had
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
