//! The client: bounded, hashed, compared.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use civ_oci::{Repository, media_type};
use serde::Deserialize;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER};
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, Proxy};

use crate::address::{authority_of, resolve, without_secrets};
use crate::transport::{self, read_bounded};
use crate::{Authorizer, Endpoint, Error, Limits, guard, link};

mod authorize;
mod read;

/// How long to wait before a request is repeated, unless the registry says how long.
const BACKOFF: Duration = Duration::from_millis(250);

/// A client for the registry of one repository.
#[derive(Debug)]
pub struct Client {
    /// The registry, before and once it is known how it is spoken to.
    unsettled: Endpoint,
    settled: OnceCell<Endpoint>,
    agent: Agent,
    limits: Limits,
    deadline: Cell<Instant>,
    authorizer: Option<Arc<dyn Authorizer>>,
    authorization: RefCell<Option<Authorization>>,
    requests: Cell<u32>,
    token_requests: Cell<u32>,
    counter: Arc<AtomicU64>,
    /// Set when the registry could not be reached or time ran out: asking for something else would
    /// only take what time is left for saying so.
    given_up: Cell<bool>,
}

/// An `Authorization` header, and the repository that it was given for.
#[derive(Clone)]
struct Authorization {
    repository: Repository,
    header: String,
    /// Whether it says more of who asks than that somebody does.
    of_somebody: bool,
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authorization(for {})", self.repository)
    }
}

/// How a client is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// When the client gives up.
    pub deadline: Instant,
    /// What it may spend.
    pub limits: Limits,
    /// Who answers the registry's challenges, if they are not to be answered as by a verifier.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// A PEM file of certificate authorities to use instead of the system's.
    pub authorities: Option<PathBuf>,
    /// The way to registries elsewhere than on this machine, where there is no other. A verifier has
    /// none: it would see, and could choose, every answer.
    pub proxy: Option<Proxy>,
    /// Counts every request as it is made, those to token servers included, for whoever has to know
    /// while one is under way.
    pub counter: Arc<AtomicU64>,
}

impl Options {
    /// Default limits, as nobody in particular, the system's authorities.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            limits: Limits::default(),
            authorizer: None,
            authorities: None,
            proxy: None,
            counter: Arc::default(),
        }
    }
}

impl Client {
    /// A client for the registry that holds `repository`. Nothing is sent yet.
    pub fn new(repository: &Repository, options: Options) -> Result<Self, Error> {
        let endpoint = Endpoint::of(repository);
        let proxy = options.proxy.filter(|_| !endpoint.is_loopback());
        let limits = &options.limits;
        let agent = transport::agent(endpoint.authority(), limits, options.authorities, proxy)
            .map_err(|source| Error::Unreachable {
                what: repository.to_string(),
                source: ureq::Error::Other(Box::new(source)),
            })?;
        Ok(Self {
            unsettled: endpoint,
            settled: OnceCell::new(),
            agent,
            limits: options.limits,
            deadline: Cell::new(options.deadline),
            authorizer: options.authorizer,
            authorization: RefCell::new(None),
            requests: Cell::new(0),
            token_requests: Cell::new(0),
            counter: options.counter,
            given_up: Cell::new(false),
        })
    }

    /// The registry. The first to ask finds out how it is spoken to.
    fn endpoint(&self) -> &Endpoint {
        self.settled.get_or_init(|| {
            let left = self.deadline.get().saturating_duration_since(Instant::now());
            self.unsettled.clone().settled(left.min(self.limits.connect))
        })
    }

    /// GETs `url` of `repository`, authorising and following redirects as far as they may lead.
    fn get(&self, query: &Query<'_>) -> Result<Option<Answer>, Error> {
        let mut url = query.url.to_owned();
        let mut at_registry = true;
        let mut redirects = 0;
        let mut challenged = false;
        loop {
            let response = self.send(query, &url, at_registry)?;
            let status = response.status().as_u16();
            match status {
                200 => return read_answer(response, query, self).map(Some),
                404 => return Ok(None),
                400 | 405 | 406 | 410 | 501 if query.may_be_unknown => return Ok(None),
                401 if at_registry && !challenged => {
                    challenged = true;
                    self.authorize(query, &response)?;
                }
                401 | 403 => return Err(self.unauthorized(query, status)),
                301 | 302 | 303 | 307 | 308 => {
                    redirects += 1;
                    if redirects > self.limits.redirects {
                        let limit = self.limits.redirects;
                        return Err(Error::Redirects { what: query.what.to_owned(), limit });
                    }
                    url = self.redirect_target(query, &url, &response)?;
                    at_registry = authority_of(&url) == Some(self.endpoint().authority());
                }
                _ => return Err(self.status_error(query, response)),
            }
        }
    }

    /// Sends one request, once more if the registry or the network asks for it.
    fn send(
        &self,
        query: &Query<'_>,
        url: &str,
        at_registry: bool,
    ) -> Result<Response<Body>, Error> {
        let mut retries = 0;
        loop {
            let outcome = self.send_once(query, url, at_registry)?;
            let pause = match &outcome {
                Ok(response) if matches!(response.status().as_u16(), 429 | 502 | 503 | 504) => {
                    retry_after(response).unwrap_or(BACKOFF)
                }
                Err(ureq::Error::Io(error)) if is_of_our_making(error) => Duration::ZERO,
                Err(ureq::Error::Io(_) | ureq::Error::ConnectionFailed) => BACKOFF,
                _ => Duration::ZERO,
            };
            let in_time = pause < self.deadline.get().saturating_duration_since(Instant::now());
            if pause.is_zero() || !in_time || retries >= self.limits.retries {
                return outcome.map_err(|source| {
                    let unreachable = match &source {
                        ureq::Error::Timeout(_)
                        | ureq::Error::ConnectionFailed
                        | ureq::Error::HostNotFound => true,
                        ureq::Error::Io(error) => !is_of_our_making(error),
                        _ => false,
                    };
                    self.given_up.set(at_registry && unreachable);
                    self.transport_error(query, url, source)
                });
            }
            retries += 1;
            std::thread::sleep(pause);
        }
    }

