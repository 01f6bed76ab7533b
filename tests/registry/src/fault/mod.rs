//! Faults on request: which request goes wrong, and how.
//!
//! A [`Fault`] is a pattern of requests and an [`Action`]. Each fault counts the requests that match
//! its pattern, so "the second read of a manifest" is deterministic whatever else is asked. What can
//! go wrong before there is a request, [`AtAccept`] says.

mod gzip;
pub(crate) mod play;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use civ_oci::Digest;

use crate::wire::lock;
use crate::{Request, Response};

/// A fault: requests that match its pattern are answered by its action.
#[derive(Clone)]
pub struct Fault {
    method: Option<String>,
    parts: Vec<String>,
    predicate: Option<Predicate>,
    first: u64,
    last: u64,
    action: Action,
}

type Predicate = Arc<dyn Fn(&Request) -> bool + Send + Sync>;

impl Fault {
    /// A fault of every request, until narrowed down.
    pub fn new(action: Action) -> Self {
        Self { method: None, parts: Vec::new(), predicate: None, first: 1, last: u64::MAX, action }
    }

    /// Only of requests with this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only of requests with this in their path or query (as in [`Request::target`]). Given more
    /// than once, all must be there.
    #[must_use]
    pub fn path_contains(mut self, part: &str) -> Self {
        self.parts.push(part.to_owned());
        self
    }

    /// Only of requests for which this is true. It must not call the registry's fault methods.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(Arc::new(predicate));
        self
    }

    /// Only of the `n`th matching request, counted from one.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        (self.first, self.last) = (n, n);
        self
    }

    /// Only of the first `n` matching requests.
    #[must_use]
    pub fn first(mut self, n: u64) -> Self {
        (self.first, self.last) = (1, n);
        self
    }

    /// Only of matching requests after the first `n`.
    #[must_use]
    pub fn after(mut self, n: u64) -> Self {
        (self.first, self.last) = (n.saturating_add(1), u64::MAX);
        self
    }

    fn matches(&self, request: &Request) -> bool {
        let target = request.target();
        self.method.as_ref().is_none_or(|method| *method == request.method)
            && self.parts.iter().all(|part| target.contains(part))
            && self.predicate.as_ref().is_none_or(|predicate| predicate(request))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("method", &self.method)
            .field("parts", &self.parts)
            .field("occurrences", &(self.first..=self.last))
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

/// What goes wrong with a request. Where the registry's own answer is meant, the request has had its
/// effect; otherwise it has none. What is wrong with a body leaves the answer to a HEAD as it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// The connection is closed, without a word.
    Hangup,
    /// The connection is reset, without a word.
    Reset,
    /// Nothing is answered, and the connection stays open until the client closes it.
    Silence,
    /// The request has its effect; then the connection is closed, without a word.
    LoseAnswer,
    /// The connection is torn down once this many bytes of the request's body have arrived. An
    /// upload keeps them.
    CutUpload {
        /// How many bytes arrive.
        after: u64,
    },
    /// The registry's own answer, late.
    Delay(Duration),
    /// The registry's own answer, one byte per interval.
    SlowBytes {
        /// The time between two bytes.
        interval: Duration,
    },
    /// Status 200 and header fields that never end.
    EndlessHead,
    /// The registry's own answer with this many header fields more.
    ManyHeaders(usize),
    /// The registry's own answer, and spaces after it that never end.
    EndlessBody(Framing),
    /// The registry's own answer, broken off within the body.
    CutBody {
        /// How many bytes of the body are sent; the head promises all.
        after: usize,
        /// How the connection ends.
        ending: Ending,
    },
    /// The registry's own answer with a wrong word about its length. Then the connection is closed.
    Length(Length),
    /// The registry's own answer in chunks, of which the second has a size that is no number.
    ChunkedGarbage,
    /// `Content-Encoding: gzip` and a small body that unpacks to many spaces.
    GzipBomb {
        /// The number of bytes after unpacking.
        unpacked: u64,
    },
    /// The registry's own answer with this body instead: with `Docker-Content-Digest` as it was.
    Substitute(Vec<u8>),
    /// The registry's own answer with one bit of the body flipped, and `Docker-Content-Digest` as it
    /// was.
    FlipBit,
    /// The registry's own answer, changed at will.
    Edit(Edit),
    /// This answer.
    Answer(Response),
    /// Status 307 to this URL or path. To the path itself, it is a loop.
    Redirect(String),
    /// These bytes on the wire, and the connection is closed.
    Raw(Vec<u8>),
    /// Before the request is answered, the tag in its path is pointed to the next of these digests,
    /// in turn.
    MoveTag(Vec<Digest>),
    /// Before the request is answered, all tokens given out so far become invalid.
    ExpireTokens,
}

