//! What a verifier may ask of a registry. Verification is written against this trait, so that the
//! libraries that decide hold no socket and can be tested and fuzzed alone; `civ-registry` is the
//! implementation that talks to one.

use std::fmt;

use crate::{Digest, Document, DocumentError, Repository, Tag};

/// Reads of a registry: two questions, no more.
pub trait RegistryRead {
    /// Why a read failed.
    type Error: std::error::Error + 'static;

    /// The manifest or index that `selector` names, or `None` where the registry says that there is
    /// none. Selected by digest, the bytes have that digest.
    fn manifest(
        &self,
        repository: &Repository,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, Self::Error>;

    /// The blob with `digest`, whose bytes have that digest, at most `limit` bytes long.
    fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, Self::Error>;
}

/// How a manifest is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By digest: the answer is checked.
    Digest(Digest),
    /// By tag: the answer is whatever the registry says today.
    Tag(Tag),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Tag(tag) => tag.fmt(f),
        }
    }
}

/// A manifest or index as the registry gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// The registry's `Content-Type`: a statement of the registry's, not of the image's author.
    pub media_type: String,
    /// The digest of `bytes`, computed here.
    pub digest: Digest,
    /// The document, at most [`MANIFEST_MAX`](crate::manifest::MANIFEST_MAX) bytes.
    pub bytes: Vec<u8>,
}

impl StoredManifest {
    /// Parses the bytes as what the registry says they are.
    pub fn parse(&self) -> Result<Document, DocumentError> {
        Document::parse(&self.bytes, &self.media_type)
    }
}
