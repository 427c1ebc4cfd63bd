//! Runs a task: within its time limits, whatever it does.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::celery::worker::{
    task::arguments::Arguments,
    task::context::{SoftLimit, TaskContext},
    task::definition::{Code, Ran},
};

/// The end of a run.
#[derive(Debug)]
pub(crate) enum End {
    Ran(Ran),
    /// It panicked, or its thread could not begin.
    Lost(String),
    /// It took longer than its hard limit.
    TimedOut(Duration),
    /// It was told to end.
    Terminated,
}

/// A run of a task that has to be waited for although it has ended: its thread goes on.
pub(crate) struct Rest(Option<oneshot::Receiver<Result<Ran, String>>>);

impl Rest {
    /// Waits until the thread has ended.
    pub(crate) async fn ended(self) {
        if let Some(running) = self.0 {
            let _ = running.await;
        }
    }
}

/// The limits of a run.
pub(crate) struct Limits {
    pub(crate) hard: Option<Duration>,
    pub(crate) soft: Option<Duration>,
    pub(crate) token: SoftLimit,
    pub(crate) terminate: CancellationToken,
}

/// Runs a task to its end.
pub(crate) async fn run(
    code: &Code,
    context: TaskContext,
    arguments: Arguments,
    limits: &Limits,
) -> (End, Rest) {
    match code {
        Code::Async(begin) => {
            // The function is called inside, so that a panic before its first await is caught too.
            let begin = begin.clone();
            let running = async move { begin(context, arguments).await };
            let mut running: BoxFuture<'_, _> = AssertUnwindSafe(running).catch_unwind().boxed();
            let end = limited(&mut running, limits).await;
            let end = end.map(|ended| ended.map_err(|panic| words(&*panic)));
            // What the task has may panic when it is dropped.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(running)));
            dropped.unwrap_or_else(|_| tracing::error!("a task panicked when it was dropped"));
            (end.map_or_else(|end| end, ended), Rest(None))
        }
        Code::Blocking(call) => {
            let (call, (sender, mut running)) = (call.clone(), oneshot::channel());
            let runtime = tokio::runtime::Handle::current();
            let name = context.name().to_owned();
            let work = move || {
                let _runtime = runtime.enter();
                let ran = catch_unwind(AssertUnwindSafe(|| call(context, arguments)));
                let _ = sender.send(ran.map_err(|panic| words(&*panic)));
            };
            if let Err(error) = std::thread::Builder::new().name(name).spawn(work) {
                return (End::Lost(format!("its thread cannot begin: {error}")), Rest(None));
            }
            let lost = || Err("its thread has gone".to_owned());
            match limited(&mut running, limits).await {
                Ok(ran) => (ended(ran.unwrap_or_else(|_| lost())), Rest(None)),
                Err(end) => (end, Rest(Some(running))),
            }
        }
    }
}

fn ended(ran: Result<Ran, String>) -> End {
    ran.map_or_else(End::Lost, End::Ran)
}

/// Waits for a run until a limit ends it.
async fn limited<F: Future + Unpin>(running: &mut F, limits: &Limits) -> Result<F::Output, End> {
    let after = |limit: Option<Duration>| async move {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let soft = async {
        after(limits.soft).await;
        limits.token.exceed();
        std::future::pending::<Infallible>().await
    };
    let hard = after(limits.hard);
    tokio::select! {
        biased;
        ran = running => Ok(ran),
        () = limits.terminate.cancelled() => Err(End::Terminated),
        () = hard => Err(End::TimedOut(limits.hard.unwrap_or_default())),
        never = soft => match never {},
    }
}

/// The text of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a text"))
}
