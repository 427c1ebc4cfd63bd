//! The program's signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the program handles. As in RabbitMQ, SIGINT and SIGTERM end it, and repeating
/// one does nothing more. SIGHUP makes it read its settings again.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that ends the program, and returns its name. It calls the closure at each
    /// SIGHUP.
    pub(crate) async fn end(&mut self, mut reload: impl FnMut()) -> &'static str {
        loop {
            match self.next().await {
                "SIGHUP" => reload(),
                other => return other,
            }
        }
    }

    /// Logs that signals have no effect while the program ends.
    pub(crate) async fn disregard(&mut self) {
        loop {
            let signal = self.next().await;
            tracing::info!("{signal} does nothing more: ending already");
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}
