//! TLS to a management API, with the parameters of a broker's URL.

use std::{error::Error as _, fs, io, iter::successors, path::Path, sync::Arc};

use amqp_client::{TlsError, Uri};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, Error, RootCertStore,
        client::WebPkiServerVerifier,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use crate::management::any_certificate::AnyCertificate;

/// Does the handshake with the API at this host.
///
/// # Errors
/// When a file does not hold what it should, or the handshake fails.
pub(super) async fn connect(
    parameters: &Uri,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let sent_name = parameters.server_name_indication.as_deref();
    let name = sent_name.filter(|name| *name != "disable").unwrap_or(host);
    let server_name = ServerName::try_from(name.to_owned());
    let server_name = server_name.map_err(|_| TlsError::BadServerName { name: name.to_owned() })?;
    let mut config = config(parameters)?;
    config.enable_sni = sent_name != Some("disable");
    let connected = TlsConnector::from(Arc::new(config)).connect(server_name, stream).await;
    connected.map_err(|error| failed(error, name))
}

fn config(parameters: &Uri) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Handshake(Arc::new(io::Error::other(error))))?;
    let builder = if parameters.verify == Some(false) {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
    } else {
        let roots = Arc::new(roots(parameters.cacertfile.as_deref())?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        builder.with_webpki_verifier(verifier.map_err(|error| TlsError::NoSystemRoots(error.to_string()))?)
    };
    let identity = parameters.certfile.as_ref().or(parameters.keyfile.as_ref());
    let Some(certificate) = identity else { return Ok(builder.with_no_client_auth()) };
    // One file may hold both.
    let key = parameters.keyfile.as_ref().unwrap_or(certificate);
    let (chain, key) = (certificates(certificate)?, private_key(key)?);
    builder.with_client_auth_cert(chain, key).map_err(|error| TlsError::BadIdentity(error.to_string()))
}

/// The authorities of a file, or those of the system.
fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        let found = rustls_native_certs::load_native_certs();
        // Some systems have certificates that rustls cannot read; the others are used.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        return match added {
            0 => Err(TlsError::NoSystemRoots("no certificate was found".to_owned())),
            _ => Ok(roots),
        };
    };
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| no_pem(file, "certificate authority", &error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    // The text of an error may repeat lines of the file, which may be a key by mistake.
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(no_pem(file, "certificate", &"there is none")),
        Err(_) => Err(no_pem(file, "certificate", &"it is malformed")),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let found = PrivateKeyDer::from_pem_slice(&read(file)?);
    found.map_err(|_| no_pem(file, "private key", &"there is none, or it is encrypted"))
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: file.to_owned(), source: Arc::new(source) };
    fs::read(file).map_err(unreadable)
}

fn no_pem(file: &Path, what: &'static str, reason: &dyn ToString) -> TlsError {
    TlsError::BadPem { place: file.display().to_string(), what, reason: reason.to_string() }
}

/// Returns the server's refusal, if that ended a connection: with TLS 1.3 a missing client
/// certificate is noticed only after this side has finished its handshake.
pub(super) fn refusal(lost: &hyper::Error) -> Option<TlsError> {
    let causes = successors(lost.source(), |cause| (*cause).source());
    let alert = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).find_map(|error| match error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<Error>())
    {
        Some(alert @ Error::AlertReceived(_)) => Some(alert.clone()),
        _ => None,
    })?;
    Some(TlsError::RefusedByBroker(Arc::new(io::Error::other(alert))))
}

/// Tells why a handshake failed.
fn failed(error: io::Error, name: &str) -> TlsError {
    let shared = Arc::new(error);
    match shared.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
            TlsError::HostnameMismatch { name: name.to_owned(), presented: presented.clone() }
        }
        Some(Error::InvalidCertificate(_)) => TlsError::CertificateRefused(shared),
        Some(Error::AlertReceived(_)) => TlsError::RefusedByBroker(shared),
        Some(Error::InvalidMessage(_)) => TlsError::NotTls(shared),
        _ => TlsError::Handshake(shared),
    }
}
