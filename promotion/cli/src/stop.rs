//! The ways in which a user or a system says that it is enough, for every verb alike.
//!
//! Listening matters beyond the line that is printed: the first process of a container (a step of a
//! pipeline) does not get a signal that it has no handler for, and would be killed only after its
//! period of grace.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure};

/// The signals, and how the process ends after each: as one that the signal has ended.
const SIGNALS: [(SignalKind, Exit); 3] = [
    (SignalKind::interrupt(), Exit::Interrupted),
    (SignalKind::terminate(), Exit::Terminated),
    (SignalKind::hangup(), Exit::HungUp),
];

/// Listens for signals.
#[derive(Debug)]
pub(crate) struct Stop(Vec<(Signal, Exit)>);

impl Stop {
    /// Begins to listen; to be called on a runtime. What whoever started this process has ignored
    /// (`nohup`, a shell's background job) stays ignored.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let ignored = ignored();
        let heeded = SIGNALS.into_iter().filter(|(kind, _)| {
            let bit = kind.as_raw_value().checked_sub(1).and_then(|bit| u32::try_from(bit).ok());
            bit.and_then(|bit| ignored.checked_shr(bit)).is_none_or(|mask| mask & 1 == 0)
        });
        let listen = |(kind, exit)| Ok((signal(kind)?, exit));
        let heeded: io::Result<Vec<_>> = heeded.map(listen).collect();
        heeded.map(Self).map_err(|error| {
            Failure::new(Exit::Internal, format_args!("cannot listen for signals: {error}"))
        })
    }

    /// Waits for the next signal; tells how the process is to end.
    pub(crate) async fn told(&mut self) -> Exit {
        poll_fn(|context| {
            let told = |(signal, exit): &mut (Signal, Exit)| match signal.poll_recv(context) {
                Poll::Ready(Some(())) => Some(*exit),
                Poll::Ready(None) | Poll::Pending => None,
            };
            self.0.iter_mut().find_map(told).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The signals that are ignored, one bit each, from the lowest for signal 1. None where there is no
/// such file.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
