//! Reading a `.sig` image: the place where cosign keeps the signatures of a digest
//! (sigstore/cosign, `specs/SIGNATURE_SPEC.md`).
//!
//! It is an image manifest under the tag `sha256-<hex>.sig`; each layer is a payload, and carries the
//! signature over it as an annotation. Anybody who may push can add layers, so an odd one is passed
//! over and never spoils the others.

use std::collections::VecDeque;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::{
    Descriptor, Digest, ImageId, RegistryRead, Repository, Selector, StoredManifest, Tag,
    media_type, strict_json,
};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{Trust, VerifyError};

/// The layer annotation that holds a signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// The most signatures looked at, from the newest; cosign reads 1,000, and nobody needs that many.
pub const SIGNATURES_MAX: usize = 100;
/// The largest payload read, in bytes. Real ones have a few hundred; each is hashed once for every
/// algorithm of every key.
pub const PAYLOAD_MAX: u64 = 64 << 10;

/// The signatures stored for a digest. None of them is trusted.
#[derive(Clone, Debug)]
pub struct SignatureSet {
    /// The repository that holds them and their payloads.
    pub repository: Repository,
    /// The tag that names them.
    pub tag: Tag,
    /// The signatures, the newest first: signers append.
    pub signatures: Vec<UntrustedSignature>,
    /// How many more there are than civ looks at.
    pub left_out: usize,
}

/// A signature as stored: some bytes, and where to find what they sign.
#[derive(Clone, Debug)]
pub struct UntrustedSignature {
    /// The raw signature.
    pub signature: Vec<u8>,
    /// The payload's digest.
    pub payload_digest: Digest,
    /// The payload's stated length.
    pub payload_size: u64,
    /// The payload, where the manifest holds it inline. It has `payload_digest`.
    pub inline_payload: Option<Vec<u8>>,
}

/// Finds the signatures for `image` where the statement says that they are.
pub fn find_signatures<R: RegistryRead>(
    trust: Trust<'_>,
    image: &ImageId,
    registry: &R,
) -> Result<SignatureSet, VerifyError<R::Error>> {
    let repository = trust.signature_repository(image);
    let tag = Tag::of_signatures(&image.digest)
        .ok_or_else(|| VerifyError::NoSignatureTag { digest: image.digest.clone() })?;
    let manifest = registry
        .manifest(repository, &Selector::Tag(tag.clone()))
        .map_err(VerifyError::Registry)?;
    let unsigned =
        || VerifyError::Unsigned { repository: repository.clone(), digest: image.digest.clone() };
    let manifest = manifest.ok_or_else(unsigned)?;
    let stored = parse_signatures(&manifest).ok_or_else(|| VerifyError::Malformed {
        repository: repository.clone(),
        tag: tag.clone(),
    })?;
    match (stored.signatures.is_empty(), stored.malformed) {
        (true, 0) => Err(unsigned()),
        (true, count) => {
            Err(VerifyError::MalformedSignatures { repository: repository.clone(), tag, count })
        }
        (false, _) => Ok(SignatureSet {
            repository: repository.clone(),
            tag,
            signatures: stored.signatures.into_iter().rev().collect(),
            left_out: stored.left_out,
        }),
    }
}

/// What civ reads in a `.sig` manifest. Layers are looked at one by one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntrustedManifest {
    schema_version: u64,
    media_type: Option<String>,
    layers: Stored,
    /// An index has these: a document that could be read as both is neither.
    manifests: Option<IgnoredAny>,
}

/// The newest signatures of a list of layers. A manifest of some megabytes can list a million odd
/// layers, and must not cost more memory than its own length.
#[derive(Default)]
struct Stored {
    /// The last [`SIGNATURES_MAX`], in the list's order.
    signatures: VecDeque<UntrustedSignature>,
    /// How many came before them.
    left_out: usize,
    /// Layers that should hold a signature and hold something else.
    malformed: usize,
}

impl Stored {
    fn add(&mut self, layer: &RawValue) {
        let Ok(layer) = serde_json::from_str::<Descriptor>(layer.get()) else {
            self.malformed += 1;
            return;
        };
        if !layer.annotations.contains_key(SIGNATURE_ANNOTATION) {
            return;
        }
        let Some(signature) = parse_signature(layer) else {
            self.malformed += 1;
            return;
        };
        if self.signatures.len() == SIGNATURES_MAX {
            self.signatures.pop_front();
            self.left_out += 1;
        }
        self.signatures.push_back(signature);
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Layers)
    }
}

/// Visits the layers of a `.sig` manifest.
struct Layers;

impl<'de> Visitor<'de> for Layers {
    type Value = Stored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of layers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Stored, A::Error> {
        let mut stored = Stored::default();
        while let Some(layer) = seq.next_element::<Box<RawValue>>()? {
            stored.add(&layer);
        }
        Ok(stored)
    }
}

fn parse_signatures(stored: &StoredManifest) -> Option<Stored> {
    let declared = media_type::essence(&stored.media_type);
    if ![media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST].contains(&declared) {
        return None;
    }
    let manifest: UntrustedManifest = strict_json::from_slice(&stored.bytes).ok()?;
    let agrees = manifest.media_type.is_none_or(|stated| stated == declared);
    let is_manifest = manifest.schema_version == 2 && agrees && manifest.manifests.is_none();
    is_manifest.then_some(manifest.layers)
}

fn parse_signature(layer: Descriptor) -> Option<UntrustedSignature> {
    let signature = STANDARD.decode(layer.annotations.get(SIGNATURE_ANNOTATION)?).ok()?;
    let inline_payload = layer
        .data
        .and_then(|data| STANDARD.decode(data).ok())
        .filter(|payload| payload.len() as u64 <= PAYLOAD_MAX)
        .filter(|payload| layer.digest.check(payload).is_ok());
    Some(UntrustedSignature {
        signature,
        payload_digest: layer.digest,
        payload_size: layer.size,
        inline_payload,
    })
}
