//! The errors of TLS.

use std::{io, path::PathBuf, sync::Arc};

#[cfg(feature = "tls")]
use tokio_rustls::rustls::{self, CertificateError};

#[cfg(feature = "tls")]
use crate::error::tls_words::{handshake_words, name as plain_name};

/// The reason why TLS failed, in the certificates of this side or in the handshake.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The URI or the options ask for TLS, and the feature of this crate is off.
    #[error("TLS is not in this build: feature `{feature}` of `amqp-client` is off")]
    NotCompiled {
        /// The feature that enables TLS.
        feature: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// There is no PEM of the expected kind.
    #[error("{place} holds no {what} in PEM: {reason}")]
    BadPem {
        /// The file, or a note that it was given as bytes.
        place: String,
        /// The kind that is missing.
        what: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// The private key is encrypted: in PKCS#8, or in the older form of OpenSSL. The client does
    /// not ask for passwords.
    #[error(
        "the private key in {place} is encrypted, and this client takes no password for it; \
         `openssl pkey -in KEY -out PLAIN` writes an unencrypted one, which only this user should be able to read"
    )]
    EncryptedKey {
        /// The file, or a note that it was given as bytes.
        place: String,
    },
    /// The system's certificate authorities cannot be found.
    #[error("this system has no certificate authorities (install ca-certificates, or name a CA file): {0}")]
    NoSystemRoots(String),
    /// The client certificate and its key cannot be used together.
    #[error("the client certificate cannot be used with its key: {0}")]
    BadIdentity(String),
    /// The name to be verified is neither a DNS name nor an address.
    #[error("{name:?} is neither a DNS name nor an IP address, so no certificate can match it")]
    BadServerName {
        /// The name.
        name: String,
    },
    /// The broker's certificate is for other names.
    #[error("the broker's certificate is not for {name:?}{}", other_names(presented))]
    HostnameMismatch {
        /// The expected name.
        name: String,
        /// The subject alternative names of the certificate. Its common name does not count
        /// (<https://www.rfc-editor.org/rfc/rfc9525#section-2>).
        presented: Vec<String>,
    },
    /// The broker's certificate cannot be trusted: its issuer is unknown, or it has expired.
    #[error("this client refuses the broker's certificate: {}", handshake_words(.0))]
    CertificateRefused(Arc<io::Error>),
    /// The broker refused the handshake, for instance because it requires a client certificate.
    #[error("the broker refuses the TLS handshake: {}", handshake_words(.0))]
    RefusedByBroker(Arc<io::Error>),
    /// The port does not speak TLS.
    #[error("the port does not speak TLS: {}", handshake_words(.0))]
    NotTls(Arc<io::Error>),
    /// The handshake failed for another reason, such as a lost connection.
    #[error("the TLS handshake failed: {}", handshake_words(.0))]
    Handshake(Arc<io::Error>),
}

impl TlsError {
    /// Returns the error for TLS that is requested in a build without it.
    #[cfg(not(feature = "tls"))]
    pub(crate) fn not_compiled() -> Self {
        TlsError::NotCompiled { feature: "tls" }
    }

    /// Classifies the error of a failed handshake for `name`.
    #[cfg(feature = "tls")]
    pub(crate) fn from_handshake(error: io::Error, name: &str) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            })) => {
                let (name, presented) =
                    (name.to_owned(), presented.iter().map(|told| plain_name(told)).collect());
                TlsError::HostnameMismatch { name, presented }
            }
            Some(rustls::Error::InvalidCertificate(_)) => TlsError::CertificateRefused(Arc::new(error)),
            Some(rustls::Error::AlertReceived(_)) => TlsError::RefusedByBroker(Arc::new(error)),
            Some(rustls::Error::InvalidMessage(_)) => TlsError::NotTls(Arc::new(error)),
            _ => TlsError::Handshake(Arc::new(error)),
        }
    }

    /// Returns the broker's refusal, if that ended the connection: with TLS 1.3 a missing client
    /// certificate is noticed only after this side has finished its handshake.
    #[cfg(feature = "tls")]
    pub(crate) fn from_lost(error: &Arc<io::Error>) -> Option<Self> {
        match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(_)) => Some(TlsError::RefusedByBroker(error.clone())),
            _ => None,
        }
    }

    /// Returns the server's refusal, if it is among the causes of an error: with TLS 1.3 a client
    /// certificate that is missing or wrong is noticed only after this side has finished its
    /// handshake.
    #[cfg(feature = "tls")]
    pub fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut causes = std::iter::successors(Some(error), |cause| (*cause).source());
        causes.find_map(|cause| {
            let cause = cause.downcast_ref::<io::Error>()?.get_ref()?;
            let alert = cause.downcast_ref::<rustls::Error>()?;
            matches!(alert, rustls::Error::AlertReceived(_))
                .then(|| TlsError::RefusedByBroker(Arc::new(io::Error::other(alert.clone()))))
        })
    }

    /// Tells whether the cause is this side's configuration, so that another host would not change
    /// it.
    pub(crate) fn is_own(&self) -> bool {
        matches!(
            self,
            TlsError::NotCompiled { .. }
                | TlsError::Unreadable { .. }
                | TlsError::BadPem { .. }
                | TlsError::EncryptedKey { .. }
                | TlsError::NoSystemRoots(_)
                | TlsError::BadIdentity(_)
        )
    }
}

/// Returns the text of an error that does not occur in a build without TLS.
#[cfg(not(feature = "tls"))]
fn handshake_words(error: &io::Error) -> String {
    error.to_string()
}

/// Describes the names that a certificate has instead, and what to do if it has none.
fn other_names(presented: &[String]) -> String {
    if presented.is_empty() {
        ": it has no subject alternative names, and its common name does not count; have it issued with subjectAltName"
            .to_owned()
    } else {
        format!(" but for {}", presented.join(", "))
    }
}
