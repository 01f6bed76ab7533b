//! The bytes of one connection: bounded reads of heads and lines, writes at a chosen bandwidth, and
//! waiting that ends when the registry does.
//!
//! The last byte of each head stays in the socket until something else is read. Closing a socket
//! with unread input makes the kernel send a reset, which is the only way to one that the standard
//! library offers.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a polite close waits for the client to close as well.
const LINGER: Duration = Duration::from_millis(500);
/// How much it reads from the client meanwhile.
const LINGER_BYTES: u64 = 64 << 20;

const STOPS: &str = "the registry stops";

/// Locks `mutex` even if a thread panicked while it held it: everything kept under locks here is
/// valid between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that the registry stops, and wakes whoever waits.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *lock(&self.stopped)
    }

    /// Waits for `duration`; an error if the registry stops before it is over.
    pub(crate) fn wait(&self, duration: Duration) -> io::Result<()> {
        if duration.is_zero() {
            return Ok(());
        }
        let (stopped, _) = self
            .changed
            .wait_timeout_while(lock(&self.stopped), duration, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *stopped { Err(io::Error::other(STOPS)) } else { Ok(()) }
    }
}

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The only strong reference: whoever stops the registry has a weak one, so that dropping the
    /// wire closes the socket.
    stream: Arc<TcpStream>,
    stop: Arc<Stop>,
    pace: Option<Pace>,
    /// Whether the last byte of a head is still unread.
    holds_last_byte: bool,
}

impl Wire {
    pub(crate) fn new(
        stream: Arc<TcpStream>,
        stop: Arc<Stop>,
        bytes_per_second: Option<u64>,
    ) -> Self {
        Self { stream, stop, pace: bytes_per_second.map(Pace::new), holds_last_byte: false }
    }

    /// Reads a request's head, up to and including the empty line, of which the last byte stays in
    /// the socket. `None` when the client has closed the connection instead.
    ///
    /// # Errors
    /// `InvalidInput` at once where the first byte begins no request. Clients that try TLS first
    /// (containerd, for loopback) go on without it when they are answered in plain text.
    pub(crate) fn read_head(&mut self, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.release()?;
        let mut first = [0];
        let seen = self.stream.peek(&mut first)?;
        if seen > 0 && !first.iter().all(|byte| byte.is_ascii_graphic() || b"\r\n".contains(byte)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let head = self.read_through(b"\r\n\r\n", limit)?;
        Ok((!head.is_empty()).then_some(head))
    }

    /// Reads a line, its line feed included.
    pub(crate) fn read_line(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let line = self.read_through(b"\n", limit)?;
        self.release()?;
        if line.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) }
    }

    /// Reads up to and including `end`, whose last byte stays in the socket. Nothing at all when the
    /// client has closed.
    fn read_through(&mut self, end: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        self.release()?;
        let mut taken = Vec::new();
        let mut window = [0; 4096];
        loop {
            let seen = self.stream.peek(&mut window)?;
            if seen == 0 {
                return if taken.is_empty() {
                    Ok(taken)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            let before = taken.len();
            taken.extend(window.iter().take(seen));
            let overlap = before.saturating_sub(end.len());
            let fresh = taken.get(overlap..).unwrap_or_default();
            if let Some(at) = fresh.windows(end.len()).position(|part| part == end) {
                taken.truncate(overlap + at + end.len());
                self.discard(taken.len() - before - 1)?;
                self.holds_last_byte = true;
                return Ok(taken);
            }
            self.discard(seen)?;
            if taken.len() > limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "head or line too long"));
            }
        }
    }

    fn discard(&mut self, count: usize) -> io::Result<()> {
        io::copy(&mut (&*self.stream).take(count as u64), &mut io::sink()).map(drop)
    }

    /// Takes the byte that [`Self::read_head`] left in the socket.
    fn release(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.holds_last_byte) {
            self.discard(1)?;
        }
        Ok(())
    }

    /// Waits; an error if the registry stops meanwhile.
    pub(crate) fn wait(&self, duration: Duration) -> io::Result<()> {
        self.stop.wait(duration)
    }

    /// An error if the registry stops.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.stop.is_stopped() { Err(io::Error::other(STOPS)) } else { Ok(()) }
    }

    /// Says and reads nothing more until the client closes or the registry stops.
    pub(crate) fn hold(&mut self) -> io::Result<()> {
        let mut ignored = [0; 4096];
        while self.read(&mut ignored)? > 0 {}
        Ok(())
    }

    /// Closes so that the client gets everything that was written.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.release()?;
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_read_timeout(Some(LINGER))?;
        io::copy(&mut (&*self.stream).take(LINGER_BYTES), &mut io::sink()).map(drop)
    }

    /// Closes with a reset, as long as the request has no body that was read.
    pub(crate) fn reset(self) {
        drop(self);
    }

    /// Closes with a reset before a head was read, once the client has sent something.
    pub(crate) fn reset_unread(self) -> io::Result<()> {
        self.stream.peek(&mut [0]).map(drop)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.release()?;
        let piece = self.pace.as_ref().map_or(buffer.len(), |pace| pace.piece.min(buffer.len()));
        let count = (&*self.stream).read(buffer.get_mut(..piece).unwrap_or_default())?;
        if let Some(pace) = &mut self.pace {
            self.stop.wait(pace.due(count))?;
        }
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = self.pace.as_ref().map_or(bytes.len(), |pace| pace.piece.min(bytes.len()));
        let count = (&*self.stream).write(bytes.get(..piece).unwrap_or_default())?;
        if let Some(pace) = &mut self.pace {
            self.stop.wait(pace.due(count))?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.stream).flush()
    }
}

/// A bandwidth, kept by waiting after each piece.
#[derive(Debug)]
struct Pace {
    bytes_per_second: u64,
    piece: usize,
    free_at: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        let piece = usize::try_from(bytes_per_second / 50).unwrap_or(usize::MAX);
        Self { bytes_per_second, piece: piece.clamp(1, 64 << 10), free_at: Instant::now() }
    }

    /// How long to wait after `count` bytes.
    fn due(&mut self, count: usize) -> Duration {
        let nanoseconds = (count as u64).saturating_mul(1_000_000_000) / self.bytes_per_second;
        let now = Instant::now();
        self.free_at = self.free_at.max(now) + Duration::from_nanos(nanoseconds);
        self.free_at - now
    }
}
