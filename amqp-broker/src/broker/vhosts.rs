//! Virtual hosts, created and deleted while the broker runs.

use super::Broker;
use crate::server::instance::InvalidVhost;

/// Virtual hosts. Those that are created while the broker runs are kept in its folder, if it has
/// one, until they are deleted.
impl Broker {
    /// Creates a virtual host. Returns whether it is new. Each has the memory limit that it would
    /// have if all had been configured together; those that were there keep theirs.
    ///
    /// # Errors
    /// When its name has not from 1 to 255 bytes, or it cannot be written to the folder.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.create_vhost("orders").await.is_ok_and(|is_new| is_new));
    /// assert!(!broker.exchanges("orders").is_empty());
    /// assert!(broker.delete_vhost("orders").await.is_ok_and(|was_there| was_there));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn create_vhost(&self, name: &str) -> Result<bool, InvalidVhost> {
        self.inner.create_vhost(name).await
    }

    /// Deletes a virtual host with everything in it and all permissions in it, and closes its
    /// connections with 320 CONNECTION_FORCED. Returns whether there was one. One that the
    /// configuration names is there again, and empty, when the broker is built anew.
    ///
    /// # Errors
    /// When its other side is a backend, which only the configuration can change, or what it has in
    /// the folder cannot be removed.
    ///
    /// # Cancel safety
    /// A deletion that is not awaited to its end may leave a part in the folder, which is there
    /// again when the broker is built anew.
    pub async fn delete_vhost(&self, name: &str) -> Result<bool, InvalidVhost> {
        self.inner.delete_vhost(name).await
    }
}
