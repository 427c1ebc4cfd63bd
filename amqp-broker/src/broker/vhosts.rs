//! Virtual hosts, created and deleted while the broker runs.

use amqp_codec::ReplyCode;

use super::Broker;
use crate::{core::rabbitmq::refusal::reply_text, server::instance::InvalidVhost, session::command::Command};

/// Virtual hosts. Those that are created while the broker runs are kept in its folder, if it has
/// one, until they are deleted.
impl Broker {
    /// Creates a virtual host. Returns whether it is new. Each has the memory limit that it would
    /// have if all had been configured together; those that were there keep theirs.
    ///
    /// # Errors
    /// When its name has not from 1 to 255 bytes, or it cannot be written to the folder.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.create_vhost("orders").is_ok_and(|is_new| is_new));
    /// assert!(broker.exchanges("orders").len() > 0);
    /// ```
    pub fn create_vhost(&self, name: &str) -> Result<bool, InvalidVhost> {
        self.inner.create_vhost(name)
    }

    /// Deletes a virtual host with everything in it, and closes its connections with 320
    /// CONNECTION_FORCED. Returns whether there was one.
    ///
    /// # Errors
    /// When its other side is a backend, which only the configuration can change, or what it has in
    /// the folder cannot be removed.
    pub async fn delete_vhost(&self, name: &str) -> Result<bool, InvalidVhost> {
        let was_there = self.inner.delete_vhost(name).await?;
        if was_there {
            let code = ReplyCode::CONNECTION_FORCED;
            let text = reply_text(code, &format!("vhost '{name}' is deleted"));
            let all = self.inner.clients.all();
            let inside = all.iter().filter(|client| client.login().is_some_and(|login| login.vhost == name));
            inside.for_each(|client| client.command(Command::Close { code, text: text.clone() }));
            self.inner.config.users.forget_vhost(name);
        }
        Ok(was_there)
    }
}
