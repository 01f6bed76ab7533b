//! Who may use the registry: everybody, whoever has the password, or whoever has a token for it from
//! the registry's own token endpoint ([Docker's token authentication](https://distribution.github.io/distribution/spec/auth/token/)).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::wire::lock;
use crate::{Request, Response};

pub(crate) const TOKEN_PATH: &str = "/token";
/// The registry's name towards the token endpoint.
pub(crate) const SERVICE: &str = "civ-embedded-registry";

/// How requests are authorised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) scheme: Scheme,
    pub(crate) anonymous_pull: bool,
    pub(crate) token_lifetime: Duration,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum Scheme {
    #[default]
    Open,
    /// The credentials in base64, as they follow `Basic`.
    Basic(String),
    /// The credentials for the token endpoint.
    Bearer(String),
}

/// What a request needs, such as `repository:team/app:pull`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) repository: String,
    pub(crate) action: &'static str,
}

/// The tokens given out.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<String, Grant>>);

#[derive(Debug)]
struct Grant {
    scopes: BTreeSet<(String, String)>,
    expires: Instant,
}

/// `user:password` in base64.
pub(crate) fn basic_credentials(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for group in format!("{user}:{password}").as_bytes().chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get((bits >> shift & 63) as usize).copied().unwrap_or_default();
            encoded.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    encoded
}

impl Policy {
    /// Refuses a request that lacks a credential for what it needs.
    pub(crate) fn check(
        &self,
        tokens: &Tokens,
        request: &Request,
        needs: &[Need],
        base_url: &str,
    ) -> Result<(), Response> {
        let only_pulls = !needs.is_empty() && needs.iter().all(|need| need.action == "pull");
        match &self.scheme {
            Scheme::Open => Ok(()),
            Scheme::Basic(_) if self.anonymous_pull && only_pulls => Ok(()),
            Scheme::Basic(expected) => match credential(request, "Basic") {
                Some(given) if given == expected => Ok(()),
                _ => Err(unauthorized(&format!("Basic realm=\"{SERVICE}\""))),
            },
            Scheme::Bearer(_) => {
                let given = credential(request, "Bearer");
                let why = match given.map(|token| tokens.covers(token, needs)) {
                    Some(Coverage::Full) => return Ok(()),
                    Some(Coverage::Partial) => ",error=\"insufficient_scope\"",
                    Some(Coverage::Unknown) => ",error=\"invalid_token\"",
                    None => "",
                };
                let scope = match scope_of(needs) {
                    scope if scope.is_empty() => scope,
                    scope => format!(",scope=\"{scope}\""),
                };
                Err(unauthorized(&format!(
                    "Bearer realm=\"{base_url}{TOKEN_PATH}\",service=\"{SERVICE}\"{scope}{why}"
                )))
            }
        }
    }

    /// Answers a request for a token.
    pub(crate) fn grant(&self, tokens: &Tokens, request: &Request) -> Response {
        let Scheme::Bearer(expected) = &self.scheme else {
            return Response::error(404, "UNSUPPORTED", "this registry gives out no tokens");
        };
        if request.method != "GET" {
            return Response::error(405, "UNSUPPORTED", "tokens are had by GET");
        }
        if request.query_value("service").is_some_and(|service| service != SERVICE) {
            return Response::error(400, "DENIED", "the service is another one");
        }
        let is_user = match credential(request, "Basic") {
            Some(given) if given == expected => true,
            None if self.anonymous_pull => false,
            _ => return unauthorized(&format!("Basic realm=\"{SERVICE}\"")),
        };
        let scopes = request
            .query_values("scope")
            .iter()
            .flat_map(|scopes| scopes.split(' '))
            .filter_map(parse_scope)
            .flat_map(|(repository, actions)| {
                actions.split(',').map(move |action| (repository.to_owned(), action.to_owned()))
            })
            .filter(|(_, action)| is_user || action == "pull")
            .collect();
        let token = tokens.issue(Grant { scopes, expires: Instant::now() + self.token_lifetime });
        Response::new(200).with_json(&serde_json::json!({
            "token": token,
            "access_token": token,
            "expires_in": self.token_lifetime.as_secs(),
        }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coverage {
    Full,
    Partial,
    Unknown,
}

impl Tokens {
    fn issue(&self, grant: Grant) -> String {
        let mut grants = lock(&self.0);
        let random = RandomState::new();
        let token = format!("token-{}-{:016x}", grants.len() + 1, random.hash_one(grants.len()));
        grants.insert(token.clone(), grant);
        token
    }

    fn covers(&self, token: &str, needs: &[Need]) -> Coverage {
        match lock(&self.0).get(token) {
            Some(grant) if grant.expires > Instant::now() => {
                let covered = needs.iter().all(|need| {
                    grant.scopes.contains(&(need.repository.clone(), need.action.to_owned()))
                });
                if covered { Coverage::Full } else { Coverage::Partial }
            }
            _ => Coverage::Unknown,
        }
    }

    /// Makes all tokens invalid.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        lock(&self.0).values_mut().for_each(|grant| grant.expires = now);
    }

    /// All tokens ever given out.
    pub(crate) fn issued(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }
}

fn unauthorized(challenge: &str) -> Response {
    Response::error(401, "UNAUTHORIZED", "authentication required")
        .with_header("WWW-Authenticate", challenge)
}

fn credential<'a>(request: &'a Request, scheme: &str) -> Option<&'a str> {
    let (given, credential) = request.authorization()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| credential.trim())
}

/// `repository:NAME:ACTION,ACTION`
fn parse_scope(scope: &str) -> Option<(&str, &str)> {
    scope.strip_prefix("repository:")?.rsplit_once(':')
}

/// The needs in the form of a scope, one part per repository.
fn scope_of(needs: &[Need]) -> String {
    let mut actions = BTreeMap::<&str, Vec<&str>>::new();
    for need in needs {
        actions.entry(&need.repository).or_default().push(need.action);
    }
    let parts = actions
        .into_iter()
        .map(|(repository, actions)| format!("repository:{repository}:{}", actions.join(",")));
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_base64() {
        for (user, password, expected) in [
            ("", "", "Og=="),
            ("a", "", "YTo="),
            ("a", "b", "YTpi"),
            ("Aladdin", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("ü", "?~", "w7w6P34="),
        ] {
            assert_eq!(basic_credentials(user, password), expected);
        }
    }

    #[test]
    fn scopes_name_each_repository_once() {
        let need = |repository: &str, action| Need { repository: repository.to_owned(), action };
        let needs = [need("b", "pull"), need("b", "push"), need("a", "pull")];
        assert_eq!(scope_of(&needs), "repository:a:pull repository:b:pull,push");
        assert_eq!(parse_scope("repository:a/b:pull,push"), Some(("a/b", "pull,push")));
        assert_eq!(parse_scope("repository:host:5000/a:pull"), Some(("host:5000/a", "pull")));
        assert_eq!(parse_scope("registry:catalog:*"), None);
    }
}
