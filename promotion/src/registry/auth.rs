//! Authentication as registries do it: ask, be challenged, fetch a token, keep it until shortly
//! before it expires.
//!
//! State is kept by registry, so that nothing learnt from one is ever sent to another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use civ_oci::text::one_line;
use civ_registry::{Challenge, Endpoint, guard as rules};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};

use super::credentials::{Credential, Credentials};
use super::diagnostic::Diagnostic;
use super::error::ERROR_BODY_MAX;
use super::http::{self, Http};
use super::{RegistryError, guard};

/// The lifetime of a token that states none, as the token specification has it.
const LIFETIME_DEFAULT: Duration = Duration::from_mins(1);
/// How long before its end a token is no longer used; never more than half its lifetime.
const MARGIN: Duration = Duration::from_secs(30);
/// The most that is read of a token answer, in bytes.
const TOKEN_BODY_MAX: usize = 64 << 10;

/// What a token is asked for: the first scope is the one that matters, for a few registries look at
/// no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope(Vec<String>);

impl Scope {
    /// May read `path`.
    pub(super) fn pull(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull")])
    }

    /// May read and write `path`, and read `mounted` to take blobs from it.
    pub(super) fn push(path: &str, mounted: Option<&str>) -> Self {
        let mut scopes = vec![format!("repository:{path}:pull,push")];
        scopes.extend(mounted.map(|from| format!("repository:{from}:pull")));
        Self(scopes)
    }

    /// May read, write and delete in `path`.
    pub(super) fn delete(path: &str) -> Self {
        Self(vec![format!("repository:{path}:pull,push,delete")])
    }
}

/// One registry's authentication.
#[derive(Debug)]
pub(super) struct Auth {
    /// The registry as references name it.
    host: String,
    endpoint: Endpoint,
    credentials: Credentials,
    credential: OnceCell<Option<Credential>>,
    scheme: Mutex<Scheme>,
    /// Held while a token is fetched, so that eight uploads ask for one token.
    tokens: Mutex<HashMap<TokenKey, Token>>,
    /// It answered something, so that is where it is.
    answered: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scheme {
    /// Nothing was refused yet.
    Unknown,
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TokenKey {
    realm: Url,
    service: Option<String>,
    scope: Scope,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    use_until: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("use_until", &self.use_until).finish_non_exhaustive()
    }
}

impl Auth {
    pub(super) fn new(host: &str, endpoint: &Endpoint, credentials: &Credentials) -> Arc<Self> {
        Arc::new(Self {
            host: host.to_owned(),
            endpoint: endpoint.clone(),
            credentials: credentials.clone(),
            credential: OnceCell::new(),
            scheme: Mutex::new(Scheme::Unknown),
            tokens: Mutex::new(HashMap::new()),
            answered: AtomicBool::new(false),
        })
    }

    /// The registry as references name it.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Notes that the registry answered.
    pub(super) fn note_answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether it ever did.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// The `Authorization` header for a request within `scope`, as far as the registry asked for
    /// one so far.
    pub(super) async fn authorization(
        &self,
        http: &Http,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let scheme = self.scheme.lock().await.clone();
        match scheme {
            Scheme::Unknown => Ok(None),
            Scheme::Basic => self.basic().await.map(Some),
            Scheme::Bearer { realm, service } => {
                let key = TokenKey { realm, service, scope: scope.clone() };
                let mut tokens = self.tokens.lock().await;
                let now = Instant::now();
                tokens.retain(|_, token| now < token.use_until);
                if let Some(token) = tokens.get(&key) {
                    return Ok(Some(token.header.clone()));
                }
                let token = self.fetch(http, &key).await?;
                let header = token.header.clone();
                tokens.insert(key, token);
                Ok(Some(header))
            }
        }
    }

    /// The header that answers `challenge` within `scope`, made anew; `None` if there are no
    /// credentials to make it of.
    pub(super) async fn answer(
        &self,
        http: &Http,
        challenge: &Challenge,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        if self.credential().await?.is_none() {
            return Ok(None);
        }
        match self.scheme_of(challenge)? {
            Scheme::Unknown => Ok(None),
            Scheme::Basic => self.basic().await.map(Some),
            Scheme::Bearer { realm, service } => {
                let key = TokenKey { realm, service, scope: scope.clone() };
                let fetch = |_| self.fetch(http, &key);
                let again = |error: &_, again| http.listener.hear(&self.host, error, again);
                Ok(Some(http.retry.persist(fetch, again).await?.header))
            }
        }
    }

    /// Learns from a 401 how the registry wants to be asked, and forgets the token that it refused.
    pub(super) async fn learn(
        &self,
        challenge: Option<Challenge>,
        refused: Option<&HeaderValue>,
    ) -> Result<(), RegistryError> {
        let Some(challenge) = challenge else {
            return Err(RegistryError::UnknownScheme { host: self.host.clone() });
        };
        *self.scheme.lock().await = self.scheme_of(&challenge)?;
        if let Some(refused) = refused {
            self.tokens.lock().await.retain(|_, token| token.header != *refused);
        }
        Ok(())
    }

