//! TLS errors in plain words: some of rustls's texts show names of its source code, and none say
//! what to do.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, pki_types::pem};

/// Returns the text for the error of a failed handshake.
pub(crate) fn handshake_words(error: &io::Error) -> String {
    let of_tls = error.get_ref().and_then(|source| source.downcast_ref::<Error>());
    of_tls.map_or_else(|| error.to_string(), words)
}

/// Returns the text for an error of rustls.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(_) => "they do not belong together".to_owned(),
        Error::InvalidCertificate(why) => certificate(why),
        Error::InvalidMessage(_) => "the bytes received are not TLS".to_owned(),
        Error::AlertReceived(alert) => alert_words(*alert),
        Error::PeerIncompatible(_) => {
            "the broker supports none of this client's versions and cipher suites of TLS (1.2 and 1.3)"
                .to_owned()
        }
        Error::General(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns why a certificate is refused and, where it is not obvious, what to do.
fn certificate(why: &CertificateError) -> String {
    let plain = match why {
        CertificateError::UnknownIssuer => {
            "its issuer is not among the trusted authorities; name the issuer's certificate as the CA file \
             (a self-signed certificate is its own issuer)"
        }
        CertificateError::BadEncoding => "it is malformed",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet by the clock of this machine"
        }
        CertificateError::Revoked => "it was revoked",
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it may not be used by servers; have it issued with the extended key usage serverAuth"
        }
        // These are the names of the verifier's own errors, which have no other text.
        CertificateError::Other(other) => match other.0.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                "it is the certificate of an authority, as self-signed ones mostly are; sign another one for the broker with it, \
                 or issue it anew with the basic constraint CA:FALSE"
            }
            "UnsupportedCertVersion" => {
                "it is of version 1, which has no names to verify; have it issued as version 3, with a subject alternative name"
            }
            other => return other.to_owned(),
        },
        other => return other.to_string(),
    };
    plain.to_owned()
}

fn alert_words(alert: AlertDescription) -> String {
    let plain = match alert {
        AlertDescription::CertificateRequired => "it requires a client certificate and received none",
        AlertDescription::UnknownCA => "it does not trust the authority of the client certificate",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it does not accept the client certificate",
        AlertDescription::CertificateExpired => "the client certificate has expired",
        AlertDescription::CertificateRevoked => "the client certificate was revoked",
        AlertDescription::AccessDenied => "it denies access to the owner of the client certificate",
        AlertDescription::ProtocolVersion => "it and this client have no version of TLS in common",
        AlertDescription::HandshakeFailure => {
            "it and this client have no cipher suite in common, or it requires a client certificate and received none"
        }
        AlertDescription::UnrecognisedName => "it has no certificate for the requested name",
        other => return format!("alert {} ({other:?})", u8::from(other)),
    };
    plain.to_owned()
}

/// Extracts a name in a certificate, which rustls shows as `DnsName("a.example")`.
pub(crate) fn name(told: &str) -> String {
    let inside = |kind: &str| told.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
    let quoted = inside("DnsName").or_else(|| inside("UniformResourceIdentifier"));
    let name = quoted.map(|name| name.trim_matches('"')).or_else(|| inside("IpAddress"));
    name.unwrap_or(told).to_owned()
}

/// Describes what is wrong with PEM data. The text shows none of the data, since it may be part of
/// a key.
pub(crate) fn pem_words(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "the first line of a section is malformed",
        pem::Error::Base64Decode(_) => "a section is not in base64",
        pem::Error::NoItemsFound => "there is no section of this kind",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be read",
    }
}

/// Tells whether there is an encrypted private key: in PKCS#8, or in OpenSSL's older form (RFC
/// 1421).
pub(crate) fn has_encrypted_key(pem: &[u8]) -> bool {
    ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| pem.windows(mark.len()).any(|part| part == mark.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handshake_failed_with_is_told_in_words() {
        let told = |error: Error| handshake_words(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, words) in [
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "name the issuer's certificate"),
            (Error::AlertReceived(AlertDescription::CertificateRequired), "requires a client certificate"),
            (Error::AlertReceived(AlertDescription::DecryptError), "alert 51"),
            (Error::NoCertificatesPresented, "peer sent no certificates"),
        ] {
            let told = told(error);
            assert!(told.contains(words), "{told}");
        }
        assert_eq!(handshake_words(&io::ErrorKind::UnexpectedEof.into()), "unexpected end of file");
    }

    #[test]
    fn names_are_told_as_names() {
        for (told, plain) in [
            ("DnsName(\"*.example.com\")", "*.example.com"),
            ("IpAddress(127.0.0.1)", "127.0.0.1"),
            ("IpAddress(::1)", "::1"),
            ("UniformResourceIdentifier(\"amqp://a\")", "amqp://a"),
            ("DirectoryName", "DirectoryName"),
        ] {
            assert_eq!(name(told), plain);
        }
    }
}
