//! What the fuzz targets assert, one function a target. No bytes panic, what was read can be
//! written and read again the same, and reading allocates no more than a small constant times the
//! bytes.
//!
//! It is a library so that `cargo test` runs every target over its seeds.

mod allocation;
mod broker_session;
mod compression;
mod engine;
mod frame;
mod http;
mod kombu_envelope;
mod method;
mod properties;
mod rpc;
mod script;
pub mod seeds;
mod session_model;
mod stream;
mod table;
mod transport_url;
mod uri;
mod value;

pub use broker_session::broker_session;
pub use compression::compression;
pub use engine::engine;
pub use frame::frame;
pub use http::http;
pub use kombu_envelope::kombu_envelope;
pub use method::method;
pub use properties::properties;
pub use rpc::rpc;
pub use session_model::{Depth, session_model};
pub use stream::stream;
pub use table::table;
pub use transport_url::transport_url;
pub use uri::uri;
pub use value::value;
