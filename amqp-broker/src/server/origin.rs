//! The origin of a connection.

use std::net::{IpAddr, SocketAddr};

/// The origin of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Both addresses as RabbitMQ names connections; `None` inside this process.
    name: Option<String>,
    is_near: bool,
}

impl Origin {
    /// A connection inside this process.
    pub(crate) fn here() -> Self {
        Origin { name: None, is_near: true }
    }

    /// A socket with these addresses; our own may be unknown.
    pub(crate) fn address(peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        let name = match local {
            Some(local) => format!("{peer} -> {local}"),
            None => peer.to_string(),
        };
        Origin { name: Some(name), is_near: is_loopback(peer.ip()) }
    }

    /// Tells whether the client is on this machine.
    pub(crate) fn is_near(&self) -> bool {
        self.is_near
    }

    /// The connection's name; `None` inside this process.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The connection's name by value.
    pub(crate) fn into_name(self) -> Option<String> {
        self.name
    }
}

/// Tells whether an address is a loopback address, also as an IPv4 address in IPv6 form.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_near_in_either_family_and_as_one_in_the_other() {
        let near = |peer: &str| Origin::address(peer.parse().unwrap(), None).is_near();
        for peer in ["127.0.0.1:1", "127.255.3.4:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(near(peer), "{peer}");
        }
        for peer in [
            "192.0.2.1:1",
            "0.0.0.0:1",
            "10.0.0.1:1",
            "[::]:1",
            "[::127.0.0.1]:1",
            "[::ffff:192.0.2.1]:1",
            "[fe80::1]:1",
        ] {
            assert!(!near(peer), "{peer}");
        }
        assert!(Origin::here().is_near());
    }

    #[test]
    fn a_socket_has_the_name_of_both_its_ends() {
        let (peer, local) = ("127.0.0.1:50000".parse().unwrap(), "[::1]:5672".parse().unwrap());
        assert_eq!(Origin::address(peer, Some(local)).name(), Some("127.0.0.1:50000 -> [::1]:5672"));
        assert_eq!(Origin::address(peer, None).name(), Some("127.0.0.1:50000"));
        assert_eq!(Origin::here().name(), None);
    }
}
