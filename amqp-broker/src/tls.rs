//! TLS: the broker's certificate, and whose clients it trusts.

use std::{fmt, io, path::Path, path::PathBuf, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig, ServerConnection,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{Error as PemError, PemObject},
        },
        server::WebPkiClientVerifier,
    },
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// The certificate a broker shows, and the authorities its clients' certificates must come from, if it asks for any: for
/// [`Broker::listen_tls`](crate::Broker::listen_tls). TLS 1.2 and 1.3.
///
/// With [`client_authorities`](Tls::client_authorities) every client needs a certificate, and may log in by it with the
/// mechanism EXTERNAL: as the user its common name names, who must exist. RabbitMQ does the same with its plugin
/// `rabbitmq_auth_mechanism_ssl` and `ssl_cert_login_from = common_name`.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use amqp_broker::{Broker, Tls};
///
/// let tls = Tls::from_files("server.pem", "server.key")?.client_authorities_from_file("clients.pem")?;
/// let listener = Broker::builder().build().listen_tls("127.0.0.1:5671", &tls).await?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    clients: Vec<CertificateDer<'static>>,
    config: Arc<ServerConfig>,
}

/// Why there can be no TLS.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// There is no PEM of the kind that is due.
    #[error("no {what} in PEM: {why}")]
    BadPem {
        /// What is due.
        what: &'static str,
        /// What is there.
        why: String,
    },
    /// Certificate and key cannot be used, or not together.
    #[error("the certificate cannot be used with its key: {0}")]
    BadIdentity(String),
    /// The clients' authorities cannot be used.
    #[error("the certificate authorities of clients cannot be used: {0}")]
    BadAuthorities(String),
}

impl Tls {
    /// A certificate, with those between it and its authority after it, and its key, both in PEM.
    ///
    /// # Errors
    /// When either is missing or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates_in(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(bad_pem("private key"))?;
        Self::new(chain, Arc::new(key), Vec::new())
    }

    /// The same from files.
    ///
    /// # Errors
    /// As [`from_pem`](Tls::from_pem), or when a file cannot be read.
    pub fn from_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::from_pem(&read(certificates.as_ref())?, &read(key.as_ref())?)
    }

    /// Requires of every client a certificate of one of these authorities, which are certificates in PEM.
    ///
    /// # Errors
    /// When there is none.
    pub fn client_authorities(self, pem: &[u8]) -> Result<Self, TlsError> {
        Self::new(self.chain, self.key, certificates_in(pem)?)
    }

    /// The same from a file.
    ///
    /// # Errors
    /// As [`client_authorities`](Tls::client_authorities), or when the file cannot be read.
    pub fn client_authorities_from_file(self, pem: impl AsRef<Path>) -> Result<Self, TlsError> {
        self.client_authorities(&read(pem.as_ref())?)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<PrivateKeyDer<'static>>,
        clients: Vec<CertificateDer<'static>>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let bad_identity = |error: tokio_rustls::rustls::Error| TlsError::BadIdentity(error.to_string());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(bad_identity)?;
        let builder = if clients.is_empty() {
            builder.with_no_client_auth()
        } else {
            let bad = |why: String| TlsError::BadAuthorities(why);
            let mut roots = RootCertStore::empty();
            for client in &clients {
                roots.add(client.clone()).map_err(|error| bad(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| bad(error.to_string()))?)
        };
        let config = builder.with_single_cert(chain.clone(), key.clone_key()).map_err(bad_identity)?;
        Ok(Tls { chain, key, clients, config: Arc::new(config) })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

// The key does not show.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = self.clients.len();
        f.debug_struct("Tls")
            .field("chain", &self.chain.len())
            .field("clients", &clients)
            .finish_non_exhaustive()
    }
}

/// The common name in the certificate by which a client has shown who it is.
pub(crate) fn client_name(connection: &ServerConnection) -> Option<String> {
    // Only a certificate that was verified gets here.
    let certificate = connection.peer_certificates()?.first()?;
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

fn certificates_in(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(bad_pem("certificate"))?;
    if certificates.is_empty() {
        return Err(bad_pem("certificate")(PemError::NoItemsFound));
    }
    Ok(certificates)
}

fn bad_pem(what: &'static str) -> impl Fn(PemError) -> TlsError {
    move |error| TlsError::BadPem { what, why: error.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path)
        .map_err(|source| TlsError::Unreadable { path: path.to_owned(), source: Arc::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_told() {
        let error = Tls::from_pem(b"", b"").unwrap_err();
        assert!(error.to_string().starts_with("no certificate in PEM: "), "{error}");
        let error = Tls::from_files("/nonexistent/x.pem", "x.key").unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nonexistent/x.pem: "), "{error}");
    }
}
