//! Registries in names of images: where they end, and their one spelling.

use std::net::{IpAddr, Ipv6Addr};

use super::{DOCKER_HUB, ReferenceError};

/// Docker Hub's other names, which are normalised away: an older one, and its registry's address.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
const HTTPS_PORT: &str = "443";

/// Splits a repository's name into host and path, before either is checked or normalised.
///
/// Docker's rule for the first component: it is a host if it could not be a path component of
/// Docker Hub, that is with a `.` or `:`, as `localhost`, or in upper case.
pub fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if reads_as_host(first) || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DOCKER_HUB, name),
    }
}

/// Is `component` a registry wherever it stands first in a name?
pub fn reads_as_host(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':'])
}

/// Normalises a host with an optional port.
pub(super) fn normalise(host: &str) -> Result<String, ReferenceError> {
    let host = host.to_ascii_lowercase();
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(ReferenceError::BadHost)?;
        let address: Ipv6Addr = address.parse().map_err(|_| ReferenceError::BadHost)?;
        let port = match port {
            "" => None,
            _ => Some(port.strip_prefix(':').ok_or(ReferenceError::BadHost)?),
        };
        (format!("[{address}]"), port)
    } else {
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host.as_str(), None),
        };
        if !name.split('.').all(is_host_label) {
            return Err(ReferenceError::BadHost);
        }
        (name.to_owned(), port)
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Err(ReferenceError::BadPort);
    }
    match port {
        None | Some(HTTPS_PORT) if DOCKER_HUB_ALIASES.contains(&name.as_str()) => {
            Ok(DOCKER_HUB.to_owned())
        }
        // A single label without a port would be a part of Docker Hub's path.
        Some(HTTPS_PORT) if reads_as_host(&name) => Ok(name),
        Some(port) => Ok(format!("{name}:{port}")),
        None => Ok(name),
    }
}

/// Is `host`, without a port, an address or the name of this machine's loopback interface?
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// One spelling per port: `0443` and `443` must not be two registries.
fn is_port(port: &str) -> bool {
    !port.starts_with('0')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}
