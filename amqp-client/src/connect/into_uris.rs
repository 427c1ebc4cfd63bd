//! The forms in which brokers are named to connect to.

use crate::{connect::uri::Uri, error::Result};

/// Where to connect to: the text of a URI, which may name several hosts; a [`Uri`]; or a slice, an
/// array or a `Vec` of several.
pub trait IntoUris {
    /// Returns a URI for each host, in the order in which they are tried.
    ///
    /// # Errors
    /// [`Error::InvalidUri`](crate::Error::InvalidUri) if the text is no URI.
    #[doc(hidden)]
    fn into_uris(self) -> Result<Vec<Uri>>;
}

impl IntoUris for &str {
    fn into_uris(self) -> Result<Vec<Uri>> {
        Uri::parse_list(self)
    }
}

impl IntoUris for &String {
    fn into_uris(self) -> Result<Vec<Uri>> {
        Uri::parse_list(self)
    }
}

impl IntoUris for &Uri {
    fn into_uris(self) -> Result<Vec<Uri>> {
        Ok(vec![self.clone()])
    }
}

impl IntoUris for &[Uri] {
    fn into_uris(self) -> Result<Vec<Uri>> {
        Ok(self.to_vec())
    }
}

impl<const N: usize> IntoUris for &[Uri; N] {
    fn into_uris(self) -> Result<Vec<Uri>> {
        Ok(self.to_vec())
    }
}

impl IntoUris for &Vec<Uri> {
    fn into_uris(self) -> Result<Vec<Uri>> {
        Ok(self.clone())
    }
}
