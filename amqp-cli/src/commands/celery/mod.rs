//! `amqp celery`

mod control;
mod send;

use clap::Subcommand;

use crate::{context::Context, error::Error, exit::Exit};

/// Talks to Celery's workers
#[derive(Debug, Subcommand)]
pub(crate) enum Arguments {
    /// Asks workers something: ping, stats, active, reserved, scheduled, revoked, registered,
    /// active_queues, conf, query_task, report, clock
    Inspect(control::Arguments),
    /// Tells workers to do something: revoke, rate_limit, time_limit, add_consumer,
    /// cancel_consumer, pool_grow, pool_shrink, autoscale, enable_events, disable_events, shutdown
    Control(control::Arguments),
    Send(send::Arguments),
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    match arguments {
        Arguments::Inspect(arguments) | Arguments::Control(arguments) => {
            control::run(arguments, context).await
        }
        Arguments::Send(arguments) => send::run(arguments, context).await,
    }
}
