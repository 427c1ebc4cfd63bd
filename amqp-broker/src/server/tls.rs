//! TLS: the broker's certificate, and the authorities of its clients.

use std::{fmt, path::Path, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    Accept, TlsAcceptor,
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

use super::tls_error::{TlsError, bad_pem, words};
use crate::sync::RwLock;

/// The broker's certificate and, optionally, the authorities whose client certificates it requires:
/// for [`Broker::listen_tls`](crate::Broker::listen_tls). TLS 1.2 and 1.3.
///
/// With [`client_authorities`](Tls::client_authorities) every client needs a certificate, and may
/// log in with it by the mechanism EXTERNAL, as the user with the certificate's common name, who
/// must exist. RabbitMQ does the same with its plugin `rabbitmq_auth_mechanism_ssl` and
/// `ssl_cert_login_from = common_name`.
///
/// Clones share what [`renew`](Tls::renew) changes.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use amqp_broker::{Broker, Tls};
///
/// let tls = Tls::from_files("server.pem", "server.key")?;
/// let tls = tls.client_authorities_from_file("clients.pem")?;
/// let listener = Broker::builder().build().listen_tls("127.0.0.1:5671", &tls).await?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    current: Arc<RwLock<Identity>>,
}

/// A certificate, its key and the clients' authorities, and rustls's settings with all of them.
#[derive(Clone)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    clients: Vec<CertificateDer<'static>>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Takes a certificate, followed by those between it and its authority, and its key, both in
    /// PEM.
    ///
    /// # Errors
    /// When either is missing or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::new(certificates_in(certificates)?, key_in(key)?, Vec::new())
    }

    /// As [`from_pem`](Tls::from_pem), from files.
    ///
    /// # Errors
    /// As [`from_pem`](Tls::from_pem), or when a file cannot be read.
    pub fn from_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let chain = read(certificates.as_ref(), certificates_in)?;
        Self::new(chain, read(key.as_ref(), key_in)?, Vec::new())
    }

    /// Requires of every client a certificate of one of these authorities, which are certificates
    /// in PEM.
    ///
    /// # Errors
    /// When there is none.
    pub fn client_authorities(self, pem: &[u8]) -> Result<Self, TlsError> {
        self.with_clients(certificates_in(pem)?)
    }

    /// As [`client_authorities`](Tls::client_authorities), from a file.
    ///
    /// # Errors
    /// As [`client_authorities`](Tls::client_authorities), or when the file cannot be read.
    pub fn client_authorities_from_file(self, pem: impl AsRef<Path>) -> Result<Self, TlsError> {
        self.with_clients(read(pem.as_ref(), certificates_in)?)
    }

    /// Takes the certificate, the key and the authorities of another, for connections from now on:
    /// also on the listeners that were opened with this or a clone of it. Open connections keep
    /// theirs, and TLS sessions of before are not resumed.
    ///
    /// ```no_run
    /// # fn example(tls: amqp_broker::Tls) -> Result<(), amqp_broker::TlsError> {
    /// tls.renew(&amqp_broker::Tls::from_files("server.pem", "server.key")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn renew(&self, with: &Tls) {
        // The locks are taken one after the other: both may be the same.
        let identity = with.identity();
        *self.current.write() = identity;
    }

    fn identity(&self) -> Identity {
        self.current.read().clone()
    }

    fn with_clients(self, clients: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        let Identity { chain, key, .. } = self.identity();
        Self::new(chain, key, clients)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<PrivateKeyDer<'static>>,
        clients: Vec<CertificateDer<'static>>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let bad_identity = |error| TlsError::BadIdentity(words(&error));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(bad_identity)?;
        let builder = if clients.is_empty() {
            builder.with_no_client_auth()
        } else {
            let bad = |why: String| TlsError::BadAuthorities(why);
            let mut roots = RootCertStore::empty();
            for client in &clients {
                roots.add(client.clone()).map_err(|error| bad(words(&error)))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| bad(error.to_string()))?)
        };
        let config = builder.with_single_cert(chain.clone(), key.clone_key()).map_err(bad_identity)?;
        let identity = Identity { chain, key, clients, config: Arc::new(config) };
        Ok(Tls { current: Arc::new(RwLock::new(identity)) })
    }

    /// Begins the handshake of a connection, with what it has now.
    pub(crate) fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Accept<S> {
        let config = Arc::clone(&self.current.read().config);
        TlsAcceptor::from(config).accept(stream)
    }
}

// The key is not shown.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { chain, clients, .. } = &*self.current.read();
        f.debug_struct("Tls")
            .field("chain", &chain.len())
            .field("clients", &clients.len())
            .finish_non_exhaustive()
    }
}

/// The common name of the client's certificate.
pub(crate) fn client_name(connection: &ServerConnection) -> Option<String> {
    // Only a verified certificate gets here.
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

fn key_in(pem: &[u8]) -> Result<Arc<PrivateKeyDer<'static>>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(pem);
    // An encrypted key has one of these marks: PKCS#8, or OpenSSL's older form (RFC 1421).
    let marks = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];
    key.map(Arc::new).map_err(|error| {
        if marks.iter().any(|mark| memchr::memmem::find(pem, mark.as_bytes()).is_some()) {
            let why = "it is encrypted, and must not be";
            return TlsError::BadPem { what: "private key", why: why.to_owned() };
        }
        bad_pem("private key")(error)
    })
}

/// Reads a file and parses it; errors name the file.
fn read<T>(path: &Path, what: impl FnOnce(&[u8]) -> Result<T, TlsError>) -> Result<T, TlsError> {
    let path = || path.to_owned();
    let content = std::fs::read(path())
        .map_err(|source| TlsError::Unreadable { path: path(), source: Arc::new(source) })?;
    what(&content).map_err(|source| TlsError::BadFile { path: path(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use amqp_codec::Report;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_told() {
        let error = Tls::from_pem(b"", b"").unwrap_err();
        assert!(error.to_string().starts_with("no certificate in PEM: "), "{error}");
        let error = Tls::from_files("/nonexistent/x.pem", "x.key").unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/x.pem");
    }

    #[test]
    fn no_part_of_a_key_is_told() {
        for (pem, why) in [
            ("-----BEGIN hunter2", "the first line of a section is malformed"),
            ("-----BEGIN PRIVATE KEY-----\nhunter2\n", "a section has no end"),
            (
                "-----BEGIN PRIVATE KEY-----\n!hunter2!\n-----END PRIVATE KEY-----\n",
                "a section is not in base64",
            ),
            ("hunter2", "there is no section of this kind"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "it is encrypted, and must not be",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
                "it is encrypted, and must not be",
            ),
        ] {
            let error = key_in(pem.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("no private key in PEM: {why}"));
        }
    }

    #[test]
    fn the_file_that_has_nothing_of_use_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Report(&Tls::from_files(file.path(), "x.key").unwrap_err()).to_string();
        assert_eq!(
            error,
            format!(
                "cannot use {}: no certificate in PEM: there is no section of this kind",
                file.path().display()
            )
        );
    }
}
