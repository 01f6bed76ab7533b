//! The one thing a verdict can be about.

use std::fmt;

use crate::{Digest, Repository};

/// A repository and a digest. It has no tag, so "verified the tag, pulled the digest" cannot be
/// written down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageId {
    /// Where the image was asked for, normalised.
    pub repository: Repository,
    /// The top descriptor's digest: of an index, or of a manifest.
    pub digest: Digest,
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}
