//! Where a repository's registry is.

use std::fmt;
use std::time::Duration;

use civ_oci::reference::{DOCKER_HUB, is_loopback};
use civ_oci::{Digest, Repository, Selector};

use crate::probe;

/// The address of Docker Hub's registry, which is not its name.
const DOCKER_HUB_REGISTRY: &str = "registry-1.docker.io";

/// A registry's base address: `https`, except on loopback, where containerd's rule holds
/// (`core/remotes/docker/config/hosts.go`):
///
/// | port | scheme |
/// |---|---|
/// | none, 443 | `https` |
/// | 80 | `http` |
/// | any other | `https`, or `http` if that is what the server speaks ([`settled`](Self::settled)) |
///
/// Where containerd does not check the certificates of loopback servers, they are checked here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// `https` until the server was asked.
    Ambiguous,
}

impl Endpoint {
    /// The registry that holds `repository`.
    pub fn of(repository: &Repository) -> Self {
        let host = repository.host();
        let authority = if host == DOCKER_HUB { DOCKER_HUB_REGISTRY } else { host };
        let scheme = match split_port(authority) {
            (host, _) if !is_loopback(host) => Scheme::Https,
            (_, None | Some("443")) => Scheme::Https,
            (_, Some("80")) => Scheme::Http,
            (_, Some(_)) => Scheme::Ambiguous,
        };
        Self { scheme, authority: authority.to_owned() }
    }

    /// A server that is no registry, such as KMS, at `authority`, a host and perhaps a port: on
    /// loopback, where only stand-ins for it are, over `http` unless the port is 443.
    pub fn at(authority: &str) -> Self {
        let (host, port) = split_port(authority);
        let is_plain = is_loopback(host) && port != Some("443");
        let scheme = if is_plain { Scheme::Http } else { Scheme::Https };
        Self { scheme, authority: authority.to_owned() }
    }

    /// The same with its scheme decided, for which a server on loopback is asked where the port does
    /// not say. That takes a connection, and at most `within`; nothing is sent to other servers.
    #[must_use]
    pub fn settled(self, within: Duration) -> Self {
        let scheme = match self.scheme {
            Scheme::Ambiguous if probe::speaks_plain_http(&self.authority, within) => Scheme::Http,
            Scheme::Ambiguous | Scheme::Https => Scheme::Https,
            Scheme::Http => Scheme::Http,
        };
        Self { scheme, ..self }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        match self.scheme {
            Scheme::Http => "http",
            Scheme::Https | Scheme::Ambiguous => "https",
        }
    }

    /// Host and, if it is not the scheme's own, port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Is this registry on this machine?
    pub fn is_loopback(&self) -> bool {
        is_loopback(split_port(&self.authority).0)
    }

    /// Is this registry on this machine, and spoken to without TLS?
    pub fn is_plain_loopback(&self) -> bool {
        self.scheme == Scheme::Http
    }

    /// The address of a manifest or index.
    pub fn manifest_url(&self, repository: &Repository, selector: &Selector) -> String {
        format!("{self}/v2/{}/manifests/{selector}", repository.path())
    }

    /// The address of a blob.
    pub fn blob_url(&self, repository: &Repository, digest: &Digest) -> String {
        format!("{self}/v2/{}/blobs/{digest}", repository.path())
    }

    /// The address of the list of manifests whose subject is `digest`.
    pub fn referrers_url(&self, repository: &Repository, digest: &Digest) -> String {
        format!("{self}/v2/{}/referrers/{digest}", repository.path())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority)
    }
}

/// Host and port of an authority; an IPv6 address keeps its brackets.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_loopback_says_how_it_is_spoken_to_as_containerd_reads_it() {
        use Scheme::{Ambiguous, Http, Https};
        for (repository, scheme, base) in [
            ("ghcr.io/a", Https, "https://ghcr.io"),
            ("busybox", Https, "https://registry-1.docker.io"),
            ("r.example:5000/a", Https, "https://r.example:5000"),
            ("r.example:80/a", Https, "https://r.example:80"),
            ("localhost/a", Https, "https://localhost"),
            ("localhost:443/a", Https, "https://localhost"),
            ("localhost:80/a", Http, "http://localhost:80"),
            ("localhost:5000/a", Ambiguous, "https://localhost:5000"),
            ("127.0.0.1:5000/a", Ambiguous, "https://127.0.0.1:5000"),
            ("127.8.9.1/a", Https, "https://127.8.9.1"),
            ("[::1]:5000/a", Ambiguous, "https://[::1]:5000"),
            ("[::1]:80/a", Http, "http://[::1]:80"),
            ("[::1]/a", Https, "https://[::1]"),
            ("10.0.0.1:5000/a", Https, "https://10.0.0.1:5000"),
            ("localhost.evil.example:80/a", Https, "https://localhost.evil.example:80"),
            ("127.0.0.1.evil.example:5000/a", Https, "https://127.0.0.1.evil.example:5000"),
            ("[fd00:ec2::254]:80/a", Https, "https://[fd00:ec2::254]:80"),
        ] {
            let endpoint = Endpoint::of(&repository.parse().unwrap());
            assert_eq!((endpoint.scheme, endpoint.to_string().as_str()), (scheme, base));
        }
    }

    #[test]
    fn a_stand_in_for_kms_is_spoken_to_without_tls() {
        for (authority, base) in [
            ("kms.eu-west-1.amazonaws.com", "https://kms.eu-west-1.amazonaws.com"),
            ("localhost:5000", "http://localhost:5000"),
            ("localhost:443", "https://localhost:443"),
        ] {
            assert_eq!(Endpoint::at(authority).to_string(), base);
        }
    }
}
