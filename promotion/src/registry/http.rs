//! One request to a registry and its answer: authenticated, repeated where that is safe, redirected
//! where that is allowed, and bounded.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use civ_oci::text::one_line;
use civ_registry::{Challenge, Endpoint};
use reqwest::header::{
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Request, Response, StatusCode, Url};

use super::auth::{Auth, Scope};
use super::diagnostic::Diagnostic;
use super::error::{ERROR_BODY_MAX, is_busy};
use super::guard::Proxies;
use super::retry::{Attempts, Listener};
use super::{RegistryError, Retry, guard};
use crate::progress::Wait;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The longest that is waited for what a registry says about its refusal.
const ERROR_BODY_TIME_MAX: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
/// Attempts at a connection that is not even made.
const NOBODY_THERE_MAX: u32 = 3;

/// The connections, and how patiently they are used.
#[derive(Clone, Debug)]
pub(super) struct Http {
    /// To registries on this machine: never through a proxy, and without reading certificates.
    loopback: reqwest::Client,
    remote: Arc<Remote>,
    pub(super) retry: Retry,
    pub(super) listener: Listener,
}

/// Made when first needed, for that takes reading the system's certificates.
#[derive(Debug, Default)]
struct Remote {
    registries: OnceLock<reqwest::Client>,
    /// Wherever registries send us.
    elsewhere: OnceLock<reqwest::Client>,
    proxies: OnceLock<Proxies>,
}

/// A registry as seen from one repository: where it is, and what is asked of it there.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) endpoint: Endpoint,
    pub(super) auth: Arc<Auth>,
    pub(super) scope: Scope,
}

/// A request that can be repeated.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: Vec::new(), body: Bytes::new() }
    }
}

/// Connections of HTTP/1.1, since blobs that share one HTTP/2 connection share its window, too.
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("civ/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .connect_timeout(CONNECT_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
}

fn made(
    cell: &OnceLock<reqwest::Client>,
    builder: impl FnOnce() -> reqwest::ClientBuilder,
) -> Result<&reqwest::Client, RegistryError> {
    if let Some(client) = cell.get() {
        return Ok(client);
    }
    let client = builder().build().map_err(RegistryError::Connection)?;
    Ok(cell.get_or_init(|| client))
}

impl Http {
    pub(super) fn new(retry: Retry) -> Result<Self, RegistryError> {
        let loopback = builder().no_proxy().tls_certs_only([]);
        let loopback = loopback.build().map_err(RegistryError::Connection)?;
        let listener = Listener::default();
        Ok(Self { loopback, remote: Arc::default(), retry, listener })
    }

    /// The same connections, for one attempt at everything: somebody else counts the attempts.
    pub(super) fn once(&self) -> Self {
        Self { retry: self.retry.once(), ..self.clone() }
    }

    /// Connections to `url`, which the registry at `registry` named: to itself, or elsewhere.
    pub(super) fn to(
        &self,
        registry: &Endpoint,
        url: &Url,
    ) -> Result<&reqwest::Client, RegistryError> {
        if !guard::is_registry(registry, url) {
            let proxies = self.remote.proxies.get_or_init(Proxies::of_environment);
            let host = url.host_str().unwrap_or_default();
            if proxies.has(host) {
                return Err(RegistryError::LeadsHere { host: one_line(host, 100) });
            }
            let guarded = || builder().dns_resolver(guard::elsewhere_only(proxies.clone()));
            made(&self.remote.elsewhere, guarded)
        } else if registry.is_plain_loopback() {
            Ok(&self.loopback)
        } else {
            made(&self.remote.registries, builder)
        }
    }

