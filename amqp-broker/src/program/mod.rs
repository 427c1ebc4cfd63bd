//! The broker as a program: `amqp-broker ARGUMENTS`, or a command of another program.
//!
//! Another program takes [`Arguments`] into its own arguments, as clap's derive does it with any
//! `Args`, and calls [`run`].

pub(crate) mod arguments;
pub(crate) mod configuration;
pub(crate) mod http_listeners;
pub(crate) mod listeners;
pub(crate) mod run;
pub(crate) mod service_state;
pub(crate) mod signals;

pub use self::{
    arguments::{Arguments, without_strays},
    run::{main, run},
};
