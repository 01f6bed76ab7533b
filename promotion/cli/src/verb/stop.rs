//! The ways in which a user or a system says that it is enough.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure};

/// Hears SIGINT, SIGTERM and SIGHUP, none of which ends the process from then on.
pub(crate) struct Stop([Signal; 3]);

impl Stop {
    /// Starts to listen.
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Internal, format_args!("cannot listen for signals: {error}"))
            })
        };
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    /// Returns when one of them has come since the last call.
    pub(crate) async fn told(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// How a verb ends that was stopped.
pub(crate) fn stopped() -> Failure {
    Failure::new(Exit::Interrupted, "stopped")
}