    fn send_once(
        &self,
        query: &Query<'_>,
        url: &str,
        at_registry: bool,
    ) -> Result<Result<Response<Body>, ureq::Error>, Error> {
        if self.given_up.get() {
            return Err(Error::GivenUp { what: query.what.to_owned() });
        }
        let limit = self.limits.requests;
        if self.requests.get() >= limit {
            return Err(Error::Requests { what: query.what.to_owned(), limit });
        }
        self.requests.set(self.requests.get() + 1);
        self.counter.fetch_add(1, Ordering::Relaxed);
        let time_left = self.time_left(query)?;
        let mut request = self.agent.get(url).config().timeout_global(Some(time_left)).build();
        if let Some(accept) = &query.accept {
            request = request.header(ACCEPT, accept);
        }
        let authorization = self.authorization.borrow();
        if let Some(authorization) = authorization.as_ref()
            && at_registry
            && authorization.repository == *query.repository
        {
            request = request.header(AUTHORIZATION, &authorization.header);
        }
        Ok(request.call())
    }

    fn redirect_target(
        &self,
        query: &Query<'_>,
        from: &str,
        response: &Response<Body>,
    ) -> Result<String, Error> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location
            .filter(|location| !location.is_empty())
            .ok_or_else(|| Error::NoLocation { what: query.what.to_owned() })?;
        let target = resolve(from, location);
        if target.len() > transport::REQUEST_PART_MAX {
            return Err(Error::TooLarge {
                what: format!("the address to which the registry sends us for {}", query.what),
                limit: transport::REQUEST_PART_MAX as u64,
            });
        }
        self.check_target(query, &target)?;
        Ok(target)
    }

    /// Checks that the registry may send us to `url`.
    fn check_target(&self, query: &Query<'_>, url: &str) -> Result<(), Error> {
        let uri: Option<Uri> = url.parse().ok();
        let target = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
        match target {
            Some((scheme, authority))
                if guard::permits_url(self.endpoint(), scheme, authority.as_str()) =>
            {
                Ok(())
            }
            _ => Err(Error::ForbiddenTarget {
                what: query.what.to_owned(),
                target: without_secrets(url),
            }),
        }
    }

    fn status_error(&self, query: &Query<'_>, response: Response<Body>) -> Error {
        let status = response.status().as_u16();
        let body = read_bounded(response, self.limits.error_body).ok().flatten();
        let code = body.and_then(|body| {
            let errors: ErrorAnswer = serde_json::from_slice(&body).ok()?;
            errors.errors.into_iter().next()?.code
        });
        Error::Status { what: query.what.to_owned(), status, code }
    }

    fn transport_error(&self, query: &Query<'_>, url: &str, source: ureq::Error) -> Error {
        let what = query.what.to_owned();
        match source {
            ureq::Error::Io(error) if transport::is_within_machine(&error) => {
                Error::ForbiddenTarget { what, target: without_secrets(url) }
            }
            ureq::Error::Io(error) if transport::is_bad_certificate(&error) => {
                let on_loopback = self.endpoint().is_loopback();
                Error::Certificate { what, source: error, on_loopback }
            }
            ureq::Error::Io(error) if transport::is_no_tls(&error) => Error::NoTls { what },
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => Error::NoHttp { what, source },
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
                if !self.deadline_passed() =>
            {
                Error::UnreachableInTime { what, limit: self.limits.connect }
            }
            ureq::Error::Timeout(_) => Error::Deadline { what },
            ureq::Error::LargeResponseHeader(..) => Error::TooLarge {
                what: format!("the header for {what}"),
                limit: self.limits.header as u64,
            },
            source => Error::Unreachable { what, source },
        }
    }

    fn time_left(&self, query: &Query<'_>) -> Result<Duration, Error> {
        match self.deadline.get().checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(Error::Deadline { what: query.what.to_owned() }),
        }
    }

    fn deadline_passed(&self) -> bool {
        Instant::now() >= self.deadline.get()
    }
}

/// One thing asked of the registry.
struct Query<'a> {
    repository: &'a Repository,
    what: &'a str,
    url: &'a str,
    accept: Option<String>,
    limit: u64,
    /// Whether the registry need not know what is asked for, and may say so in various ways.
    may_be_unknown: bool,
}

struct Answer {
    media_type: String,
    bytes: Vec<u8>,
    /// Where a list goes on, as written.
    next: Option<String>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    errors: Vec<ErrorDetail>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: Option<String>,
}

fn read_answer(
    response: Response<Body>,
    query: &Query<'_>,
    client: &Client,
) -> Result<Answer, Error> {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type::essence(content_type.unwrap_or_default()).to_owned();
    let links = response.headers().get_all(LINK);
    let next = links.iter().find_map(|link| link::next_target(link.to_str().ok()?));
    let next = next.map(str::to_owned);
    match read_bounded(response, query.limit) {
        Ok(Some(bytes)) => Ok(Answer { media_type, bytes, next }),
        Ok(None) => Err(Error::TooLarge { what: query.what.to_owned(), limit: query.limit }),
        Err(source) => Err(client.transport_error(query, query.url, source)),
    }
}

/// Was a connection not made, or not used, for a reason that asking again does not mend?
fn is_of_our_making(error: &std::io::Error) -> bool {
    transport::is_within_machine(error)
        || transport::is_bad_certificate(error)
        || transport::is_no_tls(error)
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).max(BACKOFF))
}
