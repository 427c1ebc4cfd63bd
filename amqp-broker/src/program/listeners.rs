//! Where the program listens.

use std::{
    io::{self, ErrorKind, Write},
    net::SocketAddr,
};

use amqp_codec::Report;
use rustix::io::Errno;
use tokio::net::lookup_host;

use crate::{
    broker::{Broker, Listener},
    server::tls::Tls,
};

/// The address to listen at when none is configured.
const DEFAULT: &str = "127.0.0.1:5672";

/// The listeners of the program.
///
/// # On drop
/// They stop listening.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    all: Vec<(Listener, &'static str)>,
}

impl Listeners {
    /// Listens at all of these addresses, or at the default one.
    ///
    /// # Errors
    /// When listening at one of them fails; the message names it.
    pub(crate) async fn open(
        broker: &Broker,
        plain: &[String],
        under_tls: &[String],
        tls: Option<&Tls>,
    ) -> Result<Self, String> {
        let mut listeners = Listeners::default();
        if plain.is_empty() && under_tls.is_empty() {
            listeners.listen(broker, DEFAULT, None).await?;
        }
        for address in plain {
            listeners.listen(broker, address, None).await?;
        }
        for address in under_tls {
            listeners.listen(broker, address, tls).await?;
        }
        Ok(listeners)
    }

    /// Listens at an address or, as RabbitMQ does, at all addresses of a name: `localhost` is
    /// 127.0.0.1 and usually also `::1`.
    async fn listen(&mut self, broker: &Broker, address: &str, tls: Option<&Tls>) -> Result<(), String> {
        let refused = |error: &io::Error| refused(address, error);
        let (mut is_heard, mut missing) = (false, None);
        for at in addresses(address).await.map_err(|error| refused(&error))? {
            let (listener, how) = match tls {
                None => (broker.listen(at).await, ""),
                Some(tls) => (broker.listen_tls(at, tls).await, " with TLS"),
            };
            match listener {
                Ok(listener) => {
                    self.all.push((listener, how));
                    is_heard = true;
                }
                Err(error) if is_of_another_machine(&error) => missing = Some((at, error)),
                Err(error) => return Err(refused(&error)),
            }
        }
        match missing {
            Some((_, error)) if !is_heard => return Err(refused(&error)),
            Some((at, error)) => tracing::warn!("cannot listen at {at} of {address}: {}", Report(&error)),
            None => {}
        }
        Ok(())
    }

    /// Prints the addresses to standard output.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(crate) fn announce(&self) -> Result<(), String> {
        let mut stdout = io::stdout();
        let mut lines = self.all.iter();
        let written = lines
            .try_for_each(|(listener, how)| writeln!(stdout, "listening on {}{how}", listener.local_addr()))
            .and_then(|()| stdout.flush());
        written.map_err(|error| format!("cannot say on standard output where it listens: {error}"))
    }
}

/// The addresses of a name, without duplicates.
pub(crate) async fn addresses(name: &str) -> io::Result<Vec<SocketAddr>> {
    let mut all = Vec::new();
    for address in lookup_host(name).await? {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    match all.is_empty() {
        true => Err(io::Error::new(ErrorKind::NotFound, "the name has no address")),
        false => Ok(all),
    }
}

/// Tells whether this machine does not have the address, as with IPv6 turned off.
pub(crate) fn is_of_another_machine(error: &io::Error) -> bool {
    let no_such_family = Some(Errno::AFNOSUPPORT.raw_os_error());
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == no_such_family
}

pub(crate) fn refused(address: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::InvalidInput => ": an address is HOST:PORT, such as 0.0.0.0:5672 or [::]:5672",
        _ => "",
    };
    format!("cannot listen on {address}: {}{hint}", Report(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_listened_to_at_each_of_its_addresses_that_this_machine_has() {
        let broker = Broker::builder().build();
        let listeners = Listeners::open(&broker, &["localhost:0".to_owned()], &[], None).await.unwrap();
        let heard: Vec<SocketAddr> =
            listeners.all.iter().map(|(listener, _)| listener.local_addr()).collect();
        assert!(!heard.is_empty() && heard.iter().all(|address| address.ip().is_loopback()), "{heard:?}");
        for address in heard {
            tokio::net::TcpStream::connect(address).await.unwrap();
        }
    }

    #[tokio::test]
    async fn where_it_cannot_be_listened_the_address_is_named() {
        let broker = Broker::builder().build();
        let taken = broker.listen("127.0.0.1:0").await.unwrap();
        // This is an address for documentation (RFC 5737), which no machine has.
        for address in ["5672", "", "127.0.0.1:99999", "203.0.113.1:0", &taken.local_addr().to_string()] {
            let error = Listeners::open(&broker, &[address.to_owned()], &[], None).await.unwrap_err();
            assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
        }
    }
}
