//! Where a management API is, and as whom to ask it.

use std::fmt;

use amqp_client::Uri;
use percent_encoding::percent_decode_str;

use crate::{connection::target::Target, error::Error, management::arguments::ManagementArguments};

const PORT: u16 = 15672;
const TLS_PORT: u16 = 15671;

/// The parameters that a URL may have, as those of brokers do.
const PARAMETERS: [&str; 5] = ["cacertfile", "certfile", "keyfile", "server_name_indication", "verify"];

/// Where to ask, and as whom. `Debug` shows no password.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    /// The parameters of TLS, where there is TLS.
    pub(super) tls: Option<Box<Uri>>,
}

impl Endpoint {
    /// The API that the arguments name, or that at RabbitMQ's port on the broker's host, under TLS
    /// if the broker is. Its login and its parameters of TLS are the broker's, unless they are in
    /// the arguments.
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
            host: broker.host.clone(),
            port: if broker.tls { TLS_PORT } else { PORT },
            user: broker.user.clone(),
            password: broker.password.expose().to_owned(),
            tls: broker.tls.then(|| Box::new(broker)),
        };
        if let Some(url) = url {
            endpoint.read(url).map_err(|why| Error::Usage(format!("--management: {why}")))?;
        }
        match (&mut endpoint.tls, &arguments.cacert) {
            (Some(tls), Some(file)) => tls.cacertfile = Some(file.clone()),
            (None, Some(_)) => {
                let why = "--cacert is for a management API under TLS, at https://";
                return Err(Error::Usage(why.to_owned()));
            }
            (_, None) => {}
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

    /// Reads `http(s)://user:password@host:port?parameters`. An error repeats nothing of it.
    fn read(&mut self, url: &str) -> Result<(), &'static str> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let default_port = match scheme {
            "https" => {
                self.tls = Some(Box::new(parameters(query, self.tls.take())?));
                TLS_PORT
            }
            "http" if !query.is_empty() => return Err("only https:// has parameters"),
            "http" => {
                self.tls = None;
                PORT
            }
            _ => return Err("it is neither http://host:port nor https://host:port"),
        };
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
            _ => (address, default_port),
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

/// The parameters of TLS in a query; what is not there is as before.
fn parameters(query: &str, before: Option<Box<Uri>>) -> Result<Uri, &'static str> {
    let pairs = || query.split('&').filter(|pair| !pair.is_empty());
    let is_known = |pair: &str| PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
    if !pairs().all(is_known) {
        return Err(
            "its parameters are cacertfile, certfile, keyfile, server_name_indication and verify, as for amqps://",
        );
    }
    let uri = Uri::parse(&format!("amqps://host?{query}"));
    let uri = uri.map_err(|_| "the value of a parameter is invalid; verify is verify_peer or verify_none")?;
    let Some(before) = before else { return Ok(uri) };
    let has_identity = uri.certfile.is_some() || uri.keyfile.is_some();
    let (certfile, keyfile) = match has_identity {
        true => (uri.certfile, uri.keyfile),
        false => (before.certfile, before.keyfile),
    };
    Ok(Uri {
        cacertfile: uri.cacertfile.or(before.cacertfile),
        certfile,
        keyfile,
        server_name_indication: uri.server_name_indication.or(before.server_name_indication),
        verify: uri.verify.or(before.verify),
        ..Uri::default()
    })
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
    fn parameters_of_tls_are_the_brokers_unless_they_are_given() {
        let broker = Uri::parse("amqps://h?cacertfile=/a&certfile=/c&keyfile=/k").unwrap();
        let both = parameters("cacertfile=%2Fb&verify=verify_none", Some(Box::new(broker.clone()))).unwrap();
        let files = [&both.cacertfile, &both.certfile, &both.keyfile].map(|file| file.as_deref().unwrap());
        assert_eq!(files, ["/b", "/c", "/k"].map(std::path::Path::new));
        assert_eq!(both.verify, Some(false));
        // A certificate is not used with the key of another.
        let own = parameters("certfile=/d", Some(Box::new(broker))).unwrap();
        assert_eq!((own.certfile, own.keyfile), (Some("/d".into()), None));
    }

    #[test]
    fn a_url_has_what_it_has_and_the_rest_is_the_brokers() {
        let shown = |url| {
            let (host, user, password) = ("h".to_owned(), "u".to_owned(), "p".to_owned());
            let mut endpoint = Endpoint { host, port: 1, user, password, tls: None };
            endpoint.read(url)?;
            let tls = endpoint.tls.is_some();
            Ok::<_, &'static str>(format!("{endpoint:?} {} {} {tls}", endpoint.password, endpoint.host))
        };
        assert_eq!(shown("http://x").unwrap(), "u@x:15672 p x false");
        assert_eq!(shown("http://a%40:b@x:5/").unwrap(), "a@@x:5 b x false");
        assert_eq!(shown("http://a@[::1]:5").unwrap(), "a@[::1]:5 p ::1 false");
        assert_eq!(shown("http://[::1]").unwrap(), "u@[::1]:15672 p ::1 false");
        assert_eq!(shown("https://a:b@x").unwrap(), "a@x:15671 b x true");
        assert_eq!(shown("https://x:5/?verify=verify_none").unwrap(), "u@x:5 p x true");
        for wrong in [
            "ftp://x",
            "http://x:y",
            "http://x?verify=verify_none",
            "https://x?heartbeat=1",
            "https://x?verify=no",
        ] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
