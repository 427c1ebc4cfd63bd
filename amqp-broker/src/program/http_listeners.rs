//! Where the program serves HTTP.

use std::io::{self, Write};

use amqp_codec::Report;

use super::listeners::{addresses, is_of_another_machine, refused};
use crate::{
    broker::{Broker, Listener},
    management::service::options::HttpOptions,
    server::tls::Tls,
    settings::Settings,
};

/// The program's listeners for HTTP, each with what is said of it.
///
/// # On drop
/// They stop listening.
#[derive(Debug, Default)]
pub(crate) struct HttpListeners {
    all: Vec<(Listener, &'static str, &'static str)>,
}

impl HttpListeners {
    /// Listens at all addresses that the settings name.
    ///
    /// # Errors
    /// When listening at one of them fails; the message names it.
    pub(crate) async fn open(
        broker: &Broker,
        settings: &Settings,
        tls: Option<&Tls>,
    ) -> Result<Self, String> {
        let mut listeners = HttpListeners::default();
        let with_login = |options: HttpOptions| options.metrics_need_login(settings.metrics_login);
        for address in &settings.http {
            listeners.listen(broker, address, None, ("HTTP", &with_login(HttpOptions::new()))).await?;
        }
        for address in &settings.http_tls {
            listeners.listen(broker, address, tls, ("HTTP", &with_login(HttpOptions::new()))).await?;
        }
        for address in &settings.metrics {
            listeners.listen(broker, address, None, ("metrics", &with_login(HttpOptions::metrics()))).await?;
        }
        Ok(listeners)
    }

    /// Listens at all addresses of a name that this machine has.
    async fn listen(
        &mut self,
        broker: &Broker,
        address: &str,
        tls: Option<&Tls>,
        (what, options): (&'static str, &HttpOptions),
    ) -> Result<(), String> {
        let (mut is_heard, mut missing) = (false, None);
        for at in addresses(address).await.map_err(|error| refused(address, &error))? {
            let (listener, how) = match tls {
                None => (broker.listen_http(at, options.clone()).await, ""),
                Some(tls) => (broker.listen_https(at, tls, options.clone()).await, " with TLS"),
            };
            match listener {
                Ok(listener) => {
                    self.all.push((listener, what, how));
                    is_heard = true;
                }
                Err(error) if is_of_another_machine(&error) => missing = Some((at, error)),
                Err(error) => return Err(refused(address, &error)),
            }
        }
        match missing {
            Some((_, error)) if !is_heard => return Err(refused(address, &error)),
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
            .try_for_each(|(listener, what, how)| {
                writeln!(stdout, "serving {what} on {}{how}", listener.local_addr())
            })
            .and_then(|()| stdout.flush());
        written.map_err(|error| format!("cannot say on standard output where it serves HTTP: {error}"))
    }
}
