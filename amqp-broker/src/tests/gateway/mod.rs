//! Connections of a virtual host whose other side is a backend.

mod in_memory;
mod sessions;
