//! Definitions: all that is configured, out and in, over HTTP and from a file.

pub(crate) mod file;
mod import;
mod parameters;
mod routes;

pub(super) use self::routes::routes;
