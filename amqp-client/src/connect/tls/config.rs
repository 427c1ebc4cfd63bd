//! TLS options in rustls's form.

use std::{io, sync::Arc};

use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    client::{WantsClientCert, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{InvalidDnsNameError, ServerName},
};

use crate::{
    connect::tls::{Pem, TlsOptions, any_certificate::AnyCertificate},
    error::{tls_error::TlsError, tls_words::words},
};

impl TlsOptions {
    /// Returns the name to verify, if the URI has `host`.
    pub(crate) fn name_for(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let bad = |_: InvalidDnsNameError| TlsError::BadServerName { name: name.to_owned() };
        ServerName::try_from(name).map(|name| name.to_owned()).map_err(bad)
    }

    /// Builds rustls's configuration. It reads files, so it must not be called where blocking is
    /// forbidden.
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

/// Loads the system's certificate authorities from files, which rustls verifies with its own code
/// on every system: the results are the same in a container and on a desktop. `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name other files, as for OpenSSL.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems have certificates that rustls cannot read; the others are used.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    Err(TlsError::NoSystemRoots(if errors.is_empty() {
        "no certificate was found".into()
    } else {
        errors.join("; ")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::uri::Uri;

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
