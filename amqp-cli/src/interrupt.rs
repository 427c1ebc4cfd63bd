//! SIGINT and SIGTERM.

use std::{
    process,
    sync::{Arc, OnceLock},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{error::Error, exit::Exit};

/// The signals that end the program: the first asks a command to finish what it has begun, the
/// second ends the process at once.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    has_come: watch::Receiver<bool>,
    before_forced_exit: Arc<OnceLock<fn()>>,
}

impl Interrupt {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn install() -> Result<Self, Error> {
        let system = |source| Error::System { operation: "listen to signals", source };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
        let (sender, has_come) = watch::channel(false);
        let before_forced_exit = Arc::new(OnceLock::<fn()>::new());
        let last = before_forced_exit.clone();
        tokio::spawn(async move {
            let mut is_second = false;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if is_second {
                    if let Some(last) = last.get() {
                        last();
                    }
                    process::exit(Exit::Interrupted.code().into());
                }
                is_second = true;
                // If nobody listens any more, the program is about to end.
                let _ = sender.send(true);
            }
        });
        Ok(Interrupt { has_come, before_forced_exit })
    }

    /// Has this done before the second signal ends the process. Only the first call has an effect.
    pub(crate) fn before_forced_exit(&self, last: fn()) {
        // Nobody asks for two things.
        let _ = self.before_forced_exit.set(last);
    }

    /// Waits for the first signal; once it has come, it returns at once.
    ///
    /// # Cancel safety
    /// No signal is lost.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.has_come.clone();
        // The sender lives as long as the runtime.
        let _ = receiver.wait_for(|is_interrupted| *is_interrupted).await;
    }

    /// Tells whether the first signal has come.
    pub(crate) fn has_come(&self) -> bool {
        *self.has_come.borrow()
    }

    /// Returns what the future returns, unless a signal comes first.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; the future is dropped then.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.wait() => Err(Error::Interrupted),
            done = work => done,
        }
    }
}
