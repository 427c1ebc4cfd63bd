//! The files of a certificate.

use std::{error::Error, path::Path};

use crate::server::tls::Tls;

use super::error::SettingsError;

/// The files of a certificate, its key and the clients' authorities.
pub(super) struct Certificate<'a> {
    pub(super) certificate: Option<&'a Path>,
    pub(super) key: Option<&'a Path>,
    pub(super) client_authorities: Option<&'a Path>,
}

impl Certificate<'_> {
    /// Checks that there is no certificate.
    ///
    /// # Errors
    /// When there is one, although nothing listens with TLS: the operator believes that something
    /// does.
    pub(super) fn refuse(&self) -> Result<(), SettingsError> {
        match [self.certificate, self.key, self.client_authorities] {
            [None, None, None] => Ok(()),
            _ => Err(SettingsError::NoTlsListener),
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// When the certificate cannot be used, or a part of it is missing.
    pub(super) fn read(&self) -> Result<Tls, Box<dyn Error>> {
        let (Some(certificate), Some(key)) = (self.certificate, self.key) else {
            return Err(SettingsError::HalfCertificate.into());
        };
        let tls = Tls::from_files(certificate, key)?;
        Ok(match self.client_authorities {
            Some(file) => tls.client_authorities_from_file(file)?,
            None => tls,
        })
    }
}
