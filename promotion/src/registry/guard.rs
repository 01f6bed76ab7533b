//! Where a registry may send civ: the gate's rules ([`civ_registry::guard`]), applied to this
//! client's redirects, realms and upload locations, and to the addresses that names lead to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use civ_registry::{Endpoint, guard};
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
    if !guard::permits_url(registry, to.scheme(), &authority(to)) {
        return Some("it is not https");
    }
    let host = to.host_str().unwrap_or_default();
    // Where a name leads is checked when it is resolved.
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let stays_here = address.is_some_and(|address| !guard::permits_address(address));
    (stays_here && !is_registry(registry, to))
        .then_some("it is an address of this machine or of its cloud")
}

fn place(url: &Url) -> String {
    let authority = civ_oci::text::one_line(&authority(url), 100);
    format!("{}://{authority}", url.scheme())
}

/// Resolves the names of redirect targets, leaving out addresses that only this machine can mean.
#[derive(Debug)]
struct ElsewhereOnly;

impl Resolve for ElsewhereOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let elsewhere: Vec<SocketAddr> =
                found.filter(|address| guard::permits_address(address.ip())).collect();
            if elsewhere.is_empty() {
                return Err(Box::from("the name leads to no address outside this machine"));
            }
            Ok(Box::new(elsewhere.into_iter()) as Addrs)
        })
    }
}

/// The resolver for places that a registry names.
pub(super) fn elsewhere_only() -> Arc<impl Resolve> {
    Arc::new(ElsewhereOnly)
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
        let error = ElsewhereOnly.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.to_string().contains("outside this machine"), "{error}");
    }
}
