//! Names of images: `[host[:port]/]path[:tag][@digest]`.
//!
//! The grammar is that of the `distribution/reference` package, which containerd, Docker and the
//! kubelet use, restricted to ASCII and parsed by hand (a regular expression with Unicode classes
//! costs tens of milliseconds at first use). Names are normalised as Docker does: no host means
//! `docker.io`, and `docker.io` paths of one component belong to `library/`. A registry has one
//! spelling: hosts are lower-cased, IPv6 addresses written as RFC 5952 says, and the port that https
//! has anyway is dropped. Whoever writes an image's name must not choose the trust policy's statement
//! by the way of writing it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::{Digest, DigestError, ImageId};

/// The name under which Docker Hub is normalised.
pub const DOCKER_HUB: &str = "docker.io";
/// Docker Hub's other names, which are normalised away: an older one, and its registry's address.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// What cosign calls Docker Hub.
const DOCKER_HUB_SIGNING_NAME: &str = "index.docker.io";
/// The path that Docker Hub's names of one component belong to.
pub const OFFICIAL: &str = "library";
/// `distribution/reference`: `NameTotalLengthMax`.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;
const HTTPS_PORT: &str = "443";

/// A normalised image reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Registry and path.
    pub repository: Repository,
    /// The tag, if one was given. Nothing is filled in when it is absent.
    pub tag: Option<Tag>,
    /// The digest, if one was given.
    pub digest: Option<Digest>,
}

/// A registry and a path in it, such as `docker.io/library/busybox`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    path: String,
}

