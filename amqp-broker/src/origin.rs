//! Where a client comes from.

use std::net::SocketAddr;

/// Where a client comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Both ends as RabbitMQ names connections, unless it is in this process.
    name: Option<String>,
}

impl Origin {
    /// This process.
    pub(crate) fn here() -> Self {
        Origin { name: None }
    }

    /// The address at the other end of a socket, and our own if it is known.
    pub(crate) fn address(peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        let name = match local {
            Some(local) => format!("{peer} -> {local}"),
            None => peer.to_string(),
        };
        Origin { name: Some(name) }
    }

    /// The name that a socket has.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The same for who keeps it.
    pub(crate) fn into_name(self) -> Option<String> {
        self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_the_name_of_both_its_ends() {
        let (peer, local) = ("127.0.0.1:50000".parse().unwrap(), "[::1]:5672".parse().unwrap());
        assert_eq!(Origin::address(peer, Some(local)).name(), Some("127.0.0.1:50000 -> [::1]:5672"));
        assert_eq!(Origin::address(peer, None).name(), Some("127.0.0.1:50000"));
        assert_eq!(Origin::here().name(), None);
    }
}
