//! Descriptors: how one piece of content points to another
//! ([OCI image spec, descriptor.md](https://github.com/opencontainers/image-spec/blob/main/descriptor.md)).

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Digest;

/// The largest length that a descriptor can state: sizes are of type `int64` in the specification, and
/// what Go reads.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// A pointer to content: its type, digest and size.
///
/// Fields serialise in the order that the Go implementations write. Unknown fields are ignored on
/// reading: a descriptor is addressed by the bytes that hold it, never re-serialised for a verdict.
/// As everywhere in Go, `null` stands for an empty list or map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The content's media type, as its author states it.
    pub media_type: String,
    /// The content's length in bytes: read, at most [`SIZE_MAX`].
    #[serde(deserialize_with = "int64")]
    pub size: u64,
    /// The content's digest.
    pub digest: Digest,
    /// The content itself, in base64, where its author put it inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Places outside the registry where the content may be had.
    #[serde(default, deserialize_with = "empty_if_null", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations of this pointer.
    #[serde(
        default,
        deserialize_with = "empty_if_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The platform that the content is for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of the artifact, in a list of referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor of `content` with nothing but the three required fields.
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            size: content.len() as u64,
            digest: Digest::sha256(content),
            data: None,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }
}

/// A length. Sums of two of them, at least, cannot overflow.
fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if size > SIZE_MAX {
        return Err(D::Error::custom(format_args!("size {size} is more than {SIZE_MAX} bytes")));
    }
    Ok(size)
}

fn empty_if_null<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// What an image needs in order to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The CPU architecture, such as `amd64`.
    pub architecture: String,
    /// The operating system, such as `linux`.
    pub os: String,
    /// The operating system's version, as Windows images state it.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// The CPU variant, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}
