//! Threads: one that accepts, and one per connection. All end, and are waited for, when the registry
//! stops.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::access::Tokens;
use crate::exchange::{After, Exchange};
use crate::fault::{AtAccept, Faults};
use crate::log::Log;
use crate::registry::Options;
use crate::store::Store;
use crate::wire::{Stop, Wire, lock};

/// How long to wait when no connection can be accepted, which is for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) url: String,
    pub(crate) store: Mutex<Store>,
    pub(crate) tokens: Tokens,
    pub(crate) log: Log,
    pub(crate) faults: Faults,
    pub(crate) connections: AtomicU64,
    pub(crate) stop: Arc<Stop>,
}

/// A connection as the accepting thread knows it.
struct Connection {
    stream: Weak<TcpStream>,
    thread: JoinHandle<()>,
}

/// Accepts until the registry stops (and one more connection wakes this thread), then ends all
/// connections.
pub(crate) fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let accepted = listener.accept();
        if shared.stop.is_stopped() {
            break;
        }
        connections.retain(|connection| !connection.thread.is_finished());
        match accepted {
            Ok((stream, _)) => connections.extend(start(stream, shared)),
            Err(_) => drop(shared.stop.wait(ACCEPT_AGAIN)),
        }
    }
    drop(listener);
    for stream in connections.iter().filter_map(|connection| connection.stream.upgrade()) {
        // An error means that the connection has ended already.
        drop(stream.shutdown(Shutdown::Both));
    }
    for connection in connections {
        // A panic has been reported on stderr by its own thread.
        drop(connection.thread.join());
    }
}

fn start(stream: TcpStream, shared: &Arc<Shared>) -> Option<Connection> {
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let stream = Arc::new(stream);
    let weak = Arc::downgrade(&stream);
    let shared = Arc::clone(shared);
    let thread = thread::Builder::new().name("registry-connection".to_owned()).spawn(move || {
        // An error means that the client has gone or that the registry stops.
        drop(serve(&shared, stream));
    });
    Some(Connection { stream: weak, thread: thread.ok()? })
}

fn serve(shared: &Shared, stream: Arc<TcpStream>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let bytes_per_second = shared.options.bytes_per_second;
    let mut wire = Wire::new(stream, Arc::clone(&shared.stop), bytes_per_second);
    match shared.faults.at_accept() {
        AtAccept::Serve => {}
        AtAccept::Close => return wire.close(),
        AtAccept::Reset => return wire.reset_unread(),
        AtAccept::Silence => return wire.hold(),
    }
    loop {
        match Exchange::next(shared, &mut wire)? {
            After::Next => {}
            After::Close => return wire.close(),
            After::Reset => {
                wire.reset();
                return Ok(());
            }
        }
    }
}

/// The thread that accepts.
#[derive(Debug)]
pub(crate) struct Server {
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    pub(crate) fn start(listener: TcpListener, shared: &Arc<Shared>) -> io::Result<Self> {
        let shared = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name("registry-accept".to_owned())
            .spawn(move || accept(listener, &shared))?;
        Ok(Self { accepting: Mutex::new(Some(thread)) })
    }

    /// Ends all threads and waits for them.
    pub(crate) fn stop(&self, shared: &Shared, address: std::net::SocketAddr) {
        shared.stop.stop();
        let Some(thread) = lock(&self.accepting).take() else { return };
        while !thread.is_finished() {
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                break;
            }
            thread::sleep(ACCEPT_AGAIN);
        }
        drop(thread.join());
    }
}
