//! SIGINT and SIGTERM.

use std::process;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{error::Error, exit::Exit};

/// The signals that end the program: the first asks a command to finish what it has begun, the
/// second ends the process at once.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn install() -> Result<Self, Error> {
        let system = |source| Error::System { operation: "listen to signals", source };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            let mut is_second = false;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if is_second {
                    process::exit(Exit::Interrupted.code().into());
                }
                is_second = true;
                // If nobody listens any more, the program is about to end.
                let _ = sender.send(true);
            }
        });
        Ok(Interrupt(receiver))
    }

    /// Waits for the first signal; once it has come, it returns at once.
    ///
    /// # Cancel safety
    /// No signal is lost.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.0.clone();
        // The sender lives as long as the runtime.
        let _ = receiver.wait_for(|is_interrupted| *is_interrupted).await;
    }

    /// Tells whether the first signal has come.
    pub(crate) fn has_come(&self) -> bool {
        *self.0.borrow()
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
