//! Log entries and timestamps as they come with a signature: in a bundle or as annotations.
//!
//! A bundle's fields are sigstore's `TransparencyLogEntry` in protobuf's JSON, where what is zero or
//! empty is left out and 64-bit numbers are strings. The annotations are of cosign's own making
//! (sigstore/cosign, `pkg/cosign/bundle`). Nothing here is trusted, and nothing is parsed before a
//! policy asks for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::strict_json;
use serde_json::Value;

use super::entry::{Kind, read_hex};
use super::error::TransparencyError;
use super::fields::{Fields, bytes, number, present, text};
use super::merkle::{Hash, PATH_MAX};

/// The layer annotation of a `.sig` image that holds a log entry.
pub const BUNDLE_ANNOTATION: &str = "dev.sigstore.cosign/bundle";
/// The layer annotation of a `.sig` image that holds a timestamp.
pub const TIMESTAMP_ANNOTATION: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// The most log entries of one signature. sigstore-go reads as many.
pub const ENTRIES_MAX: usize = 32;
/// The most timestamps of one signature.
pub const TIMESTAMPS_MAX: usize = 16;
/// The longest text of log entries and timestamps, in bytes. One entry and one timestamp have five
/// thousand.
pub const PROOFS_MAX: usize = 256 << 10;

/// The log entries and timestamps that came with a signature, unread. By default none.
#[derive(Clone, Debug, Default)]
pub struct UntrustedProofs(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    None,
    /// The JSON of a bundle's `verificationMaterial`.
    Bundle(String),
    /// The values of the two annotations.
    Annotations {
        bundle: Option<String>,
        #[cfg_attr(
            not(feature = "timestamps"),
            allow(dead_code, reason = "only builds with timestamps read it")
        )]
        timestamp: Option<String>,
    },
}

impl UntrustedProofs {
    /// Those in the JSON of a bundle's `verificationMaterial`.
    pub fn from_bundle(verification_material: &str) -> Self {
        Self(Source::Bundle(verification_material.to_owned()))
    }

    /// Those in the annotations of a `.sig` layer: the values under [`BUNDLE_ANNOTATION`] and
    /// [`TIMESTAMP_ANNOTATION`].
    pub fn from_annotations(bundle: Option<&str>, timestamp: Option<&str>) -> Self {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        Self(Source::Annotations { bundle: owned(bundle), timestamp: owned(timestamp) })
    }

    /// The log entries, `None` for each that is malformed: it must not spoil the others.
    pub(super) fn entries(&self) -> Result<Vec<Option<UntrustedEntry>>, TransparencyError> {
        match &self.0 {
            Source::None | Source::Annotations { bundle: None, .. } => Ok(Vec::new()),
            Source::Bundle(text) => {
                let material = parse(text)?;
                let entries = list(&material, "tlogEntries")?;
                if entries.len() > ENTRIES_MAX {
                    let (count, max) = (entries.len(), ENTRIES_MAX);
                    return Err(TransparencyError::TooManyEntries { count, max });
                }
                Ok(entries.iter().map(UntrustedEntry::from_bundle).collect())
            }
            Source::Annotations { bundle: Some(text), .. } => {
                Ok(vec![UntrustedEntry::from_annotation(&parse(text)?)])
            }
        }
    }

    /// The timestamps, `None` for each that is malformed.
    #[cfg(feature = "timestamps")]
    pub(super) fn timestamps(&self) -> Result<Vec<Option<Vec<u8>>>, TransparencyError> {
        match &self.0 {
            Source::None | Source::Annotations { timestamp: None, .. } => Ok(Vec::new()),
            Source::Bundle(text) => {
                let material = parse(text)?;
                let Some(data) = present(&material, "timestampVerificationData") else {
                    return Ok(Vec::new());
                };
                let data = data.as_object().ok_or(TransparencyError::Malformed)?;
                let timestamps = list(data, "rfc3161Timestamps")?;
                if timestamps.len() > TIMESTAMPS_MAX {
                    let (count, max) = (timestamps.len(), TIMESTAMPS_MAX);
                    return Err(TransparencyError::TooManyTimestamps { count, max });
                }
                let read = |timestamp: &Value| bytes(timestamp.as_object()?, "signedTimestamp");
                Ok(timestamps.iter().map(read).collect())
            }
            Source::Annotations { timestamp: Some(text), .. } => {
                Ok(vec![bytes(&parse(text)?, "SignedRFC3161Timestamp")])
            }
        }
    }
}

