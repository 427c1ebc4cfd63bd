//! Remote procedure calls, compatible with oslo.messaging on both sides.
//!
//! A [`Client`] sends a request to a [`Target`](crate::Target): to one server of its topic, to a
//! server by its name, or to all of them. A [`Server`] has [`Endpoint`]s, each with methods under a
//! namespace and a version, and runs the first method that matches. Either side may be Python's.
//! The table lists where the defaults differ from Python's:
//!
//! | | here | in Python |
//! |---|---|---|
//! | a request to nobody | fails at once; [`Client::wait_for_server`] | is dropped; a call waits for its timeout |
//! | the timeout of a call | covers connecting, sending and waiting | begins when the request has left |
//! | requests taken | as many as run at once: [`Server::concurrency`], [`Server::prefetch`] | all of them |
//! | acknowledged | before a method runs, or after: [`Server::acknowledge`] | before |
//! | requests remembered | 16,384: [`Server::repeats`] | 16 |
//! | a method that panics, or whose result is no JSON | is answered with a failure | is not answered |
//! | a reply whose client is not there | waits for a minute, and holds up nothing | holds a worker for a minute |
//! | the reply queue | is deleted on [`Transport::close`](crate::Transport::close) | expires |
//! | a stream of fanouts | is read from the next message: [`Topology::stream_start`](crate::Topology::stream_start) | is read from its last message |
//! | entities that exist and are not durable | are a [`Conflict`](crate::Conflict): [`Topology::durable_fallback`](crate::Topology::durable_fallback) | are used as they are |

pub use crate::consume::service::Stopper;
pub use crate::oslo::{
    rpc::{
        client::{Client, call::Call},
        message::failure::Failure,
        server::{
            RunningServer, Server,
            access::AccessPolicy,
            acknowledge::Acknowledge,
            endpoint::Endpoint,
            methods::{Arguments, Methods, Output},
            metrics::ServerMetrics,
        },
        waiting::metrics::Metrics,
    },
    wire::duplicates::RepeatWindow,
};
