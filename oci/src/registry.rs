//! What a verifier may ask of a registry. Verification is written against this trait, so that the
//! libraries that decide hold no socket and can be tested and fuzzed alone; `civ-registry` is the
//! implementation that talks to one.

use std::fmt;

use crate::{Digest, Document, DocumentError, Repository, Tag};

/// The most redirects that are followed in answer to one question. Blobs of cloud registries are one
/// away, and some registries lead to another first.
pub const REDIRECTS_MAX: u32 = 3;

/// Reads of a registry: three questions, no more.
pub trait RegistryRead {
    /// Why a read failed.
    type Error: std::error::Error + 'static;

    /// Did a read fail because the time for it was up?
    fn is_deadline(_error: &Self::Error) -> bool {
        false
    }

    /// Did a read fail because it would have taken more requests than may be made? Then nothing is
    /// known to be wrong with the registry, and much is stored in it.
    fn is_out_of_requests(_error: &Self::Error) -> bool {
        false
    }

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

    /// A page of the list of manifests whose `subject` is this digest: the first, or the one that
    /// `page` leads to. `None` where the registry does not offer such lists
    /// ([distribution specification, "Listing Referrers"](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers)).
    fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        page: Option<&NextPage>,
    ) -> Result<Option<ReferrersPage>, Self::Error>;
}

/// A page of a list of referrers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrersPage {
    /// An image index whose descriptors are the referrers: whatever the registry says they are.
    pub bytes: Vec<u8>,
    /// Where the list goes on, if it does.
    pub next: Option<NextPage>,
}

/// Where a list goes on: an address that means something to the client that gave it, and to no
/// other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextPage(String);

impl NextPage {
    /// The page at this address.
    pub fn new(address: String) -> Self {
        Self(address)
    }

    /// The address.
    pub fn address(&self) -> &str {
        &self.0
    }
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
