//! Log entries and timestamps as they come with a signature: in a bundle or as annotations.
//!
//! A bundle's fields are sigstore's `TransparencyLogEntry` in protobuf's JSON, where what is zero or
//! empty is left out and 64-bit numbers are strings. The annotations are of cosign's own making
//! (sigstore/cosign, `pkg/cosign/bundle`). Nothing here is trusted, and nothing is parsed before a
//! policy asks for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::strict_json;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::entry::Kind;
use super::error::TransparencyError;
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
        let entries: Vec<_> = match &self.0 {
            Source::None => Vec::new(),
            Source::Bundle(text) => {
                let material: Material = parse(text)?;
                let entries = material.tlog_entries.unwrap_or_default();
                let read = |entry: &Box<RawValue>| read_element::<BundleEntry>(entry)?.read();
                bounded(&entries, ENTRIES_MAX)
                    .map_err(|(count, max)| TransparencyError::TooManyEntries { count, max })?
                    .map(read)
                    .collect()
            }
            Source::Annotations { bundle: None, .. } => Vec::new(),
            Source::Annotations { bundle: Some(text), .. } => {
                vec![parse::<AnnotatedEntry>(text)?.read()]
            }
        };
        Ok(entries)
    }

    /// The timestamps, `None` for each that is malformed.
    #[cfg(feature = "timestamps")]
    pub(super) fn timestamps(&self) -> Result<Vec<Option<Vec<u8>>>, TransparencyError> {
        let timestamps: Vec<_> = match &self.0 {
            Source::None => Vec::new(),
            Source::Bundle(text) => {
                let material: Material = parse(text)?;
                let data = material.timestamp_verification_data.unwrap_or_default();
                let timestamps = data.rfc3161_timestamps.unwrap_or_default();
                let read = |stamp: &Box<RawValue>| {
                    STANDARD.decode(read_element::<BundleTimestamp>(stamp)?.signed_timestamp).ok()
                };
                bounded(&timestamps, TIMESTAMPS_MAX)
                    .map_err(|(count, max)| TransparencyError::TooManyTimestamps { count, max })?
                    .map(read)
                    .collect()
            }
            Source::Annotations { timestamp: None, .. } => Vec::new(),
            Source::Annotations { timestamp: Some(text), .. } => {
                vec![STANDARD.decode(parse::<AnnotatedTimestamp>(text)?.timestamp).ok()]
            }
        };
        Ok(timestamps)
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

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, TransparencyError> {
    if text.len() > PROOFS_MAX {
        return Err(TransparencyError::TooLarge { size: text.len(), max: PROOFS_MAX });
    }
    Ok(strict_json::from_slice(text.as_bytes())?)
}

/// One of a list whose whole is known to be strict JSON.
fn read_element<T: DeserializeOwned>(element: &RawValue) -> Option<T> {
    serde_json::from_str(element.get()).ok()
}

/// All of `items`, or how many there are and how many there may be.
fn bounded<T>(items: &[T], max: usize) -> Result<std::slice::Iter<'_, T>, (usize, usize)> {
    if items.len() > max { Err((items.len(), max)) } else { Ok(items.iter()) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    tlog_entries: Option<Vec<Box<RawValue>>>,
    #[cfg(feature = "timestamps")]
    timestamp_verification_data: Option<TimestampData>,
}

#[cfg(feature = "timestamps")]
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TimestampData {
    rfc3161_timestamps: Option<Vec<Box<RawValue>>>,
}

#[cfg(feature = "timestamps")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundleTimestamp {
    signed_timestamp: String,
}

#[cfg(feature = "timestamps")]
#[derive(Deserialize)]
struct AnnotatedTimestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundleEntry {
    log_index: Option<Number>,
    log_id: LogId,
    kind_version: Kind,
    integrated_time: Option<Number>,
    inclusion_promise: Option<Promise>,
    inclusion_proof: Option<Proof>,
    canonicalized_body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Promise {
    signed_entry_timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proof {
    log_index: Option<Number>,
    root_hash: String,
    tree_size: Number,
    hashes: Option<Vec<String>>,
    checkpoint: Checkpoint,
}

#[derive(Deserialize)]
struct Checkpoint {
    envelope: String,
}

impl BundleEntry {
    fn read(self) -> Option<UntrustedEntry> {
        let promise = match self.inclusion_promise {
            Some(promise) => Some(STANDARD.decode(promise.signed_entry_timestamp).ok()?),
            None => None,
        };
        let proof = match self.inclusion_proof {
            Some(proof) => Some(proof.read()?),
            None => None,
        };
        Some(UntrustedEntry {
            body: STANDARD.decode(self.canonicalized_body).ok()?,
            kind: Some(self.kind_version),
            log_id: read_hash(&self.log_id.key_id)?,
            log_index: Number::or_zero(self.log_index),
            integrated_time: Number::or_zero(self.integrated_time),
            promise,
            proof,
            origin: Origin::Bundle,
        })
    }
}

impl Proof {
    fn read(self) -> Option<InclusionProof> {
        let hashes = self.hashes.unwrap_or_default();
        if hashes.len() > PATH_MAX {
            return None;
        }
        Some(InclusionProof {
            index: Number::or_zero(self.log_index),
            size: self.tree_size.0,
            root: read_hash(&self.root_hash)?,
            path: hashes.iter().map(|hash| read_hash(hash)).collect::<Option<_>>()?,
            checkpoint: self.checkpoint.envelope,
        })
    }
}

fn read_hash(encoded: &str) -> Option<Hash> {
    STANDARD.decode(encoded).ok()?.try_into().ok()
}

/// A number of at most 63 bits, as a number or as decimal text.
struct Number(u64);

impl Number {
    fn or_zero(number: Option<Self>) -> u64 {
        number.map_or(0, |number| number.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Number(u64),
            Text(String),
        }
        let number = match Spelling::deserialize(deserializer)? {
            Spelling::Number(number) => Some(number),
            Spelling::Text(text) => super::checkpoint::parse_number(&text),
        };
        let number = number.filter(|number| i64::try_from(*number).is_ok());
        number.map(Self).ok_or_else(|| D::Error::custom("not a number of 63 bits"))
    }
}

#[derive(Deserialize)]
struct AnnotatedEntry {
    #[serde(rename = "SignedEntryTimestamp")]
    promise: String,
    #[serde(rename = "Payload")]
    payload: AnnotatedPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnnotatedPayload {
    body: String,
    integrated_time: Number,
    log_index: Number,
    #[serde(rename = "logID")]
    log_id: String,
}

impl AnnotatedEntry {
    fn read(self) -> Option<UntrustedEntry> {
        Some(UntrustedEntry {
            body: STANDARD.decode(self.payload.body).ok()?,
            kind: None,
            log_id: super::entry::read_hex(&self.payload.log_id)?.try_into().ok()?,
            log_index: self.payload.log_index.0,
            integrated_time: self.payload.integrated_time.0,
            promise: Some(STANDARD.decode(self.promise).ok()?),
            proof: None,
            origin: Origin::Annotation,
        })
    }
}
