//! Images of one layer with one small file, and an index of two of them.

use std::collections::BTreeMap;

use civ_oci::{Descriptor, Digest, Platform, media_type};

use super::{Blob, Fixture, FixtureManifest, LAYER, tar};

/// The JSON of a string, a list or a map with strings as keys, which cannot fail.
macro_rules! json {
    ($value:expr) => {
        serde_json::to_string($value).unwrap_or_default()
    };
}

/// An image of one layer, which holds the file `civ-fixture` with the seed in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallImage {
    platform: Platform,
    layer: Vec<u8>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl SmallImage {
    /// An image for a platform such as `linux/amd64` or `linux/arm64/v8`. Another seed gives another
    /// digest; the same, the same.
    pub fn new(seed: &str, platform: &str) -> Self {
        let platform = parse_platform(platform);
        let content = format!("{seed}\n{}/{}\n", platform.os, platform.architecture);
        Self {
            platform,
            layer: tar::archive("civ-fixture", content.as_bytes()),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Adds an annotation to the manifest.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a label to the configuration.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The layer: a tar archive.
    pub fn layer(&self) -> &[u8] {
        &self.layer
    }

    /// The configuration.
    pub fn config(&self) -> Vec<u8> {
        config(&self.platform, &[Digest::sha256(&self.layer)], &self.labels)
    }

    /// The manifest.
    pub fn manifest(&self) -> Vec<u8> {
        let layers = [Descriptor::of(LAYER, &self.layer)];
        manifest(
            &Descriptor::of(media_type::OCI_CONFIG, &self.config()),
            &layers,
            &self.annotations,
        )
    }
}

impl Fixture for SmallImage {
    fn blobs(&self) -> Vec<Blob> {
        vec![Blob::new(self.config()), Blob::new(self.layer.clone())]
    }

    fn manifests(&self) -> Vec<FixtureManifest> {
        vec![FixtureManifest { media_type: media_type::OCI_MANIFEST, bytes: self.manifest() }]
    }
}

/// An index of an image for linux/amd64 and one for linux/arm64/v8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallIndex {
    children: Vec<SmallImage>,
    annotations: BTreeMap<String, String>,
}

impl SmallIndex {
    /// An index. Another seed gives another digest; the same, the same.
    pub fn new(seed: &str) -> Self {
        let platforms = ["linux/amd64", "linux/arm64/v8"];
        Self {
            children: platforms.map(|platform| SmallImage::new(seed, platform)).into(),
            annotations: BTreeMap::new(),
        }
    }

    /// Adds an annotation to the index.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The images, amd64 first.
    pub fn children(&self) -> &[SmallImage] {
        &self.children
    }

    /// The index.
    pub fn index(&self) -> Vec<u8> {
        let manifests: Vec<Descriptor> = self
            .children
            .iter()
            .map(|child| Descriptor {
                platform: Some(child.platform.clone()),
                ..Fixture::descriptor(child)
            })
            .collect();
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":{}{}}}"#,
            media_type::OCI_INDEX,
            json!(&manifests),
            annotations_field(&self.annotations),
        )
        .into()
    }
}

impl Fixture for SmallIndex {
    fn blobs(&self) -> Vec<Blob> {
        self.children.iter().flat_map(Fixture::blobs).collect()
    }

    fn manifests(&self) -> Vec<FixtureManifest> {
        let mut manifests: Vec<_> = self.children.iter().flat_map(Fixture::manifests).collect();
        manifests.push(FixtureManifest { media_type: media_type::OCI_INDEX, bytes: self.index() });
        manifests
    }
}

/// What has no slash is an architecture of linux.
pub(super) fn parse_platform(text: &str) -> Platform {
    let (os, rest) = text.split_once('/').unwrap_or(("linux", text));
    let (architecture, variant) = match rest.split_once('/') {
        Some((architecture, variant)) => (architecture, Some(variant.to_owned())),
        None => (rest, None),
    };
    Platform { architecture: architecture.to_owned(), os: os.to_owned(), os_version: None, variant }
}

// Documents are put together as text: the order of their fields, and so their digests, must not
// depend on the features that some other crate turns on in serde_json.

pub(super) fn config(
    platform: &Platform,
    layers: &[Digest],
    labels: &BTreeMap<String, String>,
) -> Vec<u8> {
    let variant = match &platform.variant {
        Some(variant) => format!(r#","variant":{}"#, json!(variant)),
        None => String::new(),
    };
    let labels = match labels {
        none if none.is_empty() => String::new(),
        labels => format!(r#","Labels":{}"#, json!(labels)),
    };
    format!(
        r#"{{"created":"1970-01-01T00:00:00Z","architecture":{}{variant},"os":{},"config":{{"Cmd":["/civ-fixture"]{labels}}},"rootfs":{{"type":"layers","diff_ids":{}}}}}"#,
        json!(&platform.architecture),
        json!(&platform.os),
        json!(layers),
    )
    .into()
}

pub(super) fn manifest(
    config: &Descriptor,
    layers: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":{}{}}}"#,
        media_type::OCI_MANIFEST,
        json!(config),
        json!(layers),
        annotations_field(annotations),
    )
    .into()
}

fn annotations_field(annotations: &BTreeMap<String, String>) -> String {
    if annotations.is_empty() {
        String::new()
    } else {
        format!(r#","annotations":{}"#, json!(annotations))
    }
}
