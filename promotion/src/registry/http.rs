//! One request to a registry and its answer: authenticated, repeated where that is safe, redirected
//! where that is allowed, and bounded.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use civ_registry::{Challenge, Endpoint};
use reqwest::header::{
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Request, Response, StatusCode, Url};

use super::auth::{Auth, Scope};
use super::error::{Diagnostic, ERROR_BODY_MAX, is_busy};
use super::{RegistryError, guard};

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The longest that civ waits for an answer to begin, and for a body to go on.
pub(super) const SILENCE_MAX: Duration = Duration::from_mins(1);
const REDIRECTS_MAX: usize = 5;
/// Attempts at a connection that is not even made.
const NOBODY_THERE_MAX: u32 = 3;

/// How often and how patiently a request is repeated.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Requests in all, the first included.
    pub attempts: u32,
    /// The pause after the first failure; it doubles from there.
    pub pause: Duration,
    /// The longest pause, also where the registry asks for a longer one: beyond, civ gives up.
    pub pause_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 6, pause: Duration::from_millis(250), pause_max: Duration::from_mins(1) }
    }
}

impl Retry {
    /// Makes an attempt, and others after failures that may pass: as many as allowed, and one more
    /// after a token that ran out. `attempt` is told how many there were before.
    pub(crate) async fn persist<T, A>(
        &self,
        mut attempt: impl FnMut(u32) -> A,
    ) -> Result<T, RegistryError>
    where
        A: Future<Output = Result<T, RegistryError>>,
    {
        let (mut made, mut failed, mut refreshed) = (0, 0, false);
        loop {
            let error = match attempt(made).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            made += 1;
            if matches!(error, RegistryError::Unauthorized) && !refreshed {
                refreshed = true;
                continue;
            }
            failed += 1;
            if !error.is_transient() || failed >= self.attempts {
                return Err(error);
            }
            tokio::time::sleep(self.delay(failed, error.asked())?).await;
        }
    }

    /// The pause after failure number `attempt`, given what the registry asked for.
    pub(crate) fn delay(
        &self,
        attempt: u32,
        asked: Option<Duration>,
    ) -> Result<Duration, RegistryError> {
        match asked {
            Some(after) if after > self.pause_max => Err(RegistryError::RateLimited { after }),
            Some(after) => Ok(after),
            None => {
                let doubled = self.pause.saturating_mul(1 << attempt.saturating_sub(1).min(16));
                Ok(doubled.min(self.pause_max))
            }
        }
    }
}

/// The connections, and how patiently they are used.
#[derive(Clone, Debug)]
pub(super) struct Http {
    /// To registries on this machine: never through a proxy, and without reading certificates.
    loopback: reqwest::Client,
    remote: Arc<Remote>,
    pub(super) retry: Retry,
}

