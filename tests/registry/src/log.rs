//! What was asked of the registry. Tests of a client are about its requests as much as about its
//! result: how many, in what order, by tag or by digest, and where the credentials went.

use std::fmt;
use std::sync::Mutex;

use crate::Request;
use crate::wire::lock;

/// A request and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// The request.
    pub request: Request,
    /// The status sent; `None` if no status has been sent, or a fault sent none that makes sense.
    pub status: Option<u16>,
}

/// Method, path, query and status, such as `GET /v2/ 200`.
impl fmt::Display for LoggedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} {status}", self.request),
            None => write!(f, "{} -", self.request),
        }
    }
}

/// The requests since the start or the last clearing.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    cleared: usize,
    requests: Vec<LoggedRequest>,
}

/// An entry of the log, which may have been cleared since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryId(usize);

impl Log {
    pub(crate) fn begin(&self, request: &Request) -> EntryId {
        let mut entries = lock(&self.0);
        entries.requests.push(LoggedRequest { request: request.clone(), status: None });
        EntryId(entries.cleared + entries.requests.len() - 1)
    }

    pub(crate) fn answered(&self, id: EntryId, status: u16) {
        let mut entries = lock(&self.0);
        let index = id.0.checked_sub(entries.cleared);
        if let Some(entry) = index.and_then(|index| entries.requests.get_mut(index)) {
            entry.status = Some(status);
        }
    }

    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        lock(&self.0).requests.clone()
    }

    pub(crate) fn clear(&self) {
        let mut entries = lock(&self.0);
        entries.cleared += entries.requests.len();
        entries.requests.clear();
    }
}
