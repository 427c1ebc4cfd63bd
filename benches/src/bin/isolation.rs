//! Measures how long others wait while one client makes a broker do much at once.
//!
//! `isolation BROKER [--scale FACTOR] [--deadline SECONDS] [--cap MIB] [NAME...]`, where BROKER is
//! the path of an amqp-broker program or `rabbitmq`, and NAME a part of an operation's name. For
//! each operation the broker is started anew. The operation's client works in the virtual host `a`;
//! two other clients ask for a queue every few milliseconds, one in `a` and one in `b`. The result
//! is a table in Markdown.
//!
//! Times are in seconds for the operation and in milliseconds for those who wait: median, 99th
//! percentile, maximum. An operation that has not ended at the deadline is abandoned. A broker that
//! takes more memory than `--cap` is killed.

use std::{
    future::pending,
    io,
    time::{Duration, Instant},
};

use benches::hostile::{Failure, Options, Running, Watch};
use tests::{Probe, RawClient, Waits, hostile::Operation};
use tokio::time::{sleep, timeout};

/// The pause between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(3);
/// How long it may take to prepare an operation.
const PREPARATION: Duration = Duration::from_secs(300);
/// How long a broker is watched without any operation, for comparison.
const IDLE: Duration = Duration::from_secs(3);
/// How long the last answers are awaited at the end.
const AFTERMATH: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::read()?;
    println!(
        "| | took | same virtual host | longest while prepared | other virtual host | CPU | peak memory |"
    );
    println!("|---|---|---|---|---|---|---|");
    if options.wants("nothing") {
        report("nothing", &options, None).await?;
    }
    for operation in Operation::ALL.map(|operation| operation.scaled(options.scale)) {
        let name = operation.to_string();
        if options.wants(&name) {
            report(&name, &options, Some(operation)).await?;
        }
    }
    Ok(())
}

/// Prints the line of one operation, which has a broker of its own.
async fn report(name: &str, options: &Options, operation: Option<Operation>) -> Result<(), Failure> {
    let broker = options.subject.start(&["a", "b"]).await?;
    let line =
        measure(options, &broker, operation).await.unwrap_or_else(|error| format!("{error} | | | | |"));
    println!("| {name} | {line} |");
    Ok(())
}

async fn measure(options: &Options, broker: &Running, operation: Option<Operation>) -> io::Result<String> {
    let watch = Watch::over(broker.pid(), options.cap);
    let address = broker.address();
    let mut client = RawClient::connect(&address, "a").await?;
    let same = Probe::start(&address, "a", PAUSE).await?;
    let other = Probe::start(&address, "b", PAUSE).await?;
    let before_all = watch.seen().usage.processor;
    if let Some(operation) = operation {
        prepare(operation, &mut client, &watch).await?;
    }
    let preparing = (same.waits(), watch.seen().usage.processor - before_all);

    let (began, before) = (Instant::now(), watch.seen().usage.processor);
    let end = tokio::select! {
        end = run(operation, &mut client, &watch) => end,
        () = sleep(options.deadline) => End::NotFinished,
        () = watch.end() => End::Died,
    };
    let took = began.elapsed();
    if matches!(end, End::NotFinished) {
        sleep(AFTERMATH).await;
    }
    let seen = watch.seen();
    let end = match end {
        End::Finished => format!("{:.2} s", took.as_secs_f64()),
        End::Failed(error) => format!("{:.2} s, {error}", took.as_secs_f64()),
        End::NotFinished => format!("not finished in {} s", took.as_secs()),
        End::Died if seen.killed => {
            format!("killed at {} MiB after {:.1} s", options.cap >> 20, took.as_secs_f64())
        }
        End::Died => format!("died after {:.1} s", took.as_secs_f64()),
    };
    let same = describe(&same.waits_and_the_last());
    let other = describe(&other.waits_and_the_last());
    let longest = milliseconds(preparing.0.quantile(1.0));
    Ok(format!(
        "{end} | {same} | {longest} | {other} | {:.2} s (+ {:.1}) | {} MiB",
        seen.usage.processor - before,
        preparing.1,
        seen.usage.peak >> 20,
    ))
}

async fn prepare(operation: Operation, client: &mut RawClient, watch: &Watch) -> io::Result<()> {
    let prepared = tokio::select! {
        prepared = timeout(PREPARATION, operation.prepare(client)) => prepared,
        () = watch.end() => Ok(Err(io::Error::other("the broker ended"))),
    };
    match prepared.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Err(error) => {
            let peak = watch.seen().usage.peak >> 20;
            Err(io::Error::other(format!("not prepared: {error}, at {peak} MiB")))
        }
        Ok(()) => Ok(()),
    }
}

enum End {
    Finished,
    Failed(io::Error),
    NotFinished,
    Died,
}

async fn run(operation: Option<Operation>, client: &mut RawClient, watch: &Watch) -> End {
    let Some(operation) = operation else {
        sleep(IDLE).await;
        return End::Finished;
    };
    if let Err(error) = operation.run(client).await {
        // If the broker has died, the watch reports it.
        return if watch.seen().runs && !is_end(&error) { End::Failed(error) } else { pending().await };
    }
    if matches!(operation, Operation::DeadLetterStorm { .. }) {
        watch.rest().await;
    }
    End::Finished
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn describe(waits: &Waits) -> String {
    let [median, most, longest] = [0.5, 0.99, 1.0].map(|share| milliseconds(waits.quantile(share)));
    let failure = waits.failure.as_ref().map(|failure| format!(", then {failure}")).unwrap_or_default();
    format!("{median} / {most} / {longest} of {}{failure}", waits.count())
}

fn milliseconds(wait: Duration) -> String {
    let milliseconds = wait.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 { format!("{milliseconds:.1}") } else { format!("{milliseconds:.0}") }
}
