//! What RabbitMQ's management API tells, and the broker of this repository too.

use amqp_client::Uri;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::http::Endpoint;
use crate::{connection::target::Target, error::Error};

const PORT: u16 = 15672;

/// Where the management API is, and which virtual host is asked about.
pub(super) struct Management {
    endpoint: Endpoint,
    vhost: String,
}

/// The exchanges, queues and bindings of a virtual host.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) exchanges: Vec<ExchangeInfo>,
    pub(super) queues: Vec<QueueInfo>,
    pub(super) bindings: Vec<BindingInfo>,
}

/// An exchange. The default one has no name.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ExchangeInfo {
    #[serde(rename(serialize = "exchange"))]
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    #[serde(default)]
    pub(super) internal: bool,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct QueueInfo {
    #[serde(rename(serialize = "queue"))]
    pub(super) name: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) durable: bool,
    /// The broker may not have counted yet.
    #[serde(default)]
    pub(super) messages: Option<u64>,
    #[serde(default)]
    pub(super) messages_unacknowledged: Option<u64>,
    #[serde(default)]
    pub(super) consumers: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct BindingInfo {
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) destination_type: String,
    pub(super) routing_key: String,
}

impl Management {
    /// The API at this URL, or at the port of RabbitMQ's on the broker's host; its login is the
    /// broker's, unless it is in the URL.
    ///
    /// # Errors
    /// [`Error::Usage`] when the broker's URL does not tell, or this one is not HTTP.
    pub(super) fn of(url: Option<&str>, target: &Target) -> Result<Self, Error> {
        let broker = Uri::parse_list(target.url().expose()).ok().and_then(|uris| uris.into_iter().next());
        let broker = broker.unwrap_or_default();
        let mut endpoint = Endpoint {
            host: broker.host,
            port: PORT,
            user: broker.user,
            password: broker.password.expose().to_owned(),
        };
        if let Some(url) = url {
            read(url, &mut endpoint).map_err(|why| Error::Usage(format!("--management: {why}")))?;
        }
        Ok(Management { endpoint, vhost: broker.vhost })
    }

    /// Asks for all exchanges, queues and bindings.
    ///
    /// # Errors
    /// [`Error::Nothing`] when there is no answer, or another than was asked for.
    pub(super) async fn topology(&self) -> Result<Topology, Error> {
        let vhost = utf8_percent_encode(&self.vhost, NON_ALPHANUMERIC);
        let [exchanges, queues, bindings] =
            ["exchanges", "queues", "bindings"].map(|what| format!("/api/{what}/{vhost}"));
        let asked = async {
            Ok(Topology {
                exchanges: self.endpoint.get(&exchanges).await?,
                queues: self.endpoint.get(&queues).await?,
                bindings: self.endpoint.get(&bindings).await?,
            })
        };
        let asked: Result<Topology, Box<dyn std::error::Error + Send + Sync>> = asked.await;
        asked.map_err(|error| {
            let (host, port) = (&self.endpoint.host, self.endpoint.port);
            let why = amqp_client::Report(&*error).to_string();
            Error::Nothing(format!("the management API at {host}:{port} does not tell: {why}"))
        })
    }
}

/// Reads `http://user:password@host:port`. An error repeats nothing of it.
fn read(url: &str, endpoint: &mut Endpoint) -> Result<(), &'static str> {
    let rest = url.strip_prefix("http://").ok_or("it is no http://host:port")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let address = match rest.rsplit_once('@') {
        Some((login, address)) => {
            let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let (user, password) =
                login.split_once(':').map_or((login, None), |(user, rest)| (user, Some(rest)));
            endpoint.user = decoded(user);
            if let Some(password) = password {
                endpoint.password = decoded(password);
            }
            address
        }
        None => rest,
    };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| "the port is no number from 0 to 65535")?)
        }
        _ => (address, PORT),
    };
    endpoint.host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    endpoint.port = port;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_what_it_has_and_the_rest_is_the_brokers() {
        let shown = |url| {
            let (host, user, password) = ("h".to_owned(), "u".to_owned(), "p".to_owned());
            let mut endpoint = Endpoint { host, port: 1, user, password };
            read(url, &mut endpoint)?;
            let Endpoint { host, port, user, password } = endpoint;
            Ok::<_, &'static str>(format!("{user} {password} {host} {port}"))
        };
        assert_eq!(shown("http://x").unwrap(), "u p x 15672");
        assert_eq!(shown("http://a%40:b@x:5/").unwrap(), "a@ b x 5");
        assert_eq!(shown("http://a@[::1]:5").unwrap(), "a p ::1 5");
        assert_eq!(shown("http://[::1]").unwrap(), "u p ::1 15672");
        assert!(shown("https://x").is_err() && shown("http://x:y").is_err());
    }
}