    /// What `challenge` asks for, if it leads nowhere that it must not.
    fn scheme_of(&self, challenge: &Challenge) -> Result<Scheme, RegistryError> {
        let Challenge::Bearer { realm, service, .. } = challenge else { return Ok(Scheme::Basic) };
        let url = Url::parse(realm).map_err(|_| RegistryError::WrongPlace {
            what: "realm",
            to: one_line(realm, 100),
            why: "it is not a URL",
        })?;
        guard::check(&self.endpoint, &url, "realm")?;
        Ok(Scheme::Bearer { realm: url, service: service.clone() })
    }

    async fn basic(&self) -> Result<HeaderValue, RegistryError> {
        match self.credential().await? {
            Some(Credential::Password { user, password }) => basic(user, password),
            Some(Credential::IdentityToken(_)) => {
                Err(RegistryError::NoPassword { host: self.host.clone() })
            }
            None => Err(RegistryError::NoCredentials { host: self.host.clone() }),
        }
    }

    async fn credential(&self) -> Result<Option<&Credential>, RegistryError> {
        let found = self.credential.get_or_try_init(|| self.credentials.find(&self.host)).await?;
        Ok(found.as_ref())
    }

    /// Asks for a token once: whoever needs it repeats the whole, and counts that.
    async fn fetch(&self, http: &Http, key: &TokenKey) -> Result<Token, RegistryError> {
        let credential = self.credential().await?;
        let realm = guard::authority(&key.realm);
        if credential.is_some() && !rules::shares_credentials(&self.endpoint, &realm) {
            let why = "the registry's credentials are not meant for it";
            return Err(RegistryError::WrongPlace { what: "realm", to: realm, why });
        }
        let request = token_request(key, credential)?;
        let client = http.to(&self.endpoint, &key.realm)?;
        let response = http.execute(client, request).await?;
        self.read(response, key, credential.is_some()).await
    }

