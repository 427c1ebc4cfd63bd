//! The target of a call, and the address of a server.

use crate::version::Version;

/// The exchange of targets that name none: oslo.messaging's default `control_exchange`.
pub(crate) const CONTROL_EXCHANGE: &str = "openstack";

/// The address of remote methods: a topic, optionally one of its servers, an interface and its
/// version.
///
/// ```
/// use messaging::Target;
///
/// let math = Target::topic("math").namespace("arithmetic").version(1, 3);
/// let one_of_them = math.clone().server("host-1");
/// # let _ = one_of_them;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    topic: String,
    exchange: Option<String>,
    server: Option<String>,
    namespace: Option<String>,
    version: Option<Version>,
}

impl Target {
    /// Returns the target of all servers of a topic, one of which gets each call.
    pub fn topic(topic: impl Into<String>) -> Self {
        Target { topic: topic.into(), exchange: None, server: None, namespace: None, version: None }
    }

    /// Sets the topic's exchange; default
    /// [`Topology::control_exchange`](crate::Topology::control_exchange).
    #[must_use]
    pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = Some(exchange.into());
        self
    }

    /// Sets one server of the topic. For a server this is required: it is the server's own name.
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Sets the interface, if a server has several; default none.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the version of the interface. By default none is sent, which servers take for 1.0.
    #[must_use]
    pub fn version(mut self, major: u32, minor: u32) -> Self {
        self.version = Some(Version::new(major, minor));
        self
    }

    /// Sets the version as [`version`](Self::version) does, with a revision.
    #[must_use]
    pub fn exact_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    pub(crate) fn topic_name(&self) -> &str {
        &self.topic
    }

    pub(crate) fn exchange_name(&self) -> Option<&str> {
        self.exchange.as_deref()
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server.as_deref()
    }

    pub(crate) fn namespace_name(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(crate) fn interface_version(&self) -> Option<Version> {
        self.version
    }

    /// Returns the routing key of requests, which is also the name of the queue.
    pub(crate) fn routing_key(&self) -> String {
        match &self.server {
            Some(server) => format!("{}.{server}", self.topic),
            None => self.topic.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_its_own_key_and_a_server_is_behind_a_dot() {
        assert_eq!(Target::topic("t1").routing_key(), "t1");
        assert_eq!(Target::topic("t1").server("s1").routing_key(), "t1.s1");
    }
}