impl Action {
    /// A status with the registry's usual error body.
    pub fn status(status: u16) -> Self {
        let code = match status {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            404 => "MANIFEST_UNKNOWN",
            429 => "TOOMANYREQUESTS",
            _ => "UNKNOWN",
        };
        Self::Answer(Response::error(status, code, "this is a scripted fault"))
    }

    /// Status 429 with this `Retry-After`: seconds, a date, or nonsense.
    pub fn too_many_requests(retry_after: &str) -> Self {
        let response = Response::error(429, "TOOMANYREQUESTS", "this is a scripted fault");
        Self::Answer(response.with_header("Retry-After", retry_after))
    }

    /// Status 401 with this challenge.
    pub fn challenge(www_authenticate: &str) -> Self {
        let response = Response::error(401, "UNAUTHORIZED", "this is a scripted fault");
        Self::Answer(response.with_header("WWW-Authenticate", www_authenticate))
    }

    /// The registry's own answer, changed by `edit`.
    pub fn edit(edit: impl Fn(&Request, Response) -> Response + Send + Sync + 'static) -> Self {
        Self::Edit(Edit(Arc::new(edit)))
    }
}

/// Changes a response. Created by [`Action::edit`].
#[derive(Clone)]
pub struct Edit(Arc<EditFn>);

type EditFn = dyn Fn(&Request, Response) -> Response + Send + Sync;

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edit")
    }
}

/// How the length of an endless body is stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// In chunks.
    Chunked,
    /// Not at all: the body lasts until the connection is closed.
    UntilClose,
    /// By this `Content-Length`, which then is kept.
    Length(u64),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It is closed.
    Close,
    /// It is reset, if the request has no body.
    Reset,
    /// It stays open, in silence, until the client closes it.
    Silence,
}

/// What is wrong about `Content-Length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Length {
    /// It is absent: the body lasts until the connection is closed.
    Absent,
    /// It is this much less than the body's.
    Short(u64),
    /// It is this much more than the body's.
    Long(u64),
    /// It is -1.
    Negative,
    /// It is there twice, with different values; the first is right.
    Twice,
    /// It is no number.
    Garbage,
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtAccept {
    /// It is served.
    #[default]
    Serve,
    /// It is closed at once.
    Close,
    /// It is reset as soon as the client has sent something.
    Reset,
    /// It stays open, in silence, until the client closes it.
    Silence,
}

/// The faults of a registry.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Mutex<Vec<Rule>>,
    at_accept: Mutex<AtAccept>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    seen: u64,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        lock(&self.rules).push(Rule { fault, seen: 0 });
    }

    pub(crate) fn clear(&self) {
        lock(&self.rules).clear();
        self.set_at_accept(AtAccept::Serve);
    }

    pub(crate) fn at_accept(&self) -> AtAccept {
        *lock(&self.at_accept)
    }

    pub(crate) fn set_at_accept(&self, what: AtAccept) {
        *lock(&self.at_accept) = what;
    }

    /// Counts a request, and gives the action to play and how many matching requests came before.
    pub(crate) fn of(&self, request: &Request) -> Option<(Action, u64)> {
        let mut found = None;
        for rule in lock(&self.rules).iter_mut() {
            let Rule { fault, seen } = rule;
            if !fault.matches(request) {
                continue;
            }
            *seen += 1;
            if found.is_none() && (fault.first..=fault.last).contains(seen) {
                found = Some((fault.action.clone(), *seen - 1));
            }
        }
        found
    }
}