    async fn read(
        &self,
        response: reqwest::Response,
        key: &TokenKey,
        had_credential: bool,
    ) -> Result<Token, RegistryError> {
        let status = response.status().as_u16();
        let realm = key.realm.host_str().unwrap_or_default().to_owned();
        if matches!(status, 401 | 403) {
            let body = http::read_at_most(response, ERROR_BODY_MAX).await;
            let (host, diagnostic) = (self.host.clone(), Diagnostic::parse(&body));
            return Err(if had_credential {
                RegistryError::BadCredentials { host, realm, status, diagnostic }
            } else {
                RegistryError::NoCredentials { host }
            });
        }
        let response = http::expect(response, &[200]).await?;
        let body = http::read_at_most(response, TOKEN_BODY_MAX).await;
        parse_token(&body, Instant::now()).ok_or(RegistryError::BadTokenAnswer { realm })
    }
}

/// The request for a token: GET, with the password if there is one; POST where the credential is a
/// refresh token ([the two forms of the token specification](https://distribution.github.io/distribution/spec/auth/)).
fn token_request(
    key: &TokenKey,
    credential: Option<&Credential>,
) -> Result<reqwest::Request, RegistryError> {
    let mut url = key.realm.clone();
    let mut request;
    if let Some(Credential::IdentityToken(refresh_token)) = credential {
        let mut form = url.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "civ")
            .append_pair("service", key.service.as_deref().unwrap_or_default())
            .append_pair("scope", &key.scope.0.join(" "))
            .append_pair("refresh_token", refresh_token);
        request = reqwest::Request::new(reqwest::Method::POST, url);
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form_type);
        *request.body_mut() = Some(form.query().unwrap_or_default().to_owned().into());
        return Ok(request);
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &key.service {
            query.append_pair("service", service);
        }
        for scope in &key.scope.0 {
            query.append_pair("scope", scope);
        }
    }
    request = reqwest::Request::new(reqwest::Method::GET, url);
    if let Some(Credential::Password { user, password }) = credential {
        request.headers_mut().insert(AUTHORIZATION, basic(user, password)?);
    }
    Ok(request)
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, RegistryError> {
    secret_header(&format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))
        .ok_or(RegistryError::BadToken)
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn parse_token(body: &[u8], now: Instant) -> Option<Token> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
    let lifetime = answer.expires_in.filter(|seconds| *seconds > 0);
    // A day at most, so that no answer overflows the clock.
    let lifetime = lifetime.map_or(LIFETIME_DEFAULT, |s| Duration::from_secs(s.min(86_400)));
    let use_until = now + lifetime.saturating_sub(MARGIN.min(lifetime / 2));
    Some(Token { header: secret_header(&format!("Bearer {token}"))?, use_until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_shortly_before_it_expires() {
        let now = Instant::now();
        for (body, seconds) in [
            (r#"{"token":"t","expires_in":300}"#, 270),
            (r#"{"access_token":"t","expires_in":300}"#, 270),
            (r#"{"token":"t"}"#, 30),
            (r#"{"token":"t","expires_in":0}"#, 30),
            (r#"{"token":"t","expires_in":10}"#, 5),
            (r#"{"token":"t","expires_in":18446744073709551615}"#, 86_370),
        ] {
            let token = parse_token(body.as_bytes(), now).unwrap();
            assert_eq!(token.use_until, now + Duration::from_secs(seconds), "{body}");
            assert_eq!(token.header, "Bearer t");
            assert!(!format!("{token:?}").contains("Bearer"));
        }
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"expires_in":-1}"#] {
            assert!(parse_token(body.as_bytes(), now).is_none(), "{body}");
        }
    }

    #[test]
    fn asks_for_the_destination_first() {
        let key = TokenKey {
            realm: "https://auth.example/token?keep=1".parse().unwrap(),
            service: Some("r.example".into()),
            scope: Scope::push("dst/app", Some("src/app")),
        };
        let request = token_request(&key, None).unwrap();
        assert_eq!(
            request.url().as_str(),
            "https://auth.example/token?keep=1&service=r.example\
             &scope=repository%3Adst%2Fapp%3Apull%2Cpush&scope=repository%3Asrc%2Fapp%3Apull"
        );
        assert!(request.headers().get(AUTHORIZATION).is_none());

        let password = Credential::Password { user: "u".into(), password: "p".into() };
        let request = token_request(&key, Some(&password)).unwrap();
        assert_eq!(request.headers().get(AUTHORIZATION).unwrap(), "Basic dTpw");

        let request = token_request(&key, Some(&Credential::IdentityToken("r".into()))).unwrap();
        assert_eq!(request.method(), reqwest::Method::POST);
        assert_eq!(request.url(), &key.realm);
        let form = request.body().and_then(|body| body.as_bytes()).unwrap();
        assert!(std::str::from_utf8(form).unwrap().ends_with("&refresh_token=r"));
    }

    fn auth() -> Arc<Auth> {
        let endpoint = Endpoint::of(&"r.example/a".parse().unwrap());
        Auth::new("r.example", &endpoint, &Credentials::Anonymous)
    }

    #[tokio::test]
    async fn learns_only_from_realms_that_may_be_asked() {
        for (header, ok) in [
            (r#"Bearer realm="https://auth.example/token",service="s""#, true),
            (r#"Basic realm="r""#, true),
            (r#"Bearer realm="http://auth.example/token""#, false),
            (r#"Bearer realm="https://169.254.169.254/token""#, false),
            (r#"Bearer realm="http://127.0.0.1/token""#, false),
            (r#"Bearer realm="nonsense""#, false),
            ("Negotiate", false),
        ] {
            assert_eq!(auth().learn(Challenge::parse(header), None).await.is_ok(), ok, "{header}");
        }
    }

    #[tokio::test]
    async fn credentials_go_to_the_registry_and_its_neighbours_only() {
        let password = Credential::Password { user: "u".into(), password: "p".into() };
        let credentials = Credentials::Fixed([("r.example".to_owned(), password)].into());
        let endpoint = Endpoint::of(&"r.example/a".parse().unwrap());
        let auth = Auth::new("r.example", &endpoint, &credentials);
        let challenge = Challenge::parse(r#"Bearer realm="https://evil.test/token""#);
        auth.learn(challenge, None).await.unwrap();
        let http = Http::new(crate::Retry::default()).unwrap();
        let asked = auth.authorization(&http, &Scope::pull("a")).await;
        assert!(matches!(asked, Err(RegistryError::WrongPlace { what: "realm", .. })), "{asked:?}");
    }

    #[tokio::test]
    async fn a_refused_token_is_forgotten_and_a_newer_one_kept() {
        let auth = auth();
        let token = |name: &str| {
            parse_token(format!(r#"{{"token":"{name}"}}"#).as_bytes(), Instant::now()).unwrap()
        };
        let key = |path: &str| TokenKey {
            realm: "https://auth.example/".parse().unwrap(),
            service: None,
            scope: Scope::pull(path),
        };
        auth.tokens.lock().await.extend([(key("a"), token("old")), (key("b"), token("new"))]);
        let challenge = Challenge::parse(r#"Bearer realm="https://auth.example/""#);
        auth.learn(challenge, Some(&HeaderValue::from_static("Bearer old"))).await.unwrap();
        let left: Vec<_> = auth.tokens.lock().await.keys().cloned().collect();
        assert_eq!(left, [key("b")]);
    }

    #[tokio::test]
    async fn an_identity_token_is_said_to_be_no_password() {
        let token = Credential::IdentityToken("canary".into());
        let credentials = Credentials::Fixed([("r.example".to_owned(), token)].into());
        let endpoint = Endpoint::of(&"r.example/a".parse().unwrap());
        let error = Auth::new("r.example", &endpoint, &credentials).basic().await.unwrap_err();
        assert!(matches!(error, RegistryError::NoPassword { .. }), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}
