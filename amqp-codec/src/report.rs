//! Errors shown with their causes.

use std::{error::Error, fmt, iter::successors};

/// An error with all its causes in one line, `cannot connect to a.example:5672: connection
/// refused`. The `Display` of an error of these crates does not repeat its source, so that this can
/// append it.
///
/// A cause that the text before it already ends with is not repeated: errors of other crates often
/// include theirs.
///
/// ```
/// use amqp_codec::Report;
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// assert_eq!(Report(&refused).to_string(), "connection refused");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Report<'a, E: ?Sized>(pub &'a E);

impl<E: Error + ?Sized> fmt::Display for Report<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        for cause in successors(self.0.source(), |cause| (*cause).source()) {
            let words = cause.to_string();
            if !said.ends_with(&words) {
                write!(f, ": {words}")?;
                said = words;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Of(&'static str, Option<Box<Of>>);

    impl fmt::Display for Of {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Of {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    fn of(words: &'static str, source: Of) -> Of {
        Of(words, Some(Box::new(source)))
    }

    #[test]
    fn each_cause_is_said_once_and_in_order() {
        let root = || Of("the disk is full", None);
        assert_eq!(Report(&root()).to_string(), "the disk is full");
        let chain = of("not kept", of("cannot write", root()));
        assert_eq!(Report(&chain).to_string(), "not kept: cannot write: the disk is full");
        let repeating = of("not kept", of("cannot write: the disk is full", root()));
        assert_eq!(Report(&repeating).to_string(), "not kept: cannot write: the disk is full");
    }
}