/// Made when first needed, for that takes reading the system's certificates.
#[derive(Debug, Default)]
struct Remote {
    registries: OnceLock<reqwest::Client>,
    /// Wherever registries send us.
    elsewhere: OnceLock<reqwest::Client>,
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
        Ok(Self { loopback, remote: Arc::default(), retry })
    }

    /// Connections to `url`, which the registry at `registry` named: to itself, or elsewhere.
    pub(super) fn to(
        &self,
        registry: &Endpoint,
        url: &Url,
    ) -> Result<&reqwest::Client, RegistryError> {
        if !guard::is_registry(registry, url) {
            let guarded = || builder().dns_resolver(guard::elsewhere_only());
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
        let mut attempt = 0;
        loop {
            let outcome = self.attempt(peer, call).await;
            let asked = match &outcome {
                // Only the registry may say how it wants to be asked, not whom it redirects to.
                Ok((response, used))
                    if response.status() == StatusCode::UNAUTHORIZED
                        && guard::is_registry(&peer.endpoint, response.url()) =>
                {
                    let same_again = used.as_ref().is_some_and(|used| refreshed || is_basic(used));
                    if same_again {
                        return outcome.map(|(response, _)| response);
                    }
                    refreshed = used.is_some();
                    peer.auth.learn(challenge(response.headers()), used.as_ref()).await?;
                    continue;
                }
                Ok((response, _)) if is_busy(response.status().as_u16()) => retry_after(response),
                Err(error) if error.is_transient() => None,
                _ => return outcome.map(|(response, _)| response),
            };
            attempt += 1;
            // Nobody there is mostly a name spelt wrong, which is better said soon.
            let nobody_there =
                matches!(&outcome, Err(RegistryError::Connection(e)) if e.is_connect());
            let attempts = if nobody_there { NOBODY_THERE_MAX } else { u32::MAX };
            if attempt >= self.retry.attempts.min(attempts) {
                return outcome.map(|(response, _)| response);
            }
            tokio::time::sleep(self.retry.delay(attempt, asked)?).await;
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
        let mut response = execute(self.to(&peer.endpoint, &at)?, request).await?;
        for _ in 0..REDIRECTS_MAX {
            let Some(to) = redirect(call, &at, &response) else { return Ok((response, used)) };
            let to = to?;
            guard::check(&peer.endpoint, &to, "redirect")?;
            let mut request = call.to_request(to.clone());
            if guard::is_registry(&peer.endpoint, &to) {
                self.authorize(peer, &mut request).await?;
            }
            response = execute(self.to(&peer.endpoint, &to)?, request).await?;
            at = to;
        }
        match redirect(call, &at, &response) {
            Some(_) => Err(RegistryError::TooManyRedirects { limit: REDIRECTS_MAX }),
            None => Ok((response, used)),
        }
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

/// Sends one request and waits for the answer's head.
pub(super) async fn execute(
    client: &reqwest::Client,
    request: Request,
) -> Result<Response, RegistryError> {
    match tokio::time::timeout(SILENCE_MAX, client.execute(request)).await {
        Ok(outcome) => outcome.map_err(connection),
        Err(_) => Err(RegistryError::Stalled { after: SILENCE_MAX }),
    }
}

/// Without its URL, which may hold a signed query.
pub(super) fn connection(error: reqwest::Error) -> RegistryError {
    RegistryError::Connection(error.without_url())
}

/// `response` if its status is one of `expected`, otherwise what the registry says instead.
pub(super) async fn expect(
    response: Response,
    expected: &[u16],
) -> Result<Response, RegistryError> {
    let status = response.status().as_u16();
    if expected.contains(&status) {
        return Ok(response);
    }
    let asked = retry_after(&response);
    let body = read_at_most(response, ERROR_BODY_MAX).await;
    match asked {
        Some(after) if status == 429 => Err(RegistryError::RateLimited { after }),
        _ => Err(RegistryError::Answer { status, diagnostic: Diagnostic::parse(&body) }),
    }
}

/// The beginning of a body whose rest, or whose breaking off, does not matter.
pub(super) async fn read_at_most(mut response: Response, limit: usize) -> Bytes {
    let mut body = BytesMut::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
        let take = chunk.len().min(limit - body.len());
        body.extend_from_slice(chunk.get(..take).unwrap_or_default());
        if body.len() == limit {
            break;
        }
    }
    body.freeze()
}

/// A whole body of at most `limit` bytes.
pub(super) async fn read_whole(mut response: Response, limit: u64) -> Result<Bytes, RegistryError> {
    let mut body = BytesMut::new();
    loop {
        match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            Ok(Ok(None)) => return Ok(body.freeze()),
            Ok(Err(error)) => return Err(connection(error)),
            Err(_) => return Err(RegistryError::Stalled { after: SILENCE_MAX }),
        }
        if body.len() as u64 > limit {
            return Err(RegistryError::TooLarge { limit });
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time_and_as_long_as_asked() {
        let retry = Retry::default();
        let seconds = Duration::from_secs;
        for (attempt, asked, expected) in [
            (1, None, Some(Duration::from_millis(250))),
            (2, None, Some(Duration::from_millis(500))),
            (5, None, Some(seconds(4))),
            (60, None, Some(seconds(60))),
            (1, Some(seconds(0)), Some(seconds(0))),
            (1, Some(seconds(60)), Some(seconds(60))),
            (1, Some(seconds(3600)), None),
        ] {
            assert_eq!(retry.delay(attempt, asked).ok(), expected, "{attempt} {asked:?}");
        }
    }
}
