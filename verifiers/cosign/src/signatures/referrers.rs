//! Reading a list of referrers: which of the manifests that refer to an image may hold signatures.
//!
//! A list is whatever the registry says, or, in registries without the referrers API, an index that
//! anybody who may push can write. So it only proposes what to fetch, by digest, and in which order.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;

use civ_oci::{Descriptor, media_type, strict_json};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::REFERRERS_MAX;
use crate::bundle::BUNDLE_PREFIX;
use crate::intoto::SIGN_PREDICATE;

/// What cosign annotates a bundle's manifest with; registries copy it into their lists.
pub const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";
/// When a manifest was made, by which a list is ordered.
pub const CREATED_ANNOTATION: &str = "org.opencontainers.image.created";

/// The referrers that may hold signatures.
#[derive(Default)]
pub(super) struct Referrers {
    pub(super) candidates: Vec<Descriptor>,
    /// How many more there are than civ looks at.
    pub(super) left_out: usize,
}

#[derive(Deserialize)]
struct UntrustedIndex {
    manifests: Referrers,
}

/// Reads a list. `None` if it is none.
pub(super) fn parse(index: &[u8]) -> Option<Referrers> {
    let index: UntrustedIndex = strict_json::from_slice(index).ok()?;
    Some(index.manifests)
}

impl Referrers {
    /// Adds what another page of the list holds.
    pub(super) fn extend(&mut self, page: Self) {
        self.left_out += page.left_out;
        for candidate in page.candidates {
            self.add(candidate);
        }
    }

    /// In the order in which they are worth fetching: those that say that they are signatures
    /// first, and of these the newest and the oldest in turn. Neither many later ones nor a date
    /// that somebody made up can put the first one last.
    pub(super) fn in_order(self) -> Vec<Descriptor> {
        let of = |candidate: &Descriptor| {
            let stated = candidate.annotations.contains_key(PREDICATE_ANNOTATION);
            Reverse((stated, candidate.annotations.get(CREATED_ANNOTATION).cloned()))
        };
        let mut candidates = self.candidates;
        candidates.sort_by_cached_key(of);
        let mut left = VecDeque::from(candidates);
        let mut ordered = Vec::with_capacity(left.len());
        while let Some(newest) = left.pop_front() {
            ordered.push(newest);
            let stated = |one: &Descriptor| one.annotations.contains_key(PREDICATE_ANNOTATION);
            let ends = left.front().is_none_or(|next| !stated(next));
            let oldest = if ends { None } else { left.iter().rposition(stated) };
            ordered.extend(oldest.and_then(|index| left.remove(index)));
        }
        ordered
    }

    fn add(&mut self, candidate: Descriptor) {
        if !may_hold_signatures(&candidate) {
            return;
        }
        if self.candidates.len() == REFERRERS_MAX {
            self.left_out += 1;
        } else {
            self.candidates.push(candidate);
        }
    }
}

/// What the list says is of another type is passed over. A list that says nothing (older clients
/// copied no annotations into the index that stands in for the API) leaves it open.
fn may_hold_signatures(candidate: &Descriptor) -> bool {
    let is_manifest = matches!(
        media_type::essence(&candidate.media_type),
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST
    );
    let artifact_type = candidate.artifact_type.as_deref().unwrap_or_default();
    let is_signature_type = artifact_type.starts_with(BUNDLE_PREFIX)
        || artifact_type == media_type::SIGNATURE_ARTIFACT
        || artifact_type == media_type::EMPTY;
    let predicate = candidate.annotations.get(PREDICATE_ANNOTATION);
    is_manifest && is_signature_type && predicate.is_none_or(|stated| stated == SIGN_PREDICATE)
}

impl<'de> Deserialize<'de> for Referrers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReferrersVisitor)
    }
}

struct ReferrersVisitor;

impl<'de> Visitor<'de> for ReferrersVisitor {
    type Value = Referrers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of descriptors")
    }

    /// One by one: an odd one is passed over, and a million of them cost no memory.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Referrers, A::Error> {
        let mut referrers = Referrers::default();
        while let Some(raw) = seq.next_element::<Box<RawValue>>()? {
            if let Ok(candidate) = strict_json::from_part(&raw) {
                referrers.add(candidate);
            }
        }
        Ok(referrers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(artifact_type: &str, annotations: &Value) -> Value {
        json!({
            "mediaType": media_type::OCI_MANIFEST,
            "size": 1,
            "digest": civ_oci::Digest::sha256(annotations.to_string().as_bytes()).to_string(),
            "artifactType": artifact_type,
            "annotations": annotations,
        })
    }

    fn parsed(manifests: &[Value]) -> Referrers {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        parse(index.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn proposes_what_may_be_a_signature_and_the_likeliest_first() {
        let signed = |created: &str| json!({ PREDICATE_ANNOTATION: SIGN_PREDICATE, CREATED_ANNOTATION: created });
        let [old, between, new] = ["2026-01-01", "2026-01-15", "2026-02-01"].map(signed);
        let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let attestation = json!({ PREDICATE_ANNOTATION: "https://slsa.dev/provenance/v1" });
        let found = parsed(&[
            json!(null),
            json!({ "mediaType": 1 }),
            descriptor("application/spdx+json", &json!({})),
            descriptor(bundle, &attestation),
            descriptor(bundle, &json!({ "silent": "" })),
            descriptor(bundle, &between),
            descriptor(bundle, &old),
            descriptor(bundle, &new),
            descriptor("", &json!({ "a child of an image index": "" })),
        ]);
        let digest =
            |annotations: &Value| civ_oci::Digest::sha256(annotations.to_string().as_bytes());
        let order: Vec<_> = found.in_order().into_iter().map(|found| found.digest).collect();
        let silent = json!({ "silent": "" });
        assert_eq!(order, [&new, &old, &between, &silent].map(digest));
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let many: Vec<_> = (0..150)
            .map(|n| descriptor(media_type::SIGNATURE_ARTIFACT, &json!({ "n": n.to_string() })))
            .collect();
        let mut found = parsed(&many);
        assert_eq!((found.candidates.len(), found.left_out), (100, 50));
        found.extend(parsed(&many[..7]));
        assert_eq!((found.candidates.len(), found.left_out), (100, 57));
    }
}