/// A tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Reference {
    /// The image that this reference names by digest, if it names one.
    pub fn image(&self) -> Option<ImageId> {
        let digest = self.digest.clone()?;
        Some(ImageId { repository: self.repository.clone(), digest })
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; any other belongs to a port or an IPv6 host.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (name, None),
        };
        Ok(Self { repository: name.parse()?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl Repository {
    /// The registry as named: host and, if given, port. Docker Hub is `docker.io`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below the registry, such as `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name that cosign writes into `docker-reference`: as displayed, except that Docker Hub is
    /// `index.docker.io` there.
    pub fn signing_name(&self) -> String {
        let host = if self.host == DOCKER_HUB { DOCKER_HUB_SIGNING_NAME } else { &self.host };
        format!("{host}/{}", self.path)
    }

    /// The image with `digest` in this repository.
    pub fn image(&self, digest: Digest) -> ImageId {
        ImageId { repository: self.clone(), digest }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(name: &str) -> Result<Self, ReferenceError> {
        // Pasted from a browser, or from a tool that takes images from other places, too.
        if name.contains("://") {
            return Err(ReferenceError::Scheme);
        }
        let (host, path) = split_host(name);
        let host = normalise_host(host)?;
        // `Host/a` in lower case would be another name: a part of Docker Hub's path.
        if !reads_as_host(&host) {
            return Err(ReferenceError::BadHost);
        }
        let path = if host == DOCKER_HUB && !path.contains('/') {
            format!("{OFFICIAL}/{path}")
        } else {
            path.to_owned()
        };
        for component in path.split('/') {
            check_path_component(component)?;
        }
        if host.len() + 1 + path.len() > NAME_MAX {
            return Err(ReferenceError::TooLong { limit: NAME_MAX });
        }
        Ok(Self { host, path })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl Tag {
    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// cosign's signature tag for `digest`, `sha256-<hex>.sig` (what `cosign triangulate` prints).
    /// There is none for SHA-512: it would be longer than a tag may be.
    pub fn of_signatures(digest: &Digest) -> Option<Self> {
        format!("{}.sig", digest.as_tag_stem()).parse().ok()
    }

    /// The tag under which the referrers of `digest` are listed in a registry without the referrers
    /// API (distribution specification, "Referrers Tag Schema"): the algorithm, and at most 64 of
    /// the digits.
    pub fn of_referrers(digest: &Digest) -> Self {
        let digits: String = digest.hex().chars().take(64).collect();
        Self(format!("{}-{digits}", digest.algorithm()))
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let starts_well =
            text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let goes_on_well = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if starts_well && goes_on_well && text.len() <= TAG_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::BadTag)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
fn normalise_host(host: &str) -> Result<String, ReferenceError> {
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
        // Loopback is spoken to over http unless this port says otherwise.
        Some(HTTPS_PORT) if !is_loopback(&name) => Ok(name),
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

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn check_path_component(component: &str) -> Result<(), ReferenceError> {
    if component.is_empty() {
        return Err(ReferenceError::EmptyPath);
    }
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| is_word(byte)).count();
        let (_, after) = rest.split_at_checked(word).unwrap_or_default();
        let separator = after.iter().take_while(|byte| !is_word(byte)).count();
        let (separator, after) = after.split_at_checked(separator).unwrap_or_default();
        let separates = match separator {
            b"." | b"_" | b"__" => true,
            dashes => !dashes.is_empty() && dashes.iter().all(|byte| *byte == b'-'),
        };
        match (word, separator.is_empty(), separates, after.is_empty()) {
            (1.., true, _, _) => return Ok(()),
            (1.., false, true, false) => rest = after,
            _ => return Err(ReferenceError::BadPath),
        }
    }
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// What follows the `@` is not a digest.
    #[error(transparent)]
    BadDigest(#[from] DigestError),
    /// The registry is neither a DNS name nor a bracketed IPv6 address.
    #[error("not an image reference: the registry is not a host name")]
    BadHost,
    /// A path component breaks the grammar.
    #[error(
        "not an image reference: a repository is lower-case letters and digits, \
         separated by '.', '_', '__' or dashes"
    )]
    BadPath,
    /// The port is not a number from 1 to 65535, or has a leading zero.
    #[error("not an image reference: the port is not a number from 1 to 65535")]
    BadPort,
    /// The tag breaks the grammar.
    #[error(
        "not an image reference: a tag is at most 128 of A-Z a-z 0-9 _ . - and starts with neither '.' nor '-'"
    )]
    BadTag,
    /// An empty path or path component.
    #[error("not an image reference: a part of the repository is empty")]
    EmptyPath,
    /// It begins as a URL does.
    #[error("not an image reference: it begins with a scheme; leave out what ends with ://")]
    Scheme,
    /// Host and path together are too long.
    #[error("not an image reference: the repository is longer than {limit} bytes")]
    TooLong {
        /// The longest allowed, in bytes.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn normalises_as_docker_does() {
        for (text, normal) in [
            ("busybox", "docker.io/library/busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("docker.io/busybox", "docker.io/library/busybox"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox"),
            ("team/app", "docker.io/team/app"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
            ("127.0.0.1:5055/app:1", "127.0.0.1:5055/app:1"),
            ("[::1]:5000/app", "[::1]:5000/app"),
            ("[fe80::1]/app:x", "[fe80::1]/app:x"),
            ("[0:0:0:0:0:0:0:1]:5000/app", "[::1]:5000/app"),
            ("[FE80::0001]/app", "[fe80::1]/app"),
            ("ghcr.io:443/org/app", "ghcr.io/org/app"),
            ("localhost:443/app", "localhost:443/app"),
            ("[::1]:443/app", "[::1]:443/app"),
            ("registry-1.docker.io/library/busybox", "docker.io/library/busybox"),
            ("index.docker.io:443/busybox", "docker.io/library/busybox"),
            ("GHCR.IO/Org/app", ""),
            ("GHCR.IO/org/app", "ghcr.io/org/app"),
            ("registry/app", "docker.io/registry/app"),
            ("Registry/app", ""),
            ("LOCALHOST/app", "localhost/app"),
            ("ghcr.io/a/b__c/d--e.f:V1_.-", "ghcr.io/a/b__c/d--e.f:V1_.-"),
            ("r.example/a:1@D", "r.example/a:1@D"),
            ("r.example:80/a@D", "r.example:80/a@D"),
        ] {
            let parsed = text.replace('D', D).parse::<Reference>();
            let normal = normal.replace('D', D);
            match parsed {
                Ok(reference) => assert_eq!(reference.to_string(), normal, "{text}"),
                Err(error) => assert_eq!(normal, "", "{text}: {error}"),
            }
        }
    }

    #[test]
    fn a_displayed_reference_parses_to_itself() {
        for text in
            ["busybox", "localhost:5000/a:1", "[::1]:5000/a", "Registry.example/a", "LOCALHOST/a"]
        {
            let once: Reference = text.parse().unwrap();
            assert_eq!(once.to_string().parse(), Ok(once));
        }
    }

    #[test]
    fn refuses_what_is_no_reference() {
        for text in [
            "",
            "/",
            ":",
            "@",
            ":tag",
            "a/",
            "/a",
            "a//b",
            "r.io/",
            "a:",
            "a@",
            "a:b:c",
            "-name",
            "a@sha256:",
            "a@@",
            "r.io:/a",
            "r.io:0/a",
            "r.io:0443/a",
            "r.io:65536/a",
            "r.io:+1/a",
            "r..io/a",
            "r.io./a",
            "-r.io/a",
            "r-.io/a",
            "r_x.io/a",
            "[::1/a",
            "[::1]x/a",
            "[]/a",
            "[1.2.3.4]/a",
            "[::1%eth0]/a",
            "::1/a",
            "a b",
            "a\n",
            "a\0",
            "r.io/a\tb",
            "ä",
            "r.io/ä",
            "аpp",
            "r.io/A",
            "r.io/a._b",
            "r.io/a___b",
            "r.io/.a",
            "r.io/a.",
            "r.io/a-",
            "r.io/-a",
            "r.io/../a",
            "r.io/./a",
            "r.io/a:.x",
            "r.io/a:-x",
            "https://r.io/a",
            "user@r.io/a",
            "r.io/a?x",
            "r.io/a#x",
            "r.io/a%2f",
            "r.io\\a/b",
            "library/",
            "docker.io/",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert_eq!(
            format!("r.io/{}", "a".repeat(251)).parse::<Reference>(),
            Err(ReferenceError::TooLong { limit: 255 })
        );
        assert_eq!(
            format!("r.io/a:{}", "t".repeat(129)).parse::<Reference>(),
            Err(ReferenceError::BadTag)
        );
    }

    #[test]
    fn what_is_pasted_with_a_scheme_is_told_so() {
        for text in
            ["https://ghcr.io/org/app:1", "docker://alpine", "docker://r.io/a:1@D", "oci://a"]
        {
            let parsed = text.replace('D', D).parse::<Reference>();
            assert_eq!(parsed, Err(ReferenceError::Scheme), "{text}");
        }
    }

    #[test]
    fn a_port_is_not_a_tag() {
        let reference: Reference = "r.example:5000/a".parse().unwrap();
        assert_eq!((reference.repository.host(), reference.tag), ("r.example:5000", None));
    }

    #[test]
    fn signing_name_of_docker_hub_is_the_one_cosign_writes() {
        let hub: Repository = "busybox".parse().unwrap();
        assert_eq!(hub.signing_name(), "index.docker.io/library/busybox");
        let other: Repository = "r.example/a".parse().unwrap();
        assert_eq!(other.signing_name(), "r.example/a");
    }

    #[test]
    fn signature_tag_is_the_one_cosign_triangulates() {
        assert_eq!(
            Tag::of_signatures(&D.parse().unwrap()).unwrap().as_str(),
            format!("{}.sig", D.replace(':', "-"))
        );
        assert_eq!(Tag::of_signatures(&Digest::of(crate::Algorithm::Sha512, b"")), None);
    }

    #[test]
    fn referrers_tag_is_the_specifications() {
        let tag = Tag::of_referrers(&D.parse().unwrap());
        assert_eq!(tag.as_str(), D.replace(':', "-"));
        let long = Digest::of(crate::Algorithm::Sha512, b"");
        let tag = Tag::of_referrers(&long);
        assert!(long.hex().starts_with(tag.as_str().strip_prefix("sha512-").unwrap()));
        assert_eq!(tag.as_str().len(), "sha512-".len() + 64);
        assert_eq!(tag.as_str().parse(), Ok(tag));
    }

    proptest! {
        #[test]
        fn whatever_parses_displays_as_what_it_is(text in ".{0,40}|[a-zA-Z0-9._:/@\\[\\]-]{0,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let shown = reference.to_string();
                prop_assert!(shown.is_ascii() && !shown.contains(char::is_whitespace));
                prop_assert_eq!(shown.parse(), Ok(reference));
            }
        }
    }
}
