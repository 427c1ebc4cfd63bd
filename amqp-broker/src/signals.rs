//! What the program does about signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals the program listens to. As with RabbitMQ SIGINT and SIGTERM end it, a second one
/// while it ends does no more, and SIGHUP, which would kill a program that does not listen, does
/// nothing: there is no file to be read again, and no log to be opened again.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that ends the program, and tells its name.
    pub(crate) async fn end(&mut self) -> &'static str {
        loop {
            match self.next().await {
                "SIGHUP" => tracing::info!("SIGHUP does nothing: settings are read at the start only"),
                other => return other,
            }
        }
    }

    /// Says of each that it does nothing, while the program ends.
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
