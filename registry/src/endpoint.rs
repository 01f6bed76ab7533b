//! Where a repository's registry is.

use std::fmt;

use civ_oci::reference::{DOCKER_HUB, is_loopback};
use civ_oci::{Digest, Repository, Selector};

/// The address of Docker Hub's registry, which is not its name.
const DOCKER_HUB_REGISTRY: &str = "registry-1.docker.io";

/// A registry's base address: `https`, except that loopback addresses are spoken to over `http`, as
/// containerd does where they offer no TLS (`core/remotes/docker/config/hosts.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    authority: String,
}

impl Endpoint {
    /// The registry that holds `repository`.
    pub fn of(repository: &Repository) -> Self {
        match repository.host() {
            DOCKER_HUB => Self::at(DOCKER_HUB_REGISTRY),
            host => Self::at(host),
        }
    }

    /// The server at `authority`, which is a host and perhaps a port.
    pub fn at(authority: &str) -> Self {
        let (host, port) = split_port(authority);
        let scheme = if is_loopback(host) && port != Some("443") { "http" } else { "https" };
        Self { scheme, authority: authority.to_owned() }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.scheme
    }

    /// Host and, if it is not the scheme's own, port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Is this registry on this machine, and spoken to without TLS?
    pub fn is_plain_loopback(&self) -> bool {
        self.scheme == "http"
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
        write!(f, "{}://{}", self.scheme, self.authority)
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
    fn only_loopback_is_spoken_to_without_tls() {
        for (repository, base) in [
            ("ghcr.io/a", "https://ghcr.io"),
            ("busybox", "https://registry-1.docker.io"),
            ("r.example:5000/a", "https://r.example:5000"),
            ("localhost/a", "http://localhost"),
            ("localhost:5000/a", "http://localhost:5000"),
            ("localhost:443/a", "https://localhost:443"),
            ("127.0.0.1:5000/a", "http://127.0.0.1:5000"),
            ("127.8.9.1/a", "http://127.8.9.1"),
            ("[::1]:5000/a", "http://[::1]:5000"),
            ("[::1]/a", "http://[::1]"),
            ("10.0.0.1:5000/a", "https://10.0.0.1:5000"),
            ("localhost.evil.example/a", "https://localhost.evil.example"),
            ("127.0.0.1.evil.example/a", "https://127.0.0.1.evil.example"),
            ("[fd00:ec2::254]/a", "https://[fd00:ec2::254]"),
        ] {
            assert_eq!(Endpoint::of(&repository.parse().unwrap()).to_string(), base);
        }
    }
}
