//! The addresses that a registry names: where they lead, and what of them may be said.

/// The address that `location` means in an answer from `base` (RFC 3986, 5.2), where a server sees to
/// dots in it. As Go's client does, spaces are taken for what they mean.
pub(crate) fn resolve(base: &str, location: &str) -> String {
    let location = location.replace(' ', "%20");
    let (scheme, rest) = base.split_once("://").unwrap_or_default();
    let (authority, _) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = base.split(['?', '#']).next().unwrap_or_default();
    let first = location.split(['/', '?', '#']).next().unwrap_or_default();
    match location.as_bytes() {
        _ if first.contains(':') => location,
        [b'/', b'/', ..] => format!("{scheme}:{location}"),
        [b'/', ..] => format!("{scheme}://{authority}{location}"),
        [b'?' | b'#', ..] => format!("{path}{location}"),
        _ => match path.rsplit_once('/') {
            Some((directory, _)) => format!("{directory}/{location}"),
            None => location,
        },
    }
}

/// Host and port of an address.
pub(crate) fn authority_of(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split(['/', '?', '#']).next()
}

/// An address without its query, in which there may be a signature that gives access, and without
/// the user and password before its host.
pub(crate) fn without_secrets(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None if url.is_empty() => "(nowhere)".to_owned(),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_as_from_where_it_came() {
        let base = "https://r.io/v2/a/blobs/x?n=1";
        for (location, target) in [
            ("https://s.io/b?c#d", "https://s.io/b?c#d"),
            ("/b", "https://r.io/b"),
            ("//s.io/b", "https://s.io/b"),
            ("?m=2", "https://r.io/v2/a/blobs/x?m=2"),
            ("y", "https://r.io/v2/a/blobs/y"),
            ("y z?a b", "https://r.io/v2/a/blobs/y%20z?a%20b"),
            ("sha256:0", "sha256:0"),
            ("./sha256:0", "https://r.io/v2/a/blobs/./sha256:0"),
        ] {
            assert_eq!(resolve(base, location), target, "{location}");
        }
    }

    #[test]
    fn what_is_said_of_an_address_gives_no_access() {
        for (url, said) in [
            ("https://u:p@s.io/b?X-Amz-Signature=1", "https://s.io/b"),
            ("https://s.io?X-Amz-Signature=1", "https://s.io"),
            ("?X-Amz-Signature=1", "(nowhere)"),
            ("", "(nowhere)"),
        ] {
            assert_eq!(without_secrets(url), said);
        }
    }
}
