//! A running RabbitMQ node: its address, and its commands.

use std::env;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::installation::{Installation, require_rabbitmq};
use crate::process;

/// Restricts Erlang's port between nodes, which otherwise listens everywhere, to this machine.
pub(crate) const LOOPBACK_ONLY: &str = "-kernel inet_dist_use_interface {127,0,0,1}";

/// The name of a node. Each has an epmd of its own, so one name serves all, except those of a
/// cluster.
pub(crate) const NAME: &str = "test@localhost";
const CTL_DEADLINE: Duration = Duration::from_secs(180);

const URI_VARIABLE: &str = "AMQP_TEST_RABBITMQ_URI";
const HOME_VARIABLE: &str = "AMQP_TEST_RABBITMQ_HOME";
const EPMD_PORT_VARIABLE: &str = "AMQP_TEST_RABBITMQ_EPMD_PORT";
const HTTP_PORT_VARIABLE: &str = "AMQP_TEST_RABBITMQ_HTTP_PORT";
const METRICS_PORT_VARIABLE: &str = "AMQP_TEST_RABBITMQ_METRICS_PORT";

/// A running RabbitMQ node.
#[derive(Clone, Debug)]
pub struct Node {
    host: String,
    port: u16,
    uri: String,
    control: Option<Control>,
    http: Option<HttpPorts>,
}

/// The ports of a node's plugins that speak HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpPorts {
    /// The port of rabbitmq_management.
    pub management: u16,
    /// The port of rabbitmq_prometheus.
    pub metrics: u16,
}

/// What RabbitMQ's programs need to know of a private node.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) installation: Installation,
    /// Its folder: cookie, data, logs.
    pub(crate) home: PathBuf,
    pub(crate) epmd_port: u16,
    pub(crate) name: String,
}

impl Node {
    /// The node that `tests/run` started for all tests, if it did: the one at
    /// `AMQP_TEST_RABBITMQ_URI`.
    ///
    /// # Panics
    /// When the variable is set but is not an AMQP URI, because leaving tests out would hide the
    /// mistake.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Node>> = OnceLock::new();
        SHARED.get_or_init(Self::from_environment).as_ref()
    }

    /// [`shared`](Self::shared), which reports `test` as left out when there is none.
    ///
    /// # Panics
    /// As `shared` does; also when `test` does not contain rabbitmq, by which `tests/run` chooses
    /// what it repeats on another version.
    #[must_use]
    pub fn require(test: &str) -> Option<&'static Self> {
        let shared = Self::shared();
        require_rabbitmq(test, shared.is_some());
        shared
    }

    /// The ports that speak HTTP, of a node that
    /// [`RabbitMq::start_managed`](crate::RabbitMq::start_managed) started.
    #[must_use]
    pub fn http(&self) -> Option<HttpPorts> {
        self.http
    }

    /// The port that speaks AMQP.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, as [`Proxy::start`](crate::Proxy::start) takes it.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The URI of the virtual host `/` for an administrator; on a private node that is guest.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The URI of `vhost` for `user`, each percent-encoded.
    #[must_use]
    pub fn uri_for(&self, user: &str, password: &str, vhost: &str) -> String {
        let [user, password, vhost] =
            [user, password, vhost].map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC));
        format!("amqp://{user}:{password}@{}:{}/{vhost}", self.host, self.port)
    }

    /// Runs rabbitmqctl on this node; returns its output without headings.
    ///
    /// # Errors
    /// When rabbitmqctl fails (with its output), does not end within 180 s, or the node was not
    /// started by [`RabbitMq::start`](crate::RabbitMq::start) or `tests/run`, so that it cannot
    /// reach it.
    ///
    /// # Cancel safety
    /// rabbitmqctl is killed when the future is dropped; whether the node has executed the command
    /// is unknown.
    pub async fn ctl(&self, args: &[&str]) -> io::Result<String> {
        let control = self.control.as_ref().ok_or_else(|| {
            io::Error::other(format!("the node at {} is not one of ours: no rabbitmqctl", self.authority()))
        })?;
        let mut rabbitmqctl = control.command(control.installation.script("rabbitmqctl"));
        rabbitmqctl.arg("--quiet").args(args).env("RABBITMQ_CTL_ERL_ARGS", LOOPBACK_ONLY);
        let output = process::output(rabbitmqctl, CTL_DEADLINE).await?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let said = [output.stdout, output.stderr].concat();
            Err(io::Error::other(format!("rabbitmqctl {args:?}: {}", String::from_utf8_lossy(&said).trim())))
        }
    }

    /// The variables by which a child process finds this node as [`shared`](Self::shared).
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![(URI_VARIABLE, self.uri.clone())];
        if let Some(control) = &self.control {
            variables.push((HOME_VARIABLE, control.home.display().to_string()));
            variables.push((EPMD_PORT_VARIABLE, control.epmd_port.to_string()));
            variables.extend(control.installation.variable());
        }
        if let Some(HttpPorts { management, metrics }) = self.http {
            variables.push((HTTP_PORT_VARIABLE, management.to_string()));
            variables.push((METRICS_PORT_VARIABLE, metrics.to_string()));
        }
        variables
    }

    pub(crate) fn private(port: u16, control: Control) -> Self {
        let host = Ipv4Addr::LOCALHOST.to_string();
        let mut node = Self { host, port, uri: String::new(), control: Some(control), http: None };
        node.uri = node.uri_for("guest", "guest", "/");
        node
    }

    pub(crate) fn with_http(mut self, ports: HttpPorts) -> Self {
        self.http = Some(ports);
        self
    }

    #[allow(clippy::panic, reason = "what is set up wrongly must fail, not be left out")]
    fn from_environment() -> Option<Self> {
        let uri = env::var(URI_VARIABLE).ok().filter(|uri| !uri.is_empty())?;
        match Self::from_uri(&uri, Control::from_environment()) {
            Ok(node) => Some(Node { http: HttpPorts::from_environment(), ..node }),
            Err(why) => panic!("{URI_VARIABLE}: {why}"),
        }
    }

    /// Reads a URI. The error does not repeat it, since it may hold a password.
    fn from_uri(uri: &str, control: Option<Control>) -> Result<Self, String> {
        let rest = uri.strip_prefix("amqp://").ok_or("it does not start with amqp://")?;
        let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
        let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
        let (host, port) = match address.rsplit_once(':') {
            // The colons of an IPv6 address are within brackets.
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|error| format!("the port: {error}"))?)
            }
            _ => (address, 5672),
        };
        if host.is_empty() {
            return Err("there is no host".into());
        }
        Ok(Self { host: host.to_owned(), port, uri: uri.to_owned(), control, http: None })
    }
}

