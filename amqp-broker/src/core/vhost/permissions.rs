//! Checks of a connection's permissions, by name.

use amqp_codec::ShortString;

use super::Vhost;
use crate::core::{
    entities::ids::ConnectionId,
    rabbitmq::{
        access::{Access, Act, Permissions},
        refusal::Refusal,
    },
};

impl Vhost {
    /// Checks a connection's permission on an exchange.
    pub(super) fn permit_exchange(&self, by: ConnectionId, act: Act, name: &[u8]) -> Result<(), Refusal> {
        self.permit(by, act, "exchange", if name.is_empty() { b"amq.default" } else { name })
    }

    /// Checks a connection's permission on a queue.
    pub(super) fn permit_queue(&self, by: ConnectionId, act: Act, name: &ShortString) -> Result<(), Refusal> {
        self.permit(by, act, "queue", name.as_bytes())
    }

    /// Checks that a connection has some permission on a name, where the version demands that of a
    /// passive declaration.
    pub(super) fn permit_passive(
        &self,
        by: ConnectionId,
        what: &'static str,
        name: &ShortString,
    ) -> Result<(), Refusal> {
        if !self.profile.passive_needs_permission {
            return Ok(());
        }
        let name = name.as_bytes();
        let any =
            [Act::Configure, Act::Write].into_iter().any(|act| self.permit(by, act, what, name).is_ok());
        if any { Ok(()) } else { self.permit(by, Act::Read, what, name) }
    }

    fn permit(&self, by: ConnectionId, act: Act, what: &'static str, name: &[u8]) -> Result<(), Refusal> {
        let Some(access) = self.connections.get(by).map(|connection| &connection.access) else {
            return Ok(());
        };
        if access.allows(act, name) {
            return Ok(());
        }
        Err(Refusal::Forbidden {
            what,
            name: String::from_utf8_lossy(name).into_owned(),
            vhost: self.name.clone(),
            user: access.user.clone(),
        })
    }

    /// Changes a connection's permissions; `None` forbids everything.
    pub(crate) fn renew_access(&mut self, id: ConnectionId, access: Option<Access>) {
        if let Some(connection) = self.connections.get_mut(id) {
            // Remembered routes depend on permissions, so they are searched anew.
            self.routes_version += 1;
            connection.access.permissions = match access {
                Some(access) => access.permissions,
                None => Some(Permissions::none()),
            };
        }
    }

    /// The user of a connection.
    pub(crate) fn user(&self, by: ConnectionId) -> &str {
        self.connections.get(by).map_or("", |connection| &connection.access.user)
    }
}
