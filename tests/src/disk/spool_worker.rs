//! A worker whose notifications are buffered on disk: it says what it does, so that another process
//! knows what a power loss must leave.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use messaging::{
    Context, Error, RetryPolicy,
    notify::{Buffer, Driver, Emitting, Notification, Notifier, NotifyError},
};

use super::{body::body, history::now};

/// The time for which a worker that only empties its buffer waits for the last notification.
const PATIENCE: Duration = Duration::from_secs(60);

/// A driver that emits notifications: none while the gate is closed.
#[derive(Clone, Default)]
struct Gate {
    is_open: Arc<AtomicBool>,
}

impl Driver for Gate {
    fn name(&self) -> &str {
        "gate"
    }

    fn notify<'a>(&'a self, notification: &'a Notification, _: RetryPolicy) -> Emitting<'a> {
        let is_open = self.is_open.load(Ordering::SeqCst);
        Box::pin(async move {
            let payload: (u64, Vec<u8>) = notification.payload()?;
            if !is_open {
                return Err(NotifyError::Driver { driver: "gate".to_owned(), source: "closed".into() }.into());
            }
            let is_right = payload.1 == body(0, payload.0);
            say(if is_right { "emitted" } else { "wrong" }, payload.0);
            Ok(())
        })
    }
}

/// Buffers so many notifications, some of which are emitted meanwhile; with none, it emits what the
/// folder has.
///
/// # Errors
/// When the folder cannot be used, or a notification is refused.
pub async fn work(folder: &Path, count: u64) -> Result<(), Error> {
    let gate = Gate::default();
    gate.is_open.store(count == 0, Ordering::SeqCst);
    let buffer = Buffer::on_disk(folder).pauses(Duration::from_millis(1), Duration::from_millis(5));
    let notifier = Notifier::new("worker").driver(buffer.before(gate.clone()).await?);
    if count == 0 {
        return notifier.close(PATIENCE).await;
    }
    let (mut next, mut random) = (1, fastrand::Rng::with_seed(count));
    while next <= count {
        gate.is_open.store(random.u8(..4) == 0, Ordering::SeqCst);
        let numbers = next..next + random.u64(1..8);
        next = numbers.end;
        let emitting = numbers.map(|number| emit(&notifier, number));
        for emitted in join_all(emitting).await {
            emitted?;
        }
    }
    Ok(())
}

async fn emit(notifier: &Notifier, number: u64) -> Result<(), Error> {
    say("sent", number);
    notifier.info(&Context::new(), "event", &(number, body(0, number))).await?;
    say("kept", number);
    Ok(())
}

/// Says on standard output what happens to a notification, and when.
fn say(what: &str, number: u64) {
    // Whoever reads it misses what cannot be written.
    let _ = io::stdout().write_all(format!("{what} {number} {}\n", now()).as_bytes());
}
