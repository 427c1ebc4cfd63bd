//! TLS: what to trust, and which identity to present.

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

/// How to speak TLS, 1.2 or 1.3. All defaults: the system's certificate authorities, the broker's
/// name verified, no client certificate. Used for `amqps`; the parameters of a URI come before
/// these. Without the feature `tls` of this crate, to connect with these is
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

    /// Show this client certificate: PEM files of the chain, the client's own first, and of its
    /// key. Both may be one file. The key is not encrypted
    /// ([`TlsError::EncryptedKey`](crate::TlsError::EncryptedKey)).
    pub fn identity_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// As [`identity_files`](Self::identity_files), in PEM.
    pub fn identity_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((Pem::bytes(certificate), Pem::bytes(key)));
        self
    }

    /// The name to ask the broker for (SNI) and to verify its certificate against. Default: the
    /// host of the URI.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Does not tell the broker which name is asked for (SNI); the certificate is verified as ever.
    pub fn without_sni(mut self) -> Self {
        self.without_sni = true;
        self
    }

    /// Takes whatever certificate the broker shows, from whomever, for whichever name: anyone on
    /// the way can be the broker then, and read the password. For tests.
    pub fn danger_accept_any_certificate(mut self, accept: bool) -> Self {
        self.accept_any = accept;
        self
    }

    /// Applies the parameters of a URI (<https://www.rabbitmq.com/docs/uri-query-parameters>),
    /// which take precedence.
    #[cfg(feature = "tls")]
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
