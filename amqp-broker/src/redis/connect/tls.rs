//! TLS to Redis and to sentinels.

use std::{fs, path::Path};

use redis::{Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisError, TlsCertificates};

use super::failure::{backend_error, unavailable};
use crate::{backend::BackendError, redis::options::RedisTls};

/// The address of a server, with TLS as it is wanted.
///
/// # Errors
/// When a file with certificates cannot be read, or has none.
pub(super) fn address(tls: Option<&RedisTls>, host: &str, port: u16) -> Result<ConnectionAddr, BackendError> {
    match tls {
        None => Ok(ConnectionAddr::Tcp(host.to_owned(), port)),
        Some(tls) => secure(tls, host, port, certificates(tls)?).map_err(|error| backend_error(&error)),
    }
}

fn secure(
    tls: &RedisTls,
    host: &str,
    port: u16,
    certificates: TlsCertificates,
) -> Result<ConnectionAddr, RedisError> {
    let (host, insecure) = (host.to_owned(), !tls.verify);
    let bare = ConnectionAddr::TcpTls { host, port, insecure, tls_params: None };
    let client = Client::build_with_tls(bare.into_connection_info()?, certificates)?;
    let mut address = client.get_connection_info().addr().clone();
    // Last, because certificates replace it.
    address.set_danger_accept_invalid_hostnames(!tls.check_hostname);
    Ok(address)
}

/// Reads the certificates.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn certificates(tls: &RedisTls) -> Result<TlsCertificates, BackendError> {
    let client_tls = match (&tls.certfile, &tls.keyfile) {
        (Some(certificate), key) => Some(ClientTlsConfig {
            client_cert: read(certificate)?,
            client_key: read(key.as_ref().unwrap_or(certificate))?,
        }),
        _ => None,
    };
    let mut root_cert = tls.ca_certs.as_deref().map(read).transpose()?;
    if let Some(data) = &tls.ca_data {
        let roots = root_cert.get_or_insert_default();
        roots.push(b'\n');
        roots.extend_from_slice(data.as_bytes());
    }
    Ok(TlsCertificates { client_tls, root_cert })
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, BackendError> {
    let path = path.as_ref();
    fs::read(path).map_err(|error| unavailable(format!("cannot read {}: {error}", path.display())))
}
