//! Named URLs in the user's configuration folder, and where their passwords come from.

pub(crate) mod file;
pub(crate) mod prompt;
pub(crate) mod secret;
pub(crate) mod url;