    /// Sends `call`, again after 401 (once asked who we are, once with a new token), 429, 5xx and
    /// broken connections, and follows redirects of GET and HEAD. The answer has whatever status is
    /// left.
    pub(super) async fn send(&self, peer: &Peer, call: &Call) -> Result<Response, RegistryError> {
        let mut refreshed = false;
        let mut attempts = Attempts::of(&self.retry);
        let mut until = Instant::now() + self.retry.question_max;
        let mut before = None;
        loop {
            let attempt = tokio::time::timeout_at(until.into(), self.attempt(peer, call)).await;
            // What the registry did say explains more than that it took too long to say it again.
            let Ok(outcome) = attempt else {
                return Err(before.unwrap_or_else(|| self.too_slow()));
            };
            let (error, pause) = match outcome {
                // Only the registry may say how it wants to be asked, not whom it redirects to.
                Ok((response, used))
                    if response.status() == StatusCode::UNAUTHORIZED
                        && guard::is_registry(&peer.endpoint, response.url()) =>
                {
                    peer.auth.note_answer();
                    match used {
                        Some(used) if is_basic(&used) => {
                            return Err(bad_credentials(peer, response).await);
                        }
                        Some(_) if refreshed => return Ok(response),
                        used => {
                            refreshed = used.is_some();
                            peer.auth.learn(challenge(response.headers()), used.as_ref()).await?;
                            continue;
                        }
                    }
                }
                Ok((response, _)) => {
                    peer.auth.note_answer();
                    let Some(error) = busy(&response) else { return Ok(response) };
                    let pause = attempts.after(&error);
                    // What the registry says about it is still to be read.
                    let Some(pause) = pause.filter(|_| has_time(until, &error)) else {
                        return Ok(response);
                    };
                    (error, pause)
                }
                Err(error) => {
                    let pause = attempts.after(&error).filter(|_| has_time(until, &error));
                    // Nobody there is mostly a name spelt wrong, which is better said soon.
                    let nobody_there = error.is_nobody_there() && !peer.auth.has_answered();
                    match pause {
                        Some(pause) if !nobody_there || attempts.failed() < NOBODY_THERE_MAX => {
                            (error, pause)
                        }
                        _ => return Err(error),
                    }
                }
            };
            if error.asked().is_some() {
                until += pause;
            }
            self.listener.hear(peer.auth.host(), &error, attempts.again(&error, pause));
            tokio::time::sleep(pause).await;
            before = Some(error);
        }
    }

    /// Sends a body that cannot be sent twice. A refused token is renewed for the next attempt, and
    /// this one fails with [`RegistryError::Unauthorized`].
    pub(super) async fn send_once(
        &self,
        peer: &Peer,
        mut request: Request,
    ) -> Result<Response, RegistryError> {
        let used = self.authorize(peer, &mut request).await?;
        let client = self.to(&peer.endpoint, request.url())?;
        let response = client.execute(request).await.map_err(connection)?;
        peer.auth.note_answer();
        if response.status() == StatusCode::UNAUTHORIZED {
            peer.auth.learn(challenge(response.headers()), used.as_ref()).await?;
            return Err(RegistryError::Unauthorized);
        }
        Ok(response)
    }

    async fn attempt(
        &self,
        peer: &Peer,
        call: &Call,
    ) -> Result<(Response, Option<HeaderValue>), RegistryError> {
        let mut request = call.to_request(call.url.clone());
        let used = self.authorize(peer, &mut request).await?;
        let mut at = call.url.clone();
        let mut response = self.execute(self.to(&peer.endpoint, &at)?, request).await?;
        for _ in 0..REDIRECTS_MAX {
            let Some(to) = redirect(call, &at, &response) else { return Ok((response, used)) };
            let to = to?;
            guard::check(&peer.endpoint, &to, "redirect")?;
            let mut request = call.to_request(to.clone());
            if guard::is_registry(&peer.endpoint, &to) {
                self.authorize(peer, &mut request).await?;
            }
            response = self.execute(self.to(&peer.endpoint, &to)?, request).await?;
            at = to;
        }
        match redirect(call, &at, &response) {
            Some(_) => Err(RegistryError::TooManyRedirects { limit: REDIRECTS_MAX }),
            None => Ok((response, used)),
        }
    }

    /// Sends one request and waits for the answer's head.
    pub(super) async fn execute(
        &self,
        client: &reqwest::Client,
        request: Request,
    ) -> Result<Response, RegistryError> {
        let host = guard::authority(request.url());
        let answer = client.execute(request);
        self.hear(&host, answer).await?.map_err(connection)
    }

    /// What comes of `answer`, unless the registry at `host` is silent for too long. Half of that is
    /// long enough to say so.
    pub(super) async fn hear<T>(
        &self,
        host: &str,
        answer: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        let after = self.retry.silence_max;
        let mut answer = std::pin::pin!(answer);
        if let Ok(answer) = tokio::time::timeout(after / 2, &mut answer).await {
            return Ok(answer);
        }
        let why = RegistryError::Stalled { after: after / 2 };
        self.listener.0.waiting(&Wait { host, why: &why, next: None });
        let rest = tokio::time::timeout(after.saturating_sub(after / 2), answer).await;
        rest.map_err(|_| RegistryError::Stalled { after })
    }

    /// A whole body of at most `limit` bytes.
    pub(super) async fn read_whole(
        &self,
        mut response: Response,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let host = guard::authority(response.url());
        let read = async {
            let mut body = BytesMut::new();
            while let Some(chunk) = self.hear(&host, response.chunk()).await?.map_err(connection)? {
                body.extend_from_slice(&chunk);
                if body.len() as u64 > limit {
                    return Err(RegistryError::TooLong { limit });
                }
            }
            Ok(body.freeze())
        };
        let read = tokio::time::timeout(self.retry.question_max, read).await;
        read.unwrap_or_else(|_| Err(self.too_slow()))
    }

