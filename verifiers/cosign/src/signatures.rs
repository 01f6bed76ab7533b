//! Reading a `.sig` image: the place where cosign keeps the signatures of a digest
//! (sigstore/cosign, `specs/SIGNATURE_SPEC.md`).
//!
//! It is an image manifest under the tag `sha256-<hex>.sig`; each layer is a payload, and carries the
//! signature over it as an annotation. Anybody who may push can add layers, so an odd one is passed
//! over and never spoils the others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::{
    Descriptor, Digest, ImageId, RegistryRead, Repository, Selector, StoredManifest, Tag,
    media_type, strict_json,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{Trust, VerifyError};

/// The layer annotation that holds a signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// The most signatures looked at; cosign reads 1,000, and nobody needs that many.
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
        (false, _) => {
            let Stored { signatures, left_out, .. } = stored;
            Ok(SignatureSet { repository: repository.clone(), tag, signatures, left_out })
        }
    }
}

/// What civ reads in a `.sig` manifest. Layers are looked at one by one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntrustedManifest {
    schema_version: u64,
    media_type: Option<String>,
    layers: Vec<serde_json::Value>,
    /// An index has these: a document that could be read as both is neither.
    manifests: Option<IgnoredAny>,
}

/// What a `.sig` manifest holds.
#[derive(Default)]
struct Stored {
    signatures: Vec<UntrustedSignature>,
    left_out: usize,
    /// Layers that should hold a signature and hold something else.
    malformed: usize,
}

fn parse_signatures(stored: &StoredManifest) -> Option<Stored> {
    let declared = media_type::essence(&stored.media_type);
    if ![media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST].contains(&declared) {
        return None;
    }
    let manifest: UntrustedManifest = strict_json::from_slice(&stored.bytes).ok()?;
    let agrees = manifest.media_type.is_none_or(|stated| stated == declared);
    if manifest.schema_version != 2 || !agrees || manifest.manifests.is_some() {
        return None;
    }
    let mut stored = Stored::default();
    for layer in manifest.layers.into_iter().rev() {
        let layer: Option<Descriptor> = serde_json::from_value(layer).ok();
        let is_other = |layer: &Descriptor| !layer.annotations.contains_key(SIGNATURE_ANNOTATION);
        if layer.as_ref().is_some_and(is_other) {
            continue;
        }
        match layer.and_then(parse_signature) {
            Some(_) if stored.signatures.len() == SIGNATURES_MAX => stored.left_out += 1,
            Some(signature) => stored.signatures.push(signature),
            None => stored.malformed += 1,
        }
    }
    Some(stored)
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
