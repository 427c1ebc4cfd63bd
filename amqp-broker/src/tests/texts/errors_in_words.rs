//! The texts of errors, which do not repeat their sources.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use amqp_codec::Report;

use crate::failure::Failure;

/// One error of each kind that has a source.
fn with_sources() -> Vec<Box<dyn Error>> {
    let cause = || Arc::new(io::Error::other("the cause"));
    let path = || PathBuf::from("/a/folder");
    let mut all: Vec<Box<dyn Error>> = Vec::new();
    all.extend([Failure::Disk { path: path(), source: cause() }.into()]);
    #[cfg(feature = "durable")]
    {
        let source = io::Error::other("the cause");
        all.push(crate::store::DataError::Unusable { path: path(), source }.into());
    }
    #[cfg(feature = "tls")]
    {
        let unreadable = crate::server::tls_error::TlsError::Unreadable { path: path(), source: cause() };
        let source = Box::new(unreadable);
        all.push(crate::server::tls_error::TlsError::BadFile { path: "/a".into(), source }.into());
    }
    all
}

#[test]
fn no_error_repeats_its_source_and_a_report_says_all_of_it_once() {
    for error in with_sources() {
        let said = Report(&*error).to_string();
        let mut error: &dyn Error = &*error;
        while let Some(source) = error.source() {
            let words = source.to_string();
            assert!(!error.to_string().contains(&words), "{error}: {words}");
            assert_eq!(said.matches(&words).count(), 1, "{said}");
            error = source;
        }
        assert_eq!(error.to_string(), "the cause", "{said}");
    }
}