impl HttpPorts {
    fn from_environment() -> Option<Self> {
        let port = |variable| env::var(variable).ok()?.parse().ok();
        Some(Self { management: port(HTTP_PORT_VARIABLE)?, metrics: port(METRICS_PORT_VARIABLE)? })
    }
}

impl Control {
    /// That of a node of the chosen installation.
    pub(crate) fn new(home: &Path, epmd_port: u16, name: &str) -> Self {
        Self { installation: Installation::chosen(), home: home.to_owned(), epmd_port, name: name.to_owned() }
    }

    fn from_environment() -> Option<Self> {
        let home = env::var_os(HOME_VARIABLE)?;
        let epmd_port = env::var(EPMD_PORT_VARIABLE).ok()?.parse().ok()?;
        Some(Self::new(Path::new(&home), epmd_port, NAME))
    }

    /// A program of the installation with the environment of this node, and without variables that
    /// lead to another.
    pub(crate) fn command(&self, mut command: Command) -> Command {
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("RABBITMQ_") || text.starts_with("ERL_") || text == "NOTIFY_SOCKET" {
                command.env_remove(&name);
            }
        }
        command
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("LC_ALL", "C.UTF-8")
            .env("ERL_EPMD_ADDRESS", Ipv4Addr::LOCALHOST.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private() -> Node {
        Node::private(5673, Control::new(Path::new("/nowhere"), 4370, NAME))
    }

    #[test]
    fn a_private_node_is_guests() {
        assert_eq!(private().uri(), "amqp://guest:guest@127.0.0.1:5673/%2F");
        assert_eq!(private().authority(), "127.0.0.1:5673");
    }

    #[test]
    fn every_part_of_a_uri_is_encoded() {
        assert_eq!(
            private().uri_for("a@b", "p:/ %", "x/y"),
            "amqp://a%40b:p%3A%2F%20%25@127.0.0.1:5673/x%2Fy"
        );
    }

    #[test]
    fn a_node_is_found_by_its_uri_and_keeps_it() {
        let uri = "amqp://guest:guest@rabbit.example/";
        let node = Node::from_uri(uri, None).unwrap();
        assert_eq!(node.authority(), "rabbit.example:5672");
        assert_eq!(node.uri(), uri);
        assert_eq!(node.uri_for("u", "p", "v"), "amqp://u:p@rabbit.example:5672/v");
        let node = Node::from_uri("amqp://u:p@[::1]:5673/v", None).unwrap();
        assert_eq!(node.authority(), "[::1]:5673");
        assert_eq!(Node::from_uri("amqp://[::1]", None).unwrap().authority(), "[::1]:5672");
    }

    #[test]
    fn what_is_no_uri_of_a_node_is_refused_without_repeating_it() {
        for uri in ["", "localhost:5672", "http://u:secret@host/", "amqp:///", "amqp://u:secret@host:99999/"]
        {
            let why = Node::from_uri(uri, None).unwrap_err();
            assert!(!why.is_empty() && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_child_process_finds_the_node_by_its_environment() {
        let variables = private().environment();
        let names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
        assert_eq!(names[..3], [URI_VARIABLE, HOME_VARIABLE, EPMD_PORT_VARIABLE]);
        assert_eq!(variables[0].1, private().uri());
        let managed = private().with_http(HttpPorts { management: 1, metrics: 2 }).environment();
        let ports: Vec<_> = managed.iter().filter(|variable| !variables.contains(variable)).collect();
        assert_eq!(ports, [&(HTTP_PORT_VARIABLE, "1".to_owned()), &(METRICS_PORT_VARIABLE, "2".to_owned())]);
    }

    #[tokio::test]
    async fn a_node_that_is_not_ours_has_no_rabbitmqctl() {
        let node = Node::from_uri("amqp://u:p@host/", None).unwrap();
        let error = node.ctl(&["status"]).await.unwrap_err();
        assert!(error.to_string().contains("host:5672"), "{error}");
    }
}
