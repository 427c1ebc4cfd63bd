//! TLS for tests: certificates generated for a test, and a TLS terminator in front of the embedded
//! broker.

#![allow(clippy::expect_used, reason = "certificates that cannot be made fail the test")]

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// A certificate authority of a test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// Creates an authority, which nobody trusts yet.
    ///
    /// # Panics
    /// When there is no randomness.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        // With equal names one authority would be taken for another, and its signatures for forged.
        let name = format!("authority {:08x} of a test", fastrand::u32(..));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate authority"))
    }

    /// Its certificate in PEM, for clients that trust it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A certificate for a server of these names, DNS names or addresses.
    ///
    /// # Panics
    /// When a name is invalid.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        self.sign("server", names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client of this common name.
    ///
    /// # Panics
    /// When there is no randomness.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        self.sign(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, common_name: &str, names: Vec<String>, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// A self-signed certificate for a server of these names, marked as an authority's (as most
    /// tools do) or not.
    ///
    /// # Panics
    /// When a name is invalid.
    #[must_use]
    pub fn self_signed(names: &[&str], is_authority: bool) -> Self {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes both into files of the folder; returns the certificate's and the key's path.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<(PathBuf, PathBuf)> {
        let files = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&files.0, &self.certificate)?;
        fs::write(&files.1, &self.key)?;
        Ok(files)
    }

    /// The configuration of a server with this certificate; with `clients`, it requires
    /// certificates signed by that authority.
    ///
    /// # Panics
    /// When the certificate is invalid.
    #[must_use]
    pub fn server_config(&self, clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("protocol versions");
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.as_ref().der().clone()).expect("a certificate authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        builder.with_single_cert(chain, key).expect("a certificate and its key")
    }
}

/// A TLS terminator in front of an embedded broker.
///
/// # On drop
/// It accepts no more connections, and cuts the open ones.
pub struct TlsTerminator {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl TlsTerminator {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(config: ServerConfig, broker: amqp_broker::Broker) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(terminate(acceptor.clone(), socket, broker.clone()));
            }
        });
        Ok(Self { address, task })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for TlsTerminator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn terminate(acceptor: TlsAcceptor, socket: TcpStream, broker: amqp_broker::Broker) {
    // The client reports a failed handshake.
    if let Ok(mut stream) = acceptor.accept(socket).await {
        let _ = copy_bidirectional(&mut stream, &mut broker.connect()).await;
    }
}