    fn too_slow(&self) -> RegistryError {
        RegistryError::TooSlow { limit: self.retry.question_max }
    }

    async fn authorize(
        &self,
        peer: &Peer,
        request: &mut Request,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let header = peer.auth.authorization(self, &peer.scope).await?;
        if let Some(header) = &header {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        Ok(header)
    }
}

impl Call {
    fn to_request(&self, url: Url) -> Request {
        let mut request = Request::new(self.method.clone(), url);
        request.headers_mut().extend(self.headers.iter().cloned());
        if !self.body.is_empty() || self.method == Method::PUT || self.method == Method::POST {
            *request.body_mut() = Some(self.body.clone().into());
        }
        request
    }
}

/// Whether there is time for another attempt after `error`. What the registry asks for is given.
fn has_time(until: Instant, error: &RegistryError) -> bool {
    error.asked().is_some() || Instant::now() < until
}

/// Where the answer leads, if it is a redirect that may be followed.
fn redirect(call: &Call, at: &Url, response: &Response) -> Option<Result<Url, RegistryError>> {
    let follows = matches!(call.method, Method::GET | Method::HEAD)
        && matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    follows.then(|| location(at, response))
}

/// The `Location` of an answer, which may be relative.
pub(super) fn location(at: &Url, response: &Response) -> Result<Url, RegistryError> {
    let header = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    header
        .and_then(|location| at.join(location).ok())
        .ok_or(RegistryError::NoHeader { header: "Location" })
}

/// Without its URL, which may hold a signed query.
pub(super) fn connection(error: reqwest::Error) -> RegistryError {
    match guard::leads_here(&error) {
        Some(host) => RegistryError::LeadsHere { host },
        None => RegistryError::Connection(error.without_url()),
    }
}

/// `response` if its status is one of `expected`, otherwise what the registry says instead.
pub(super) async fn expect(
    response: Response,
    expected: &[u16],
) -> Result<Response, RegistryError> {
    if expected.contains(&response.status().as_u16()) {
        return Ok(response);
    }
    let mut error = refusal(&response);
    let said = Diagnostic::parse(&read_at_most(response, ERROR_BODY_MAX).await);
    if let RegistryError::Answer { diagnostic, .. } | RegistryError::Busy { diagnostic, .. } =
        &mut error
    {
        *diagnostic = said;
    }
    Err(error)
}

/// What the head of an answer that says no says of it.
fn refusal(response: &Response) -> RegistryError {
    let status = response.status().as_u16();
    let diagnostic = Diagnostic::default();
    match retry_after(response) {
        Some(after) if is_busy(status) => RegistryError::Busy { status, after, diagnostic },
        _ => RegistryError::Answer { status, diagnostic },
    }
}

/// Whether the answer is to ask again later.
pub(super) fn busy(response: &Response) -> Option<RegistryError> {
    is_busy(response.status().as_u16()).then(|| refusal(response))
}

/// A password that the registry does not take.
async fn bad_credentials(peer: &Peer, response: Response) -> RegistryError {
    let (host, realm) = (peer.auth.host().to_owned(), guard::authority(response.url()));
    let status = response.status().as_u16();
    let diagnostic = Diagnostic::parse(&read_at_most(response, ERROR_BODY_MAX).await);
    RegistryError::BadCredentials { host, realm, status, diagnostic }
}

/// The beginning of a body whose rest, or whose breaking off, does not matter.
pub(super) async fn read_at_most(mut response: Response, limit: usize) -> Bytes {
    let until = tokio::time::Instant::now() + ERROR_BODY_TIME_MAX;
    let mut body = BytesMut::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(until, response.chunk()).await {
        let take = chunk.len().min(limit - body.len());
        body.extend_from_slice(chunk.get(..take).unwrap_or_default());
        if body.len() == limit {
            break;
        }
    }
    body.freeze()
}

/// What the registry asks for, in seconds. Dates are not read: those that send them send seconds
/// when asked again.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let header = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    header.trim().parse().ok().map(Duration::from_secs)
}

/// Credentials that are sent as they are: refused once, they are refused again.
fn is_basic(authorization: &HeaderValue) -> bool {
    authorization.as_bytes().starts_with(b"Basic ")
}

fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let headers = headers.get_all(WWW_AUTHENTICATE).iter();
    headers.filter_map(|header| header.to_str().ok()).find_map(Challenge::parse)
}
