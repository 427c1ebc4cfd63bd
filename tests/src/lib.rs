//! The support of the integration suite: brokers to test against, and ways to disturb them.
//!
//! Nothing has to be installed. A test asks for what it needs with a `require` function, and
//! returns when that is not there, which the run then reports (see [`leave_out`]). `tests/run`
//! installs and starts everything.

pub mod chaos;
mod chromium;
mod cluster;
mod command_proxy;
pub mod disk;
mod embedded;
mod exit_code;
mod footprint;
mod frame_link;
pub mod hostile;
mod installation;
mod ledger;
mod left_out;
mod lingering;
mod named_tests;
mod namespace;
mod node;
pub mod peer;
mod preload;
mod probe;
mod process;
mod proxy;
mod python;
mod python_peer;
mod rabbitmq;
pub mod raw_client;
mod recording_worker;
mod redis;
mod scale;
mod sentinels;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod soak;
mod tls;
mod usage;

pub use chromium::Chromium;
pub use cluster::Cluster;
pub use command_proxy::{Chosen, CommandProxy, Until};
pub use embedded::EmbeddedBroker;
pub use exit_code::exit_code;
pub use footprint::Footprint;
pub use frame_link::{Break, FrameLinks, Kind, Passed, Place};
pub use ledger::{Ledger, Outcome, Receipt, Summary};
pub use left_out::leave_out;
pub use lingering::Lingering;
pub use named_tests::find_named_tests;
pub use namespace::Namespace;
pub use node::{HttpPorts, Node};
pub use peer::Peer;
pub use probe::{Probe, Waits};
pub use proxy::{Direction, Proxy};
pub use python::Python;
pub use python_peer::PythonPeer;
pub use rabbitmq::RabbitMq;
pub use raw_client::RawClient;
pub use recording_worker::{Record, RecordingWorker};
pub use redis::Redis;
pub use scale::scale;
pub use sentinels::{SecureSentinel, Sentinels};
pub use tls::{Authority, Identity, TlsTerminator};
pub use usage::Usage;
