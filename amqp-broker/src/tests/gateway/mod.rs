//! Connections of a virtual host whose other side is a backend.

#[cfg(feature = "filesystem")]
mod filesystem;
mod in_memory;
mod permissions;
mod sessions;
