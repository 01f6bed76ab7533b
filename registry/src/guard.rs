//! Where a registry may send its clients.
//!
//! Token servers, redirects and upload locations are addresses that the registry chooses. Followed
//! blindly, they let it make requests from inside the node's network: to the instance metadata
//! service, or to whatever listens on loopback. Private networks stay reachable, because blob
//! storage behind a VPC endpoint is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Endpoint;
use crate::endpoint::split_port;

/// May a registry at `registry` send its clients to `scheme://authority`?
///
/// `https` leads anywhere that [`permits_address`] permits; `http` only back to a registry that is
/// itself spoken to over `http` on loopback. Where a name leads is for whoever resolves it to see.
pub fn permits_url(registry: &Endpoint, scheme: &str, authority: &str) -> bool {
    match scheme {
        "https" => {
            !authority.contains('@')
                && (authority == registry.authority() || permits_host(split_port(authority).0))
        }
        "http" => {
            let without_default = |authority: &'_ str| authority.trim_end_matches(":80").to_owned();
            registry.is_plain_loopback()
                && without_default(registry.authority()) == without_default(authority)
        }
        _ => false,
    }
}

/// May a registry send its clients to `host`, as far as it is an address? What ends in a number and is
/// none as we read it may be one as others do (`127.1`, `0x7f000001`).
fn permits_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return permits_address(address);
    }
    let last = bare.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let digits = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match digits {
        Some(digits) => !digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// May a registry send its clients to this address? Never to loopback, link-local addresses (the
/// metadata service is one), multicast or addresses of no host.
pub fn permits_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => permits_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped().or_else(|| nat64(address)) {
            Some(embedded) => permits_v4(embedded),
            None => permits_v6(address),
        },
    }
}

fn permits_v4(address: Ipv4Addr) -> bool {
    !(address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets().starts_with(&[0]))
}

fn permits_v6(address: Ipv6Addr) -> bool {
    /// The metadata service of EC2, which is not link-local.
    const EC2_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address == EC2_METADATA)
}

/// `64:ff9b::/96`, through which an IPv6-only network reaches IPv4 (RFC 6052).
fn nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

/// Do credentials for the registry at `registry` belong to a token server at `authority` too? If it
/// is the registry's host, at whatever port, or one beside it: `auth.docker.io` for
/// `registry-1.docker.io`.
pub fn shares_credentials(registry: &Endpoint, authority: &str) -> bool {
    let ((registry, _), (host, _)) = (split_port(registry.authority()), split_port(authority));
    if registry == host {
        return true;
    }
    let Some((_, parent)) = registry.split_once('.') else { return false };
    let is_domain =
        parent.contains('.') && !registry.starts_with('[') && registry.parse::<Ipv4Addr>().is_err();
    is_domain
        && (host == parent || host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(repository: &str) -> Endpoint {
        Endpoint::of(&repository.parse().unwrap())
    }

    #[test]
    fn a_registry_cannot_send_its_clients_into_the_machine() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(!permits_address(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "192.168.1.1", "1.1.1.1", "fd00::1", "2600:1f18::1"] {
            assert!(permits_address(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn tls_is_never_given_up_on_the_way() {
        let remote = endpoint("r.example/a");
        let local = endpoint("127.0.0.1:80/a");
        assert!(permits_url(&remote, "https", "storage.example"));
        assert!(!permits_url(&remote, "http", "r.example"));
        assert!(!permits_url(&remote, "http", "127.0.0.1:5000"));
        assert!(!permits_url(&remote, "file", ""));
        assert!(!permits_url(&remote, "https", "user@r.example"));
        assert!(permits_url(&local, "http", "127.0.0.1:80"));
        assert!(permits_url(&local, "http", "127.0.0.1"));
        assert!(!permits_url(&local, "http", "127.0.0.1:81"));
        // Where a port may be either, only once it is known to be spoken to without TLS.
        assert!(!permits_url(&endpoint("127.0.0.1:5000/a"), "http", "127.0.0.1:5000"));
        assert!(!permits_url(&local, "http", "169.254.169.254"));
    }

    /// Through a proxy nobody here sees where a name leads, nor whether it is one.
    #[test]
    fn an_address_within_the_machine_is_no_target_however_it_is_written() {
        let local = endpoint("127.0.0.1:443/a");
        for (authority, permitted) in [
            ("169.254.169.254", false),
            ("127.0.0.1:22", false),
            ("[::1]:5000", false),
            ("[::ffff:127.0.0.1]", false),
            ("2130706433", false),
            ("127.1", false),
            ("0x7f.0.0.1", false),
            ("0x7f000001", false),
            ("127.0.0.1.", false),
            ("10.0.0.1:5000", true),
            ("[fd00::1]", true),
            ("r2.example", true),
            ("0x7f.example", true),
        ] {
            assert_eq!(
                permits_url(&endpoint("r.example/a"), "https", authority),
                permitted,
                "{authority}"
            );
        }
        assert!(permits_url(&local, "https", local.authority()));
        assert!(!permits_url(&local, "https", "127.0.0.1:22"));
    }

    #[test]
    fn credentials_stay_with_the_registry_and_its_neighbours() {
        for (registry, authority, shared) in [
            ("ghcr.io/a", "ghcr.io", true),
            ("ghcr.io/a", "evil.io", false),
            ("busybox", "auth.docker.io", true),
            ("busybox", "auth.evildocker.io", false),
            ("registry.gitlab.com/a", "gitlab.com", true),
            ("r.example:5000/a", "r.example:5000", true),
            ("r.example:5000/a", "r.example:5001", true),
            ("r.corp.example:5000/a", "auth.corp.example", true),
            ("r.corp.example:5000/a", "auth.corp.example.evil", false),
            ("127.0.0.1:5000/a", "127.0.0.1:5000", true),
            ("10.0.0.1/a", "9.0.0.1", false),
            ("[::1]:5000/a", "[::1]:5001", true),
            ("[::1]:5000/a", "[::2]:5000", false),
        ] {
            assert_eq!(shares_credentials(&endpoint(registry), authority), shared, "{authority}");
        }
    }
}
