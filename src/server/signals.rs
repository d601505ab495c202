//! SIGTERM and SIGINT, of which the first asks to finish and the second to stop; SIGHUP, which asks to read the settings
//! again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the process. From its installation on they no longer do so by themselves.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over. Needs a runtime.
    ///
    /// # Errors
    ///
    /// The system refused a handler.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves on the next SIGTERM or SIGINT, and says which. The first is the time to drain; awaited again beside
    /// the drain, the second is the time to cut it short.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP. From its installation on it no longer ends the process.
#[derive(Debug)]
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// Takes the signal over. Needs a runtime.
    ///
    /// # Errors
    ///
    /// The system refused a handler.
    pub(crate) fn install() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Resolves on the next SIGHUP; never if there can be none any more.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn each_signal_is_seen_once() {
        let mut signals = Signals::install().unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        assert_eq!(signals.next().await, "SIGTERM");
        kill_process(getpid(), Signal::INT).unwrap();
        assert_eq!(signals.next().await, "SIGINT");
    }
}
