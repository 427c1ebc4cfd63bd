//! Measures what telemetry costs, in nanoseconds of CPU time for a message, on a broker in this
//! process and a runtime of one thread.
//!
//! `telemetry` prints a table of publishing with confirms to an exchange without queues, and of
//! handling with acknowledgements. The jobs take turns. The figures are medians of rounds, and of
//! the differences to the first job in the same round. With the feature `opentelemetry` the jobs
//! are: no provider, traces that are not sampled, and sampled ones with an exporter that does
//! nothing; below are spans of the SDK alone. Without the feature there is only the first job.
//!
//! `telemetry beside OTHER` runs the first job of itself and of another build of itself in turns,
//! and prints the medians of the ratios.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::{StreamExt as _, stream};
use messaging::{Exchange, Incoming, Producer, PublishOptions, Queue, Transport, TransportOptions};
use tokio::sync::Notify;

type Failure = Box<dyn std::error::Error>;

const MESSAGES: u64 = 10_000;
const ROUNDS: usize = 25;
const IN_FLIGHT: u16 = 1000;
const QUEUE: &str = "telemetry";
const URL: &str = "memory://telemetry";

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => print_table(),
        ["first"] => {
            let times = runtime()?.block_on(round(&Job::off()))?;
            println!("{} {}", times[0], times[1]);
            Ok(())
        }
        ["beside", other] => print_ratios(other),
        _ => Err("usage: telemetry [beside OTHER]".into()),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The ways in which messages are published and handled.
struct Job {
    name: &'static str,
    options: TransportOptions,
    /// The trace of the messages, if they have one.
    trace: Option<&'static str>,
}

impl Job {
    fn off() -> Self {
        Job { name: "no provider", options: TransportOptions::new(), trace: None }
    }
}

/// The times of publishing and of handling, in nanoseconds a message.
type Times = [f64; 2];

fn print_table() -> Result<(), Failure> {
    let (runtime, mut jobs) = (runtime()?, vec![Job::off()]);
    jobs.extend(traced::jobs());
    let mut rounds = vec![Vec::new(); jobs.len()];
    for _ in 0..ROUNDS {
        for (job, rounds) in jobs.iter().zip(&mut rounds) {
            rounds.push(runtime.block_on(round(job))?);
        }
    }
    println!("{:<32}   publish      more    handle      more", "CPU time of a message, ns");
    for (job, of_job) in jobs.iter().zip(&rounds) {
        print!("{:<32}", job.name);
        for part in 0..2 {
            let all = median(of_job.iter().map(|times| times[part]));
            let more = median(of_job.iter().zip(&rounds[0]).map(|(this, first)| this[part] - first[part]));
            print!(" {all:>9.0} {more:>9.0}");
        }
        println!();
    }
    traced::print_floor();
    Ok(())
}

fn print_ratios(other: &str) -> Result<(), Failure> {
    let own = std::env::current_exe()?;
    let mut ratios = [Vec::new(), Vec::new()];
    for number in 0..2 * ROUNDS {
        // Neither always goes first.
        let (mine, others) = if number % 2 == 0 {
            let mine = first_of(own.as_ref())?;
            (mine, first_of(other.as_ref())?)
        } else {
            let others = first_of(other.as_ref())?;
            (first_of(own.as_ref())?, others)
        };
        (0..2).for_each(|part| ratios[part].push(mine[part] / others[part]));
    }
    let [publish, handle] = ratios.map(|ratios| median(ratios.into_iter()));
    println!("this build beside the other: publish {publish:.3}, handle {handle:.3}");
    Ok(())
}

