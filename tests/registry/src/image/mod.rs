//! Images to put into a registry: real ones, that containerd unpacks, and the same ones every time,
//! so that a test can name their digests.

mod large;
mod push;
mod small;
mod tar;

use std::io::{self, Write};

use civ_oci::{Descriptor, Digest};

pub use large::LargeImage;
pub use small::{SmallImage, SmallIndex};

use crate::Registry;

/// The type of layers here: an uncompressed tar archive.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image or index with everything that it points to.
pub trait Fixture {
    /// The blobs.
    fn blobs(&self) -> Vec<Blob>;

    /// The manifests, each after those that it points to: the last is the image.
    fn manifests(&self) -> Vec<FixtureManifest>;

    /// The descriptor of the image.
    fn descriptor(&self) -> Descriptor {
        match self.manifests().pop() {
            Some(top) => Descriptor::of(top.media_type, &top.bytes),
            None => Descriptor::of("", b""),
        }
    }

    /// The digest of the image.
    fn digest(&self) -> Digest {
        self.descriptor().digest
    }

    /// Puts everything directly into the embedded registry and tags the image.
    fn seed_into(&self, registry: &Registry, repository: &str, tag: &str) -> Digest {
        for blob in self.blobs() {
            registry.put_blob(repository, blob.into_bytes());
        }
        for manifest in self.manifests() {
            registry.put_manifest(repository, None, manifest.media_type, manifest.bytes);
        }
        let digest = self.digest();
        registry.tag(repository, tag, &digest);
        digest
    }

    /// Uploads everything to the registry at `address` (`host:port`) by plain HTTP, and tags the
    /// image.
    fn push(&self, address: &str, repository: &str, tag: &str) -> io::Result<Digest> {
        for blob in self.blobs() {
            push::blob(address, repository, &blob)?;
        }
        let manifests = self.manifests();
        let count = manifests.len();
        for (n, manifest) in manifests.into_iter().enumerate() {
            let digest = Digest::sha256(&manifest.bytes).to_string();
            let reference = if n + 1 == count { tag } else { &digest };
            push::manifest(address, repository, reference, &manifest)?;
        }
        Ok(self.digest())
    }
}

/// A manifest or index of a fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureManifest {
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A blob of a fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob(Content);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Bytes(Vec<u8>),
    Random(large::RandomLayer),
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Content::Bytes(bytes))
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        match &self.0 {
            Content::Bytes(bytes) => Digest::sha256(bytes),
            Content::Random(layer) => layer.digest().clone(),
        }
    }

    /// The number of its bytes.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Random(layer) => layer.size(),
        }
    }

    /// Writes its bytes, without having them all in memory.
    pub fn write_to(&self, sink: &mut dyn Write) -> io::Result<()> {
        match &self.0 {
            Content::Bytes(bytes) => sink.write_all(bytes),
            Content::Random(layer) => layer.write_to(sink),
        }
    }

    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.0 {
            Content::Bytes(bytes) => bytes,
            Content::Random(layer) => layer.to_bytes(),
        }
    }
}
