//! TLS: which certificate authorities to trust, and which identity to present.

#[cfg(feature = "tls")]
mod any_certificate;
#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
pub(crate) mod stream;

use std::{fmt, path::PathBuf, sync::Arc};

use zeroize::Zeroizing;

#[cfg(feature = "tls")]
use crate::connect::uri::Uri;

/// How to use TLS 1.2 or 1.3. All defaults: the system's certificate authorities, the broker's name
/// verified, no client certificate. The options apply to `amqps`; the parameters of a URI take
/// precedence. Without the feature `tls` of this crate, connecting with these options fails with
/// [`TlsError::NotCompiled`](crate::TlsError::NotCompiled).
///
/// Files are read at each connect, so that a renewed certificate is used by the next connection.
#[derive(Clone, Debug, Default)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS reads them"))]
pub struct TlsOptions {
    roots: Option<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
    without_sni: bool,
    accept_any: bool,
}

/// The source of PEM data.
#[derive(Clone)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS reads it"))]
enum Pem {
    File(PathBuf),
    Bytes(Arc<Zeroizing<Vec<u8>>>),
}

impl TlsOptions {
    /// Makes options with all defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificate authorities in this PEM file, and no others.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots = Some(Pem::File(path.into()));
        self
    }

    /// Trusts these certificate authorities in PEM, and no others.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(Pem::bytes(pem));
        self
    }

    /// Presents this client certificate: PEM files of the chain, the client's own first, and of its
    /// key. Both may be one file. The key must not be encrypted
    /// ([`TlsError::EncryptedKey`](crate::TlsError::EncryptedKey)).
    pub fn identity_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// Presents this client certificate, like [`identity_files`](Self::identity_files), given in
    /// PEM.
    pub fn identity_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((Pem::bytes(certificate), Pem::bytes(key)));
        self
    }

    /// Sets the name that the broker is asked for (SNI) and that its certificate is verified
    /// against. Default: the host of the URI.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Does not tell the broker which name is asked for (SNI); the certificate is still verified.
    pub fn without_sni(mut self) -> Self {
        self.without_sni = true;
        self
    }

    /// Accepts any certificate of the broker, whoever issued it and for whichever name: anyone on
    /// the way can then pretend to be the broker, and read the password. This is for tests.
    pub fn danger_accept_any_certificate(mut self, accept: bool) -> Self {
        self.accept_any = accept;
        self
    }

    /// Applies the parameters of a URI (<https://www.rabbitmq.com/docs/uri-query-parameters>),
    /// which take precedence. [`ConnectOptions`](crate::ConnectOptions) does this itself.
    #[cfg(feature = "tls")]
    pub fn with_parameters_of(&self, uri: &Uri) -> Self {
        let mut options = self.clone();
        if let Some(file) = &uri.cacertfile {
            options = options.ca_file(file);
        }
        match (&uri.certfile, &uri.keyfile) {
            (Some(certificate), Some(key)) => options = options.identity_files(certificate, key),
            // The one file may hold both.
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
}

impl Pem {
    fn bytes(pem: impl Into<Vec<u8>>) -> Self {
        Pem::Bytes(Arc::new(Zeroizing::new(pem.into())))
    }

    fn place(&self) -> String {
        match self {
            Pem::File(path) => path.display().to_string(),
            Pem::Bytes(_) => "the PEM data given as bytes".into(),
        }
    }
}

/// The bytes are not shown, since they may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_as_bytes_is_not_shown() {
        let options = TlsOptions::new().identity_pem("certificate", "hunter2");
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
