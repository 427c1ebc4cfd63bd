//! Where a management API is, and as whom to ask it.

use std::fmt;

use amqp_client::Uri;
use percent_encoding::percent_decode_str;

use crate::{connection::target::Target, error::Error, management::arguments::ManagementArguments};

const PORT: u16 = 15672;

/// Where to ask, and as whom. `Debug` shows no password.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
}

impl Endpoint {
    /// The API that the arguments name, or that at RabbitMQ's port on the broker's host. Its login
    /// is the broker's, unless it is in the arguments.
    ///
    /// # Errors
    /// [`Error::Usage`] when neither tells, or the argument is no URL of HTTP.
    pub(crate) fn of(arguments: &ManagementArguments, target: &Target) -> Result<Self, Error> {
        let broker = broker(target);
        let url = match (&arguments.management, &broker) {
            (None, None) => {
                let why = "the broker's URL does not tell where a management API is; --management URL does";
                return Err(Error::Usage(why.to_owned()));
            }
            (url, _) => url.as_deref(),
        };
        let broker = broker.unwrap_or_default();
        let mut endpoint = Endpoint {
            host: broker.host,
            port: PORT,
            user: broker.user,
            password: broker.password.expose().to_owned(),
        };
        if let Some(url) = url {
            endpoint.read(url).map_err(|why| Error::Usage(format!("--management: {why}")))?;
        }
        Ok(endpoint)
    }

    /// Host and port, as in a URL.
    pub(crate) fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Reads `http://user:password@host:port`. An error repeats nothing of it.
    fn read(&mut self, url: &str) -> Result<(), &'static str> {
        let rest = url.strip_prefix("http://").ok_or("it is no http://host:port")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let address = match rest.rsplit_once('@') {
            Some((login, address)) => {
                self.read_login(login);
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
        self.host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        self.port = port;
        Ok(())
    }

    fn read_login(&mut self, login: &str) {
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = login.split_once(':').map_or((login, None), |(user, rest)| (user, Some(rest)));
        self.user = decoded(user);
        if let Some(password) = password {
            self.password = decoded(password);
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.address())
    }
}

/// The first broker of the URL, if that is one of AMQP; the schemes of kombu and oslo.messaging
/// mean the same.
pub(crate) fn broker(target: &Target) -> Option<Uri> {
    let url = target.url().expose();
    // kombu separates alternatives by semicolons.
    let url = url.split(';').next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme.strip_prefix("kombu+").unwrap_or(scheme) {
        "amqp" | "pyamqp" | "librabbitmq" | "rabbit" | "kombu" => "amqp",
        "amqps" | "pyamqps" => "amqps",
        _ => return None,
    };
    Uri::parse_list(&format!("{scheme}://{rest}")).ok()?.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_what_it_has_and_the_rest_is_the_brokers() {
        let shown = |url| {
            let (host, user, password) = ("h".to_owned(), "u".to_owned(), "p".to_owned());
            let mut endpoint = Endpoint { host, port: 1, user, password };
            endpoint.read(url)?;
            Ok::<_, &'static str>(format!("{endpoint:?} {} {}", endpoint.password, endpoint.host))
        };
        assert_eq!(shown("http://x").unwrap(), "u@x:15672 p x");
        assert_eq!(shown("http://a%40:b@x:5/").unwrap(), "a@@x:5 b x");
        assert_eq!(shown("http://a@[::1]:5").unwrap(), "a@[::1]:5 p ::1");
        assert_eq!(shown("http://[::1]").unwrap(), "u@[::1]:15672 p ::1");
        assert!(shown("ftp://x").is_err() && shown("http://x:y").is_err());
    }
}
