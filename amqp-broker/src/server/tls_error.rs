//! Errors of the TLS configuration.

use std::{io, path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, pki_types::pem::Error as PemError};

/// Why TLS cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The input has no PEM section of the required kind.
    #[error("no {what} in PEM: {why}")]
    BadPem {
        /// The required kind.
        what: &'static str,
        /// What is wrong; it shows none of the contents.
        why: String,
    },
    /// A file's contents cannot be used.
    #[error("cannot use {}", .path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<TlsError>,
    },
    /// The certificate and the key cannot be used, at least not together.
    #[error("the certificate cannot be used with its key: {0}")]
    BadIdentity(String),
    /// The clients' authorities cannot be used.
    #[error("the certificate authorities of clients cannot be used: {0}")]
    BadAuthorities(String),
}

/// Describes the error without its own text, which may contain a part of a key.
pub(crate) fn bad_pem(what: &'static str) -> impl Fn(PemError) -> TlsError {
    move |error| {
        let why = match error {
            PemError::MissingSectionEnd { .. } => "a section has no end",
            PemError::IllegalSectionStart { .. } => "the first line of a section is malformed",
            PemError::Base64Decode(_) => "a section is not in base64",
            PemError::NoItemsFound => "there is no section of this kind",
            PemError::SectionTooLarge => "a section is too large",
            _ => "it cannot be read",
        };
        TlsError::BadPem { what, why: why.to_owned() }
    }
}

/// The text for an error of rustls. Some of its own texts show names of its source code.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(_) => "they do not belong together".to_owned(),
        Error::InvalidCertificate(why) => format!("the certificate is {}", certificate(why)),
        Error::InvalidMessage(_) => "the bytes received are not TLS".to_owned(),
        Error::AlertReceived(alert) => format!("the client ended the handshake: {}", reason(*alert)),
        Error::PeerIncompatible(_) | Error::PeerMisbehaved(_) => {
            "the client supports none of this broker's versions and cipher suites of TLS (1.2 and 1.3)"
                .to_owned()
        }
        Error::General(text) => text.clone(),
        other => other.to_string(),
    }
}

fn certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::BadEncoding => "malformed",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not valid yet",
        CertificateError::Revoked => "revoked",
        CertificateError::UnknownIssuer => "from an authority that is not trusted",
        CertificateError::BadSignature => "signed wrongly",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "not issued for this purpose"
        }
        _ => "not usable",
    }
}

fn reason(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "it does not trust the authority of the certificate".to_owned(),
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept the certificate".to_owned()
        }
        AlertDescription::CertificateExpired => "the certificate is expired".to_owned(),
        AlertDescription::ProtocolVersion => "it and this broker have no version of TLS in common".to_owned(),
        AlertDescription::HandshakeFailure => "it and this broker have no cipher suite in common".to_owned(),
        other => format!("alert {} of TLS", u8::from(other)),
    }
}

/// The text for the error of a failed handshake.
pub(crate) fn handshake_words(error: &io::Error) -> String {
    let of_tls = error.get_ref().and_then(|source| source.downcast_ref::<Error>());
    of_tls.map_or_else(|| error.to_string(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handshake_failed_with_is_told_in_words() {
        let told = |error: Error| handshake_words(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, told_as) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "the certificate is from an authority that is not trusted",
            ),
            (
                Error::InvalidMessage(tokio_rustls::rustls::InvalidMessage::InvalidContentType),
                "the bytes received are not TLS",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "the client ended the handshake: it does not trust the authority of the certificate",
            ),
            (
                Error::AlertReceived(AlertDescription::DecryptError),
                "the client ended the handshake: alert 51 of TLS",
            ),
            (Error::NoCertificatesPresented, "peer sent no certificates"),
        ] {
            assert_eq!(told(error), told_as);
        }
        assert_eq!(handshake_words(&io::ErrorKind::UnexpectedEof.into()), "unexpected end of file");
    }
}
