//! Where a registry may send civ: the gate's rules ([`civ_registry::guard`]), applied to this
//! client's redirects, realms and upload locations, and to the addresses that names lead to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::text::one_line;
use civ_registry::{Endpoint, Proxy, ProxyError, ProxyProtocol, guard};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::RegistryError;

/// Checks a place that the registry at `registry` names.
pub(super) fn check(
    registry: &Endpoint,
    to: &Url,
    what: &'static str,
) -> Result<(), RegistryError> {
    match objection(registry, to) {
        None => Ok(()),
        Some(why) => Err(RegistryError::WrongPlace { what, to: place(to), why }),
    }
}

/// Checks an upload location, which has to stay at the registry: the upload carries credentials.
pub(super) fn check_upload(registry: &Endpoint, to: &Url) -> Result<(), RegistryError> {
    let why =
        if is_registry(registry, to) { objection(registry, to) } else { Some("another host") };
    match why {
        None => Ok(()),
        Some(why) => Err(RegistryError::WrongPlace { what: "Location", to: place(to), why }),
    }
}

/// Whether `to` is the registry itself: scheme, host and port.
pub(super) fn is_registry(registry: &Endpoint, to: &Url) -> bool {
    Url::parse(&registry.to_string()).is_ok_and(|registry| registry.origin() == to.origin())
}

/// Host and port as they stand in `url`.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn objection(registry: &Endpoint, to: &Url) -> Option<&'static str> {
    if !to.username().is_empty() || to.password().is_some() {
        return Some("it has a user in it");
    }
    if guard::permits_url(registry, to.scheme(), &authority(to)) {
        return None;
    }
    // Where a name leads is checked when it is resolved.
    Some(match to.scheme() {
        "https" => "it is an address of this machine or of its cloud",
        _ => "it is not https",
    })
}

fn place(url: &Url) -> String {
    let authority = one_line(&authority(url), 100);
    format!("{}://{authority}", url.scheme())
}

/// Resolves the names of redirect targets, leaving out addresses that only this machine can mean.
/// The proxies that the user chose may be anywhere.
#[derive(Debug)]
struct ElsewhereOnly {
    proxies: Proxies,
}

impl Resolve for ElsewhereOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.has(name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let elsewhere: Vec<SocketAddr> =
                found.filter(|found| is_proxy || guard::permits_address(found.ip())).collect();
            if elsewhere.is_empty() {
                return Err(Box::from(LeadsHere { host: one_line(name.as_str(), 100) }));
            }
            Ok(Box::new(elsewhere.into_iter()) as Addrs)
        })
    }
}

/// A name without an address outside this machine.
#[derive(Debug, thiserror::Error)]
#[error("{host} leads to no address outside this machine")]
struct LeadsHere {
    host: String,
}

/// The name that was refused for where it leads, if that is why a connection could not be made.
pub(super) fn leads_here(error: &reqwest::Error) -> Option<String> {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(LeadsHere { host }) = error.downcast_ref() {
            return Some(host.clone());
        }
        next = error.source();
    }
    None
}

/// The resolver for places that a registry names.
pub(super) fn elsewhere_only(proxies: Proxies) -> Arc<impl Resolve> {
    Arc::new(ElsewhereOnly { proxies })
}

/// The proxy that the environment asks to go through to `registry`, read as the client here reads it.
///
/// # Errors
/// It is of a kind that neither client can use.
pub(super) fn way_out(registry: &Endpoint) -> Result<Option<Proxy>, ProxyError> {
    let address: Uri = registry.to_string().parse().map_err(|_| ProxyError::InvalidProxyUrl)?;
    let Some(found) = Matcher::from_env().intercept(&address) else { return Ok(None) };
    let protocol = match found.uri().scheme_str() {
        Some("http") => ProxyProtocol::Http,
        Some("https") => ProxyProtocol::Https,
        _ => return Err(ProxyError::InvalidProxyUrl),
    };
    let mut proxy = Proxy::builder(protocol).host(found.uri().host().unwrap_or_default());
    if let Some(port) = found.uri().port_u16() {
        proxy = proxy.port(port);
    }
    let credentials: Option<(String, String)> = found.basic_auth().and_then(credentials_in);
    if let Some((user, password)) = credentials {
        proxy = proxy.username(&user).password(&password);
    }
    proxy.build().map(Some)
}

