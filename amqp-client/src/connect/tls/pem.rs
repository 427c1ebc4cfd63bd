//! Reads certificates and keys from PEM.

use std::{fs, path::Path, sync::Arc};

use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use zeroize::Zeroizing;

use crate::{
    connect::tls::Pem,
    error::{
        tls_error::TlsError,
        tls_words::{has_encrypted_key, pem_words},
    },
};

impl Pem {
    fn read(&self) -> Result<Arc<Zeroizing<Vec<u8>>>, TlsError> {
        match self {
            Pem::File(path) => read(path),
            Pem::Bytes(bytes) => Ok(bytes.clone()),
        }
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let bytes = self.read()?;
        let what = "certificate";
        let bad = |error: pem::Error| self.bad(what, &error);
        let certificates =
            CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(bad)?;
        if certificates.is_empty() {
            return Err(bad(pem::Error::NoItemsFound));
        }
        Ok(certificates)
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let bytes = self.read()?;
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match has_encrypted_key(&bytes) {
            true => TlsError::EncryptedKey { place: self.place() },
            false => self.bad("private key", &error),
        })
    }

    fn bad(&self, what: &'static str, error: &pem::Error) -> TlsError {
        TlsError::BadPem { place: self.place(), what, reason: pem_words(error).to_owned() }
    }
}

fn read(path: &Path) -> Result<Arc<Zeroizing<Vec<u8>>>, TlsError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Arc::new(Zeroizing::new(bytes))),
        Err(source) => Err(TlsError::Unreadable { path: path.to_owned(), source: Arc::new(source) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_key_is_told_without_any_of_it() {
        for key in [
            "-----BEGIN PRIVATE KEY-----\nhunter2\n",
            "-----BEGIN PRIVATE KEY----- hunter2\n",
            "-----BEGIN PRIVATE KEY-----\nhunter2*\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY hunter2\n",
        ] {
            let error = Pem::bytes(key).private_key().unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hunter2") && !told.contains("104, 117, 110"), "{told}");
        }
    }
}
