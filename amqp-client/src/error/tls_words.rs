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
        Error::InvalidMessage(_) => "what came is not TLS".to_owned(),
        Error::AlertReceived(alert) => alert_words(*alert),
        Error::PeerIncompatible(_) => "the broker speaks neither TLS 1.2 nor 1.3 as they are here".to_owned(),
        Error::General(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns why a certificate is refused and, where it is not obvious, what to do.
fn certificate(why: &CertificateError) -> String {
    let plain = match why {
        CertificateError::UnknownIssuer => {
            "its issuer is not among the authorities that are trusted here; name the issuer's certificate as the CA file, which of a \
             self-signed one is itself"
        }
        CertificateError::BadEncoding => "it is malformed",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, by the clock here"
        }
        CertificateError::Revoked => "it was revoked",
        CertificateError::BadSignature => "it is not signed as it says",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for servers; have it issued with the extended key usage serverAuth"
        }
        // These are the names of the verifier's own errors, which have no other text.
        CertificateError::Other(other) => match other.0.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                "it is that of an authority, as self-signed ones mostly are; have one signed by it for the broker, or make it again \
                 with the basic constraint CA:FALSE"
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
        AlertDescription::CertificateRequired => "it requires a client certificate, and was shown none",
        AlertDescription::UnknownCA => "it does not trust the authority of the client certificate",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it does not take the client certificate",
        AlertDescription::CertificateExpired => "the client certificate has expired",
        AlertDescription::CertificateRevoked => "the client certificate was revoked",
        AlertDescription::AccessDenied => "it does not let the owner of the client certificate in",
        AlertDescription::ProtocolVersion => "there is no version of TLS that both speak",
        AlertDescription::HandshakeFailure => {
            "there is no cipher that both have, or it requires a client certificate and was shown none"
        }
        AlertDescription::UnrecognisedName => "it has no certificate for the name it was asked for",
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
        pem::Error::IllegalSectionStart { .. } => "a section does not begin as it should",
        pem::Error::Base64Decode(_) => "a section is not in base64",
        pem::Error::NoItemsFound => "there is none",
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
