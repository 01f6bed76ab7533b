//! Reading an image of signatures: an image manifest in which each layer is a payload and carries the
//! signature over it as an annotation (sigstore/cosign, `specs/SIGNATURE_SPEC.md`).
//!
//! Anybody who may push can add layers, so an odd one is passed over and never spoils the others.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::{Descriptor, Digest, StoredManifest, media_type, strict_json};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{PAYLOAD_MAX, SIGNATURE_ANNOTATION, SIGNATURES_MAX};
use crate::bundle::BUNDLE_PREFIX;
use crate::transparency::proofs::{BUNDLE_ANNOTATION, TIMESTAMP_ANNOTATION, UntrustedProofs};

/// A signature as a layer states it: some bytes, and where to find what they sign.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// The raw signature.
    pub(super) signature: Vec<u8>,
    /// The payload's digest.
    pub(super) payload_digest: Digest,
    /// The payload's stated length.
    pub(super) payload_size: u64,
    /// The payload, where the manifest holds it inline. It has `payload_digest`.
    pub(super) inline_payload: Option<Arc<[u8]>>,
    /// The log entry and timestamp stated beside it.
    pub(super) proofs: UntrustedProofs,
}

/// The newest signatures of a list of layers. A manifest of some megabytes can list a million odd
/// layers, and must not cost more memory than its own length.
#[derive(Default)]
pub(super) struct Layers {
    /// The last [`SIGNATURES_MAX`], in the list's order.
    pub(super) signatures: VecDeque<Layer>,
    /// How many came before them.
    pub(super) left_out: usize,
    /// Layers that should hold a signature and hold something else.
    pub(super) malformed: usize,
    /// The first, if it is a bundle.
    first_bundle: Option<Descriptor>,
    /// How many layers there are, of whatever kind.
    count: usize,
}

/// What civ reads in the manifest. Layers are looked at one by one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntrustedManifest {
    schema_version: u64,
    media_type: Option<String>,
    layers: Layers,
    /// An index has these: a document that could be read as both is neither.
    manifests: Option<IgnoredAny>,
}

/// Reads a manifest of signatures; `None` if it is something else.
pub(super) fn parse(stored: &StoredManifest) -> Option<Layers> {
    let declared = media_type::essence(&stored.media_type);
    if ![media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST].contains(&declared) {
        return None;
    }
    let manifest: UntrustedManifest = strict_json::from_slice(&stored.bytes).ok()?;
    let agrees = manifest.media_type.is_none_or(|stated| stated == declared);
    let is_manifest = manifest.schema_version == 2 && agrees && manifest.manifests.is_none();
    is_manifest.then_some(manifest.layers)
}

impl Layers {
    /// The bundle that they are, if they are one and nothing else.
    pub(super) fn bundle(&mut self) -> Option<Descriptor> {
        self.first_bundle.take_if(|_| self.count == 1)
    }

    fn add(&mut self, layer: &RawValue) {
        self.count += 1;
        let Ok(layer) = strict_json::from_part::<Descriptor>(layer) else {
            self.malformed += 1;
            return;
        };
        if self.count == 1 && layer.media_type.starts_with(BUNDLE_PREFIX) {
            self.first_bundle = Some(layer.clone());
        }
        if !layer.annotations.contains_key(SIGNATURE_ANNOTATION) {
            return;
        }
        let Some(signature) = parse_layer(layer) else {
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

fn parse_layer(layer: Descriptor) -> Option<Layer> {
    let signature = STANDARD.decode(layer.annotations.get(SIGNATURE_ANNOTATION)?).ok()?;
    let inline_payload = super::inline_content(&layer, PAYLOAD_MAX);
    let stated = |key: &str| layer.annotations.get(key).map(String::as_str);
    let proofs =
        UntrustedProofs::from_annotations(stated(BUNDLE_ANNOTATION), stated(TIMESTAMP_ANNOTATION));
    Some(Layer {
        signature,
        payload_digest: layer.digest,
        payload_size: layer.size,
        inline_payload: inline_payload.map(Arc::from),
        proofs,
    })
}

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LayersVisitor)
    }
}

struct LayersVisitor;

impl<'de> Visitor<'de> for LayersVisitor {
    type Value = Layers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of layers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Layers, A::Error> {
        let mut layers = Layers::default();
        while let Some(layer) = seq.next_element::<Box<RawValue>>()? {
            layers.add(&layer);
        }
        Ok(layers)
    }
}