/// The user and password in an `Authorization` header.
fn credentials_in(header: &HeaderValue) -> Option<(String, String)> {
    let encoded = header.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The names of the proxies that the environment asks to go through. A registry may not lead there:
/// what keeps a name from leading to this machine does not hold for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies(BTreeSet<String>);

impl Proxies {
    /// Those of the variables that the HTTP client reads.
    pub(super) fn of_environment() -> Self {
        let variables = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"];
        let variables = variables.into_iter().chain(["all_proxy"]);
        Self::of(variables.filter_map(|name| std::env::var(name).ok()))
    }

    fn of(addresses: impl Iterator<Item = String>) -> Self {
        let host = |address: String| {
            let address = address.trim();
            let has_scheme = address.contains("://");
            let url = if has_scheme { address.to_owned() } else { format!("http://{address}") };
            Some(Url::parse(&url).ok()?.host_str()?.to_ascii_lowercase())
        };
        Self(addresses.filter_map(host).collect())
    }

    /// Whether `host` is the name of one.
    pub(super) fn has(&self, host: &str) -> bool {
        self.0.contains(&host.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str) -> Endpoint {
        Endpoint::of(&format!("{host}/a").parse().unwrap())
    }

    #[test]
    fn refuses_places_that_only_this_machine_can_mean() {
        for to in [
            "http://blobs.example/x",
            "ftp://blobs.example/x",
            "https://user@blobs.example/",
            "https://user:pw@r.example/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0.0.0.0/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
        ] {
            for registry in ["r.example", "127.0.0.2:5000"] {
                let refused = check(&endpoint(registry), &to.parse().unwrap(), "redirect").is_err();
                assert!(refused, "{registry} -> {to}");
            }
        }
    }

    #[test]
    fn allows_public_places_and_the_registry_itself() {
        for (registry, to) in [
            ("r.example", "https://blobs.example/x?sig=1"),
            ("r.example", "https://r.example:8443/x"),
            ("r.example", "https://203.0.114.1/x"),
            ("r.example", "https://10.0.0.1/x"),
            ("127.0.0.1:80", "http://127.0.0.1:80/token"),
            ("[::1]:80", "http://[::1]/token"),
            ("127.0.0.1:5000", "https://blobs.example/"),
        ] {
            check(&endpoint(registry), &to.parse().unwrap(), "redirect").unwrap();
        }
    }

    #[test]
    fn uploads_stay_at_the_registry() {
        let allows = |to: &str| check_upload(&endpoint("r.example"), &to.parse().unwrap()).is_ok();
        assert!(allows("https://r.example:443/v2/a/blobs/uploads/1"));
        for to in [
            "https://r.example:444/",
            "https://evil.example/",
            "http://r.example/",
            "https://u@r.example/",
        ] {
            assert!(!allows(to), "{to}");
        }
    }

    #[tokio::test]
    async fn names_that_lead_to_this_machine_do_not_resolve() {
        let resolver = ElsewhereOnly { proxies: Proxies::default() };
        let error = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.to_string().starts_with("localhost leads to no address"), "{error}");
    }

    #[tokio::test]
    async fn the_users_own_proxy_may_be_on_this_machine() {
        for address in ["http://localhost:3128", "LocalHost:3128", "socks5://u:p@localhost"] {
            let proxies = Proxies::of([address.to_owned()].into_iter());
            assert!(proxies.has("localhost") && !proxies.has("u"), "{proxies:?}");
            let resolver = ElsewhereOnly { proxies };
            assert!(resolver.resolve("localhost".parse().unwrap()).await.is_ok(), "{address}");
        }
        assert!(Proxies::of([String::new()].into_iter()).0.is_empty());
    }
}
