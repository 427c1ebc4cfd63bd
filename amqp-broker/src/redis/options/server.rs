//! Where Redis is.

use std::{fmt, path::PathBuf};

/// How Redis is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Host, IPv6 addresses without brackets, and port.
    Tcp(String, u16),
    Socket(PathBuf),
    /// The hosts and ports of sentinels.
    Sentinels(Vec<(String, u16)>),
}

impl Server {
    pub(super) const PORT: u16 = 6379;
    pub(super) const SENTINEL_PORT: u16 = 26379;
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Tcp(host, port) => write!(f, "redis://{host}:{port}"),
            Server::Socket(path) => write!(f, "redis+socket://{}", path.display()),
            Server::Sentinels(sentinels) => {
                f.write_str("sentinel://")?;
                let mut separator = "";
                for (host, port) in sentinels {
                    write!(f, "{separator}{host}:{port}")?;
                    separator = ";";
                }
                Ok(())
            }
        }
    }
}

/// TLS to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedisTls {
    /// Whether the server's certificate is verified.
    pub(crate) verify: bool,
    /// Whether the certificate must be for the host's name.
    pub(crate) check_hostname: bool,
    /// A PEM file with the certificate authorities to trust; those of the system otherwise.
    pub(crate) ca_certs: Option<PathBuf>,
    /// Further authorities to trust, in PEM.
    pub(crate) ca_data: Option<String>,
    /// PEM files with the client's certificate and its key.
    pub(crate) certfile: Option<PathBuf>,
    pub(crate) keyfile: Option<PathBuf>,
}

impl RedisTls {
    /// With the files of another where this one names none. A key belongs to its certificate.
    pub(super) fn with_files_of(mut self, other: RedisTls) -> Self {
        if self.ca_certs.is_none() && self.ca_data.is_none() {
            (self.ca_certs, self.ca_data) = (other.ca_certs, other.ca_data);
        }
        if self.certfile.is_none() {
            (self.certfile, self.keyfile) = (other.certfile, other.keyfile);
        }
        self
    }
}

impl Default for RedisTls {
    fn default() -> Self {
        RedisTls {
            verify: true,
            check_hostname: true,
            ca_certs: None,
            ca_data: None,
            certfile: None,
            keyfile: None,
        }
    }
}
