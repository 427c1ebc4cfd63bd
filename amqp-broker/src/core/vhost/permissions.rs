//! Checks of a connection's permissions, by name.

use amqp_codec::ShortString;

use super::Vhost;
use crate::core::{
    entities::ids::{ConnectionId, ExchangeId},
    rabbitmq::{
        access::{Access, Act, Permissions},
        exchange_declaration::Kind,
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
        // Any of them would do, so that none is named.
        if any { Ok(()) } else { self.permit_named(by, Act::Read, what, name, false) }
    }

    /// Checks a connection's permission on a routing key of an exchange, which topic exchanges
    /// have.
    pub(super) fn permit_topic(
        &self,
        by: ConnectionId,
        act: Act,
        exchange: ExchangeId,
        key: &[u8],
    ) -> Result<(), Refusal> {
        let access = self.connections.get(by).map(|connection| &connection.access);
        let Some(access) = access.filter(|access| !access.topics.is_empty()) else { return Ok(()) };
        let exchange = self.exchanges.get(exchange).map(|exchange| &exchange.declared);
        let Some(exchange) = exchange.filter(|exchange| exchange.kind == Kind::Topic) else { return Ok(()) };
        if access.allows_topic(act, exchange.name.as_bytes(), key) {
            return Ok(());
        }
        Err(Refusal::ForbiddenTopic {
            act: self.profile.refusals_name_the_act.then_some(act),
            key: String::from_utf8_lossy(key).into_owned(),
            exchange: exchange.name.to_string(),
            vhost: self.name.clone(),
            user: access.user.clone(),
        })
    }

    fn permit(&self, by: ConnectionId, act: Act, what: &'static str, name: &[u8]) -> Result<(), Refusal> {
        self.permit_named(by, act, what, name, self.profile.refusals_name_the_act)
    }

    fn permit_named(
        &self,
        by: ConnectionId,
        act: Act,
        what: &'static str,
        name: &[u8],
        is_named: bool,
    ) -> Result<(), Refusal> {
        let Some(access) = self.connections.get(by).map(|connection| &connection.access) else {
            return Ok(());
        };
        if access.allows(act, name) {
            return Ok(());
        }
        Err(Refusal::Forbidden {
            act: is_named.then_some(act),
            what,
            name: String::from_utf8_lossy(name).into_owned(),
            vhost: self.name.clone(),
            user: access.user.clone(),
        })
    }

    /// Changes a connection's permissions; `None` forbids everything. As in RabbitMQ, the tags stay
    /// those that the user had when it logged in.
    pub(crate) fn renew_access(&mut self, id: ConnectionId, access: Option<Access>) {
        if let Some(connection) = self.connections.get_mut(id) {
            // Remembered routes depend on permissions, so they are searched anew.
            self.routes_version += 1;
            let current = &mut connection.access;
            match access {
                Some(access) => (current.permissions, current.topics) = (access.permissions, access.topics),
                None => current.permissions = Some(Permissions::none()),
            }
        }
    }

    /// Checks that a connection may publish messages with this `user-id`.
    pub(super) fn permit_user_id(&self, by: ConnectionId, claimed: &[u8]) -> Result<(), Refusal> {
        let access = self.connections.get(by).map(|connection| &connection.access);
        if access.is_some_and(|access| access.may_be(claimed)) {
            return Ok(());
        }
        Err(Refusal::WrongUserId {
            claimed: String::from_utf8_lossy(claimed).into_owned(),
            user: access.map_or_else(String::new, |access| access.user.clone()),
        })
    }
}
