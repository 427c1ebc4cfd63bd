//! The commands: a module each, with its `Arguments` and `run`, in folders by subject.

mod celery;
mod check;
mod info;
mod load;
mod messages;
mod program;
mod receiving;
mod recording;
mod rpc;
mod top;
mod topology;
mod transcript;

use clap::Subcommand;

use crate::{
    commands::{
        load::{bench, latency},
        messages::{get, publish, relocate, subscribe},
        program::{completions, context as named, man},
        recording::{record, replay, tap},
        rpc::{listen, notify, reply, request},
        topology::{bind, declare, delete, purge},
        transcript::{decode, encode},
    },
    context::Context,
    error::Error,
    exit::Exit,
};

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "pub", visible_alias = "publish")]
    Publish(publish::Arguments),
    #[command(name = "sub", visible_alias = "subscribe")]
    Subscribe(subscribe::Arguments),
    Get(get::Arguments),
    Tap(tap::Arguments),
    Record(record::Arguments),
    Replay(replay::Arguments),
    Move(relocate::Arguments),
    Request(request::Arguments),
    Reply(reply::Arguments),
    Notify(notify::Arguments),
    Listen(listen::Arguments),
    #[command(subcommand)]
    Celery(celery::Arguments),
    #[command(subcommand)]
    Declare(declare::Arguments),
    Bind(bind::Arguments),
    Unbind(bind::UnbindArguments),
    #[command(subcommand)]
    Delete(delete::Arguments),
    Purge(purge::Arguments),
    Info(info::Arguments),
    Top(top::Arguments),
    Bench(Box<bench::Arguments>),
    Latency(latency::Arguments),
    Check(check::Arguments),
    Decode(decode::Arguments),
    Encode(encode::Arguments),
    #[command(subcommand)]
    Context(named::Arguments),
    /// Runs a broker; all arguments are those of the program amqp-broker
    Serve(Box<amqp_broker::program::Arguments>),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

impl Command {
    /// Tells whether the command has work for several threads. Others start faster without them.
    pub(crate) fn uses_threads(&self) -> bool {
        false
    }

    /// Runs the command, and returns how the program ends.
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Error> {
        match self {
            Command::Publish(arguments) => publish::run(arguments, context).await,
            Command::Subscribe(arguments) => subscribe::run(arguments, context).await,
            Command::Get(arguments) => get::run(arguments, context).await,
            Command::Tap(arguments) => tap::run(arguments, context).await,
            Command::Record(arguments) => record::run(arguments, context).await,
            Command::Replay(arguments) => replay::run(arguments, context).await,
            Command::Move(arguments) => relocate::run(arguments, context).await,
            Command::Request(arguments) => request::run(arguments, context).await,
            Command::Reply(arguments) => reply::run(arguments, context).await,
            Command::Notify(arguments) => notify::run(arguments, context).await,
            Command::Listen(arguments) => listen::run(arguments, context).await,
            Command::Celery(arguments) => celery::run(arguments, context).await,
            Command::Declare(arguments) => declare::run(arguments, context).await,
            Command::Bind(arguments) => bind::run(arguments, context).await,
            Command::Unbind(arguments) => bind::run_unbind(arguments, context).await,
            Command::Delete(arguments) => delete::run(arguments, context).await,
            Command::Purge(arguments) => purge::run(arguments, context).await,
            Command::Info(arguments) => info::run(arguments, context).await,
            Command::Top(arguments) => top::run(arguments, context).await,
            Command::Bench(arguments) => bench::run(*arguments, context).await,
            Command::Latency(arguments) => latency::run(arguments, context).await,
            Command::Check(arguments) => check::run(arguments, context).await,
            Command::Context(arguments) => named::run(arguments),
            // These need no runtime, or have one of their own, so that the program answers them.
            Command::Decode(_)
            | Command::Encode(_)
            | Command::Serve(_)
            | Command::Completions(_)
            | Command::Man(_) => Ok(Exit::Done),
        }
    }
}
