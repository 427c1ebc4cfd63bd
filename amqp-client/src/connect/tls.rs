//! TLS: what to trust, and who to be.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    client::{WantsClientCert, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
};
use zeroize::Zeroizing;

use crate::{
    connect::{any_certificate::AnyCertificate, uri::Uri},
    error::{
        tls_error::TlsError,
        tls_words::{has_encrypted_key, pem_words, words},
    },
};

/// How to speak TLS, 1.2 or 1.3. All defaults: the system's certificate authorities, the broker's name verified, no client
/// certificate. Used for `amqps`; the parameters of a URI come before these.
///
/// Files are read at each connect, so that a renewed certificate is used by the next connection.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    roots: Option<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
    without_sni: bool,
    accept_any: bool,
}

/// Where PEM comes from.
#[derive(Clone)]
enum Pem {
    File(PathBuf),
    Bytes(Arc<Zeroizing<Vec<u8>>>),
}

impl TlsOptions {
    /// All defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trust the certificate authorities in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots = Some(Pem::File(path.into()));
        self
    }

    /// Trust these certificate authorities in PEM, and no others.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(Pem::bytes(pem));
        self
    }

    /// Show this client certificate: PEM files of the chain, the client's own first, and of its key. Both may be one file. The key
    /// is not encrypted ([`TlsError::EncryptedKey`]).
    pub fn identity_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// As [`identity_files`](Self::identity_files), in PEM.
    pub fn identity_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((Pem::bytes(certificate), Pem::bytes(key)));
        self
    }

    /// The name to ask the broker for (SNI) and to verify its certificate against. Default: the host of the URI.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Does not tell the broker which name is asked for (SNI); the certificate is verified as ever.
    pub fn without_sni(mut self) -> Self {
        self.without_sni = true;
        self
    }

    /// Takes whatever certificate the broker shows, from whomever, for whichever name: anyone on the way can be the broker
    /// then, and read the password. For tests.
    pub fn danger_accept_any_certificate(mut self, accept: bool) -> Self {
        self.accept_any = accept;
        self
    }

    /// With the parameters of a URI (<https://www.rabbitmq.com/docs/uri-query-parameters>) before these.
    pub(crate) fn with_parameters_of(&self, uri: &Uri) -> Self {
        let mut options = self.clone();
        if let Some(file) = &uri.cacertfile {
            options = options.ca_file(file);
        }
        match (&uri.certfile, &uri.keyfile) {
            (Some(certificate), Some(key)) => options = options.identity_files(certificate, key),
            // One file may hold both.
            (Some(file), None) | (None, Some(file)) => options = options.identity_files(file, file),
            (None, None) => {}
        }
        match uri.server_name_indication.as_deref() {
            Some("disable") => options = options.without_sni(),
            Some(name) => options = options.server_name(name),
            None => {}
        }
        if let Some(verify) = uri.verify {
            options = options.danger_accept_any_certificate(!verify);
        }
        options
    }

    /// The name to verify, where the URI has `host`.
    pub(crate) fn name_for(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let bad = |_: InvalidDnsNameError| TlsError::BadServerName { name: name.to_owned() };
        ServerName::try_from(name).map(|name| name.to_owned()).map_err(bad)
    }

    /// Reads files: not to be called where nothing may block.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions() // 1.2 and 1.3
            .map_err(|error| TlsError::Handshake(Arc::new(io::Error::other(error))))?;
        let builder = if self.accept_any {
            let verifier = Arc::new(AnyCertificate::new(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            builder.with_webpki_verifier(self.verifier(provider)?)
        };
        let mut config = self.with_identity(builder)?;
        config.enable_sni = !self.without_sni;
        Ok(config)
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        let (roots, place) = match &self.roots {
            Some(pem) => (given_roots(pem)?, pem.place()),
            None => (system_roots()?, "the system".into()),
        };
        let build = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let what = "certificate authority";
        build.map_err(|error| TlsError::BadPem { place, what, reason: error.to_string() })
    }

    fn with_identity(
        &self,
        builder: rustls::ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<ClientConfig, TlsError> {
        let Some((certificate, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let chain = certificate.certificates()?;
        builder
            .with_client_auth_cert(chain, key.private_key()?)
            .map_err(|error| TlsError::BadIdentity(words(&error)))
    }
}

fn given_roots(pem: &Pem) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem.certificates()? {
        roots.add(certificate).map_err(|error| TlsError::BadPem {
            place: pem.place(),
            what: "certificate authority",
            reason: words(&error),
        })?;
    }
    Ok(roots)
}

/// The system's certificate authorities as files, which rustls verifies with its own code on every system: the same
/// verdicts in a container as on a desk. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others, as they do for OpenSSL.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems keep certificates that rustls cannot read; the others are good.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    Err(TlsError::NoSystemRoots(if errors.is_empty() { "none found".into() } else { errors.join("; ") }))
}

impl Pem {
    fn bytes(pem: impl Into<Vec<u8>>) -> Self {
        Pem::Bytes(Arc::new(Zeroizing::new(pem.into())))
    }

    fn place(&self) -> String {
        match self {
            Pem::File(path) => path.display().to_string(),
            Pem::Bytes(_) => "what was given as bytes".into(),
        }
    }

    fn read(&self) -> Result<Arc<Zeroizing<Vec<u8>>>, TlsError> {
        match self {
            Pem::File(path) => read(path),
            Pem::Bytes(bytes) => Ok(bytes.clone()),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let bytes = self.read()?;
        let what = "certificate";
        let bad = |error: pem::Error| self.bad(what, &error);
        let certificates =
            CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(bad)?;
        if certificates.is_empty() {
            return Err(bad(pem::Error::NoItemsFound));
        }
        Ok(certificates)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let bytes = self.read()?;
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match has_encrypted_key(&bytes) {
            true => TlsError::EncryptedKey { place: self.place() },
            false => self.bad("private key", &error),
        })
    }

    fn bad(&self, what: &'static str, error: &pem::Error) -> TlsError {
        TlsError::BadPem { place: self.place(), what, reason: pem_words(error).to_owned() }
    }
}

/// Not the bytes, which may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

fn read(path: &Path) -> Result<Arc<Zeroizing<Vec<u8>>>, TlsError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Arc::new(Zeroizing::new(bytes))),
        Err(source) => Err(TlsError::Unreadable { path: path.to_owned(), source: Arc::new(source) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = TlsOptions::new().ca_file("/nowhere/ca.pem").client_config().unwrap_err();
        assert!(matches!(&error, TlsError::Unreadable { path, .. } if path.ends_with("ca.pem")), "{error}");
        assert!(error.is_own());
    }

    #[test]
    fn what_is_no_pem_is_told_with_what_was_due() {
        let error = TlsOptions::new().ca_pem("not PEM").client_config().unwrap_err();
        assert!(matches!(&error, TlsError::BadPem { what: "certificate", .. }), "{error}");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = TlsOptions::new().ca_pem(garbage).client_config().unwrap_err();
        assert!(matches!(&error, TlsError::BadPem { what: "certificate authority", .. }), "{error}");
    }

    #[test]
    fn a_key_given_as_bytes_is_not_shown() {
        let options = TlsOptions::new().identity_pem("certificate", "hunter2");
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_with_a_key_is_told_without_any_of_it() {
        for key in [
            "-----BEGIN PRIVATE KEY-----\nhunter2\n",
            "-----BEGIN PRIVATE KEY----- hunter2\n",
            "-----BEGIN PRIVATE KEY-----\nhunter2*\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY hunter2\n",
        ] {
            let error = Pem::bytes(key).private_key().unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hunter2") && !told.contains("104, 117, 110"), "{told}");
        }
    }

    #[test]
    fn the_parameters_of_a_uri_come_before_the_options() {
        let uri = Uri::parse("amqps://h?cacertfile=/ca&certfile=/both&verify=verify_none").unwrap();
        let options = TlsOptions::new().ca_pem("x").with_parameters_of(&uri);
        assert!(options.accept_any);
        assert_eq!(format!("{:?} {:?}", options.roots, options.identity), "Some(/ca) Some((/both, /both))");
        let uri = Uri::parse("amqps://h?verify=verify_peer&server_name_indication=a.example").unwrap();
        let options = TlsOptions::new().danger_accept_any_certificate(true).with_parameters_of(&uri);
        assert!(!options.accept_any);
        assert_eq!(options.name_for("h").unwrap().to_str(), "a.example");
    }

    #[test]
    fn addresses_are_names_too_and_nonsense_is_not() {
        let options = TlsOptions::new();
        assert!(matches!(options.name_for("::1"), Ok(ServerName::IpAddress(_))));
        assert!(matches!(options.name_for("a b"), Err(TlsError::BadServerName { .. })));
    }
}
