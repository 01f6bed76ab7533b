//! One bounded exchange at a time, until a deadline.
//!
//! TLS, certificate authorities and the absence of proxies and redirects are those of the registry's
//! client. What differs is that a host here is named by the policy or by AWS and never by an answer.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use civ_oci::text::one_line;
use civ_registry::Limits;
use civ_registry::transport::{agent, read_bounded};
use ureq::http::{Method, Request};

/// The longest body read, in bytes. A public key with what KMS says around it has less than 2 KiB,
/// credentials have less than 8.
pub const BODY_MAX: u64 = 64 << 10;

/// What one process asks of AWS: until when, and how often so far.
#[derive(Debug)]
pub struct Network {
    deadline: Instant,
    authorities: Option<PathBuf>,
    counter: Arc<AtomicU64>,
}

/// A request, whole.
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    pub(crate) patience: Patience,
}

/// How long to wait for a host.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// For a connection, name resolution and TLS included.
    connect: Duration,
    /// For the whole answer.
    answer: Duration,
}

impl Patience {
    /// For a service of AWS.
    pub(crate) const SERVICE: Self =
        Self { connect: Duration::from_secs(2), answer: Duration::from_secs(4) };
    /// For what is next to the node or not there at all.
    pub(crate) const LINK_LOCAL: Self =
        Self { connect: Duration::from_secs(1), answer: Duration::from_secs(2) };
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All of the body.
    pub body: Vec<u8>,
}

/// A code of AWS's after a status, if there is one.
pub(crate) struct AfterStatus<'a>(pub(crate) &'a str);

impl std::fmt::Display for AfterStatus<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " {}", self.0) }
    }
}

impl Network {
    /// With the system's certificate authorities, or those in the PEM file `authorities`.
    /// Every request is counted as it is made.
    pub fn until(deadline: Instant, authorities: Option<PathBuf>, counter: Arc<AtomicU64>) -> Self {
        Self { deadline, authorities, counter }
    }

    pub(crate) fn ask(&self, question: &Question<'_>) -> Result<Answer, NetworkError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NetworkError::Deadline);
        }
        self.counter.fetch_add(1, Ordering::Relaxed);
        let Patience { connect, answer } = question.patience;
        let limits = Limits { connect, ..Limits::default() };
        let agent = agent(authority_of(question.url), &limits, self.authorities.clone(), None)
            .map_err(|error| NetworkError::Broken(ureq::Error::Other(Box::new(error))))?;
        let mut request = Request::builder().method(question.method.clone()).uri(question.url);
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        let timeout = Some(answer.min(left));
        let response = if question.method == Method::GET {
            let request = request.body(()).map_err(ureq::Error::from)?;
            agent.run(agent.configure_request(request).timeout_global(timeout).build())?
        } else {
            let request = request.body(question.body).map_err(ureq::Error::from)?;
            agent.run(agent.configure_request(request).timeout_global(timeout).build())?
        };
        let status = response.status().as_u16();
        let body = read_bounded(response, BODY_MAX)?.ok_or(NetworkError::TooLarge)?;
        Ok(Answer { status, body })
    }

    /// Waits a moment, unless the deadline comes first.
    pub(crate) fn pause(&self, moment: Duration) -> bool {
        let in_time = moment < self.deadline.saturating_duration_since(Instant::now());
        if in_time {
            std::thread::sleep(moment);
        }
        in_time
    }
}

/// Host and port of an address that this crate has put together.
fn authority_of(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// No connection, or it broke.
    #[error("{}", one_line(&.0.to_string(), 100))]
    Broken(#[source] ureq::Error),
    /// The time for AWS has passed.
    #[error("no time left")]
    Deadline,
    /// No connection in time.
    #[error("no connection in time")]
    NoConnection,
    /// The connection stands, and no answer comes.
    #[error("no answer in time")]
    NoAnswer,
    /// The answer is too large.
    #[error("limit reached: an answer larger than {BODY_MAX} bytes")]
    TooLarge,
}

impl From<ureq::Error> for NetworkError {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Self::NoConnection
            }
            ureq::Error::Timeout(_) => Self::NoAnswer,
            ureq::Error::Io(error) if error.kind() == ErrorKind::TimedOut => Self::NoAnswer,
            error => Self::Broken(error),
        }
    }
}
