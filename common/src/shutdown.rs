//! A request to stop, from the operating system.
//!
//! `main` waits for the first signal and hands it down as a future or a token; a second one may
//! mean "now". Nothing else in the project listens to signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens to SIGTERM and SIGINT from the moment it is installed.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes the two signals over from their default, which would end the process at once.
    ///
    /// # Errors
    /// When the handlers cannot be registered.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them; its name, for the log.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