/// Has a build of this program do its first job once, and returns its times.
fn first_of(program: &std::path::Path) -> Result<Times, Failure> {
    let output = Command::new(program).arg("first").output()?;
    let text = String::from_utf8(output.stdout)?;
    let (publish, handle) = text.trim().split_once(' ').ok_or("the other build printed no times")?;
    Ok([publish.parse()?, handle.parse()?])
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn round(job: &Job) -> Result<Times, Failure> {
    let transport = job.options.clone().connect(URL).await?;
    let nobody = transport.producer(Exchange::fanout("nobody")).mandatory(false);
    traced::within(job.trace, publish(&nobody, None)).await?;
    let begun = cpu_nanoseconds();
    traced::within(job.trace, publish(&nobody, None)).await?;
    let published = cpu_nanoseconds() - begun;

    let plain = Transport::connect(URL).await?;
    let mut options = PublishOptions::new().declare(Queue::new(QUEUE));
    if let Some(trace) = job.trace {
        options = options.header("traceparent", trace)?;
    }
    publish(&plain.producer(Exchange::default()), Some(&options)).await?;
    let begun = cpu_nanoseconds();
    handle(&transport).await?;
    let handled = cpu_nanoseconds() - begun;
    transport.close().await?;
    plain.close().await?;
    Ok([published, handled].map(|time| time / MESSAGES as f64))
}

async fn publish(producer: &Producer, options: Option<&PublishOptions>) -> Result<(), Failure> {
    let publish = |id: u64| async move {
        match options {
            Some(options) => producer.ensure_publish((QUEUE, options), &id).await,
            None => producer.ensure_publish(QUEUE, &id).await,
        }
    };
    let mut published = std::pin::pin!(stream::iter(0..MESSAGES).map(publish).buffered(IN_FLIGHT.into()));
    while let Some(outcome) = published.next().await {
        outcome?;
    }
    Ok(())
}

/// Handles all messages of the queue.
async fn handle(transport: &Transport) -> Result<(), Failure> {
    let progress = Arc::new((AtomicU64::new(MESSAGES), Notify::new()));
    let noted = progress.clone();
    let handler = move |number: Incoming<u64>| {
        std::hint::black_box(number.body());
        if noted.0.fetch_sub(1, Relaxed) == 1 {
            noted.1.notify_one();
        }
        std::future::ready(Ok::<_, String>(()))
    };
    let worker = transport.worker(Queue::new(QUEUE)).concurrency(IN_FLIGHT).start(handler).await?;
    progress.1.notified().await;
    worker.stop().await;
    Ok(())
}

fn cpu_nanoseconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Messages without a trace.
#[cfg(not(feature = "opentelemetry"))]
mod traced {
    use super::Job;

    pub(super) fn jobs() -> Vec<Job> {
        Vec::new()
    }

    pub(super) async fn within<F: Future>(_: Option<&str>, future: F) -> F::Output {
        future.await
    }

    pub(super) fn print_floor() {}
}

/// Messages with a trace.
#[cfg(feature = "opentelemetry")]
mod traced {
    use std::{hint::black_box, time::Instant};

    use messaging::{Telemetry, TraceContext, TransportOptions};
    use opentelemetry::{
        Context,
        metrics::noop::NoopMeterProvider,
        trace::{
            Span as _, SpanBuilder, SpanContext, TraceContextExt as _, TraceFlags, TraceState, Tracer as _,
            TracerProvider as _,
        },
    };
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };

    use super::{Job, MESSAGES, ROUNDS, median};

    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// Takes spans and does nothing with them.
    #[derive(Debug)]
    struct Nothing;

    impl SpanExporter for Nothing {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            black_box(batch);
            Ok(())
        }
    }

    fn provider() -> SdkTracerProvider {
        SdkTracerProvider::builder().with_simple_exporter(Nothing).build()
    }

    pub(super) fn jobs() -> Vec<Job> {
        let telemetry =
            Telemetry::new().tracer_provider(&provider()).meter_provider(&NoopMeterProvider::new());
        let options = TransportOptions::new().telemetry(telemetry);
        vec![
            Job { name: "not sampled", options: options.clone(), trace: Some(UNSAMPLED) },
            Job { name: "sampled", options, trace: Some(SAMPLED) },
        ]
    }

    /// Runs `future` in this trace.
    pub(super) async fn within<F: Future>(trace: Option<&str>, future: F) -> F::Output {
        match trace.and_then(TraceContext::new) {
            Some(trace) => trace.scope(future).await,
            None => future.await,
        }
    }

    /// Prints the times of spans of the SDK that have a name and nothing else.
    pub(super) fn print_floor() {
        let (provider, ids) = (provider(), TraceContext::new(SAMPLED).expect("a trace"));
        let tracer = provider.tracer("floor");
        for (name, flags) in [("not sampled", TraceFlags::NOT_SAMPLED), ("sampled", TraceFlags::SAMPLED)] {
            let trace = u128::from_str_radix(ids.trace_id(), 16).expect("hexadecimal digits").into();
            let parent = SpanContext::new(trace, 1.into(), flags, true, TraceState::NONE);
            let parent = Context::new().with_remote_span_context(parent);
            let rounds = (0..4 * ROUNDS).map(|_| {
                let begun = Instant::now();
                for _ in 0..MESSAGES {
                    black_box(tracer.build_with_context(SpanBuilder::from_name("span"), &parent)).end();
                }
                begun.elapsed().as_nanos() as f64 / MESSAGES as f64
            });
            println!("a bare span of the SDK, {name:<11} {:>6.0}", median(rounds));
        }
    }
}
