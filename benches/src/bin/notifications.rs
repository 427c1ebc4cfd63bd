//! Measures notifications from notifier to listener, and prints one JSON line.
//!
//! `notifications URL MODE COUNT`, where MODE is `emit`, `listen` (to notifications that were
//! emitted before) or `both` at once, timed from the first emission to the last acknowledgement.
//! 1000 are in flight. `benches/oslo_notify_peer.py` does the same with oslo.messaging.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use messaging::{
    Context, Transport,
    notify::{Event, Level, NotificationResult, RunningListener},
};
use tokio::sync::Notify;

type Failure = Box<dyn std::error::Error>;

const TOPIC: &str = "bench-notifications";
const IN_FLIGHT: u16 = 1000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: notifications URL emit|listen|both COUNT";
    let (Some(url), Some(mode), Some(count)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(usage.into());
    };
    let count = count.parse()?;
    let transport = Transport::connect(&url).await?;
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    match mode.as_str() {
        "emit" => emit(&transport, count).await?,
        "listen" => heard(listen(&transport, count).await?).await,
        "both" => {
            let listening = listen(&transport, count).await?;
            emit(&transport, count).await?;
            heard(listening).await;
        }
        _ => return Err(usage.into()),
    }
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    transport.close().await?;
    let line = serde_json::json!({
        "mode": mode,
        "count": count,
        "msg_per_s": (count as f64 / wall).round(),
        "cpu_ns_per_msg": (cpu * 1e9 / count as f64).round(),
    });
    println!("{line}");
    Ok(())
}

async fn emit(transport: &Transport, count: u64) -> Result<(), Failure> {
    let notifier = transport.notifier("bench.host1", TOPIC);
    let context = Context::new();
    let emit = |id| {
        let (notifier, context) = (&notifier, &context);
        async move {
            let payload = serde_json::json!({"id": id, "name": "resize", "ok": true});
            notifier.info(context, "compute.instance.resize.end", &payload).await
        }
    };
    let emitting = stream::iter(0..count).map(|id| Ok(emit(id))).try_buffered(IN_FLIGHT.into());
    Ok(emitting.try_for_each(|()| async { Ok(()) }).await?)
}

async fn listen(transport: &Transport, count: u64) -> Result<(RunningListener, Arc<Notify>), Failure> {
    let (left, done) = (Arc::new(AtomicU64::new(count)), Arc::new(Notify::new()));
    let notified = done.clone();
    let listener = transport.listener(TOPIC).concurrency(IN_FLIGHT).on(Level::Info, move |event: Event| {
        std::hint::black_box(event.payload::<serde_json::Value>().is_ok());
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            notified.notify_one();
        }
        std::future::ready(NotificationResult::Handled)
    });
    Ok((listener.start().await?, done))
}

async fn heard((listener, done): (RunningListener, Arc<Notify>)) {
    done.notified().await;
    listener.stop().await;
}

/// The CPU time of this process, user and system, in seconds.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
