//! Runs clients against a cluster of RabbitMQ nodes that fail; see `tests/README.md`.

use std::{env, io, process::ExitCode, time::Duration};

use tests::{
    Namespace, RabbitMq,
    chaos::{Kind, ROUND, Request, run},
    exit_code,
};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: cluster [--minutes N] [--seed S] [--faults KIND,…]";

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Request> {
    let mut request = Request { seed: 1, time: Duration::from_secs(180), round: ROUND.to_vec() };
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--minutes" => {
                let minutes: f64 = value.parse().ok()?;
                request.time = Duration::try_from_secs_f64(minutes * 60.0).ok()?;
            }
            "--faults" => request.round = value.split(',').map(Kind::parse).collect::<Option<_>>()?,
            "--seed" => request.seed = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(request)
}

fn main() -> ExitCode {
    let Some(request) = parse(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    exit_code("cluster", prepare().and_then(|()| search(request)))
}

#[allow(clippy::print_stdout, reason = "its output is its result")]
fn prepare() -> io::Result<()> {
    if !RabbitMq::installed() {
        return Err(io::Error::other("no RabbitMQ (run tests/run)"));
    }
    match Namespace::enter()? {
        Namespace::Own => {}
        Namespace::Shared(why) => println!("partitions are left out: {why}"),
    }
    Ok(())
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "its output is its result")]
async fn search(request: Request) -> io::Result<bool> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let report = tokio::select! {
        report = run(request) => report?,
        _ = interrupt.recv() => return Err(io::ErrorKind::Interrupted.into()),
        _ = terminate.recv() => return Err(io::ErrorKind::Interrupted.into()),
    };
    println!("{report}");
    Ok(report.wrong().is_empty())
}
