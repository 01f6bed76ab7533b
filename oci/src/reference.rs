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
use std::str::FromStr;

pub use self::host::{is_loopback, reads_as_host, split_host};
use crate::{Digest, DigestError, ImageId};

mod host;

/// The name under which Docker Hub is normalised.
pub const DOCKER_HUB: &str = "docker.io";
/// What cosign calls Docker Hub.
const DOCKER_HUB_SIGNING_NAME: &str = "index.docker.io";
/// The path that Docker Hub's names of one component belong to.
pub const OFFICIAL: &str = "library";
/// `distribution/reference`: `RepositoryNameTotalLengthMax`, which is about the path alone since 0.6.0
/// (which containerd 2.1 uses).
const PATH_MAX: usize = 255;
const TAG_MAX: usize = 128;

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
        let host = host::normalise(host)?;
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
        if path.len() > PATH_MAX {
            return Err(ReferenceError::TooLong { limit: PATH_MAX });
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
    /// The path is too long.
    #[error("not an image reference: the path is longer than {limit} bytes")]
    TooLong {
        /// The longest path allowed, in bytes.
        limit: usize,
    },
}

#[cfg(test)]
mod tests;