/// A log entry, and what it says of itself.
#[derive(Debug)]
pub(super) struct UntrustedEntry {
    /// The canonical JSON that is a leaf of the log.
    pub(super) body: Vec<u8>,
    /// The kind stated beside the body.
    pub(super) kind: Option<Kind>,
    pub(super) log_id: Hash,
    pub(super) log_index: u64,
    /// In seconds since 1970; 0 if the log states no time.
    pub(super) integrated_time: u64,
    /// The signed entry timestamp, Rekor v1's promise to include the entry.
    pub(super) promise: Option<Vec<u8>>,
    pub(super) proof: Option<InclusionProof>,
    pub(super) origin: Origin,
}

/// What an entry came with, which says what it must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A bundle of version 0.3: it must have an inclusion proof.
    Bundle,
    /// An annotation: it can have a promise only.
    Annotation,
}

#[derive(Debug)]
pub(super) struct InclusionProof {
    /// The leaf's number in its tree, which is not `log_index` in a log of several trees.
    pub(super) index: u64,
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) path: Vec<Hash>,
    /// A signed note.
    pub(super) checkpoint: String,
}

// Fields that are not known are passed over: what counts is signed, and these are not what is signed.
impl UntrustedEntry {
    fn from_bundle(entry: &Value) -> Option<Self> {
        let entry = entry.as_object()?;
        let object = |name| present(entry, name).map(|value| value.as_object());
        let kind = entry.get("kindVersion")?.as_object()?;
        let promise = match object("inclusionPromise") {
            Some(promise) => Some(bytes(promise?, "signedEntryTimestamp")?),
            None => None,
        };
        let proof = match object("inclusionProof") {
            Some(proof) => Some(InclusionProof::from_bundle(proof?)?),
            None => None,
        };
        Some(Self {
            body: bytes(entry, "canonicalizedBody")?,
            kind: Some(Kind {
                kind: text(kind, "kind")?.to_owned(),
                version: text(kind, "version")?.to_owned(),
            }),
            log_id: bytes(entry.get("logId")?.as_object()?, "keyId")?.try_into().ok()?,
            log_index: number(entry, "logIndex")?,
            integrated_time: number(entry, "integratedTime")?,
            promise,
            proof,
            origin: Origin::Bundle,
        })
    }

    fn from_annotation(annotation: &Fields) -> Option<Self> {
        let payload = annotation.get("Payload")?.as_object()?;
        Some(Self {
            body: bytes(payload, "body")?,
            kind: None,
            log_id: read_hex(text(payload, "logID")?)?.try_into().ok()?,
            log_index: number(payload, "logIndex")?,
            integrated_time: number(payload, "integratedTime")?,
            promise: Some(bytes(annotation, "SignedEntryTimestamp")?),
            proof: None,
            origin: Origin::Annotation,
        })
    }
}

impl InclusionProof {
    fn from_bundle(proof: &Fields) -> Option<Self> {
        let path = list(proof, "hashes").ok().filter(|path| path.len() <= PATH_MAX)?;
        let hash = |hash: &Value| STANDARD.decode(hash.as_str()?).ok()?.try_into().ok();
        Some(Self {
            index: number(proof, "logIndex")?,
            size: number(proof, "treeSize")?,
            root: bytes(proof, "rootHash")?.try_into().ok()?,
            path: path.iter().map(hash).collect::<Option<_>>()?,
            checkpoint: text(proof.get("checkpoint")?.as_object()?, "envelope")?.to_owned(),
        })
    }
}

fn parse(text: &str) -> Result<Fields, TransparencyError> {
    if text.len() > PROOFS_MAX {
        return Err(TransparencyError::TooLarge { size: text.len(), max: PROOFS_MAX });
    }
    match strict_json::from_slice(text.as_bytes()) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(TransparencyError::Malformed),
    }
}

/// The values of a list, which is left out if it is empty.
fn list<'v>(fields: &'v Fields, name: &str) -> Result<&'v [Value], TransparencyError> {
    match present(fields, name) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(TransparencyError::Malformed),
    }
}
