//! Small images to pull: pushed over plain http, by digest and by tag.
//!
//! An image's bytes depend only on the text it is made of, so that its digest does too.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The media type of an image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What was pushed.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// `127.0.0.1:PORT/repository`
    pub repository: String,
    /// `127.0.0.1:PORT/repository:tag`
    pub tag: String,
    /// The digest of the manifest or index that the tag names.
    pub digest: String,
    /// An index's children.
    pub children: Vec<String>,
}

impl Pushed {
    /// `repository@digest`, as cosign signs it.
    pub fn by_digest(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }

    /// `repository@digest` of an index's child.
    pub fn child(&self, index: usize) -> String {
        format!("{}@{}", self.repository, self.children[index])
    }
}

/// Pushes an image for this machine's platform.
pub fn push(registry: &str, repository: &str, tag: &str, text: &str) -> Pushed {
    let manifest = put_image(registry, repository, "amd64", text);
    let digest = put_manifest(registry, repository, tag, MANIFEST, &manifest);
    pushed(registry, repository, tag, digest, Vec::new())
}

/// Pushes an index of images for amd64 and arm64.
pub fn push_index(registry: &str, repository: &str, tag: &str, text: &str) -> Pushed {
    let mut children = Vec::new();
    let mut descriptors = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let manifest = put_image(registry, repository, architecture, text);
        let digest = digest(&manifest);
        put_manifest(registry, repository, &digest, MANIFEST, &manifest);
        let mut descriptor = descriptor(MANIFEST, &manifest);
        descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
        descriptors.push(descriptor);
        children.push(digest);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors });
    let digest = put_manifest(registry, repository, tag, INDEX, index.to_string().as_bytes());
    pushed(registry, repository, tag, digest, children)
}

fn pushed(
    registry: &str,
    repository: &str,
    tag: &str,
    digest: String,
    children: Vec<String>,
) -> Pushed {
    let repository = format!("{registry}/{repository}");
    Pushed { tag: format!("{repository}:{tag}"), repository, digest, children }
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

/// Uploads the blobs of an image with one empty layer, and returns its manifest.
fn put_image(registry: &str, repository: &str, architecture: &str, text: &str) -> Vec<u8> {
    let layer = [0; 1024];
    let config = json!({
        "architecture": architecture,
        "author": text,
        "config": {},
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string();
    put_blob(registry, repository, &layer);
    put_blob(registry, repository, config.as_bytes());
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes()
}

fn put_blob(registry: &str, repository: &str, bytes: &[u8]) {
    let started = ureq::post(format!("http://{registry}/v2/{repository}/blobs/uploads/"))
        .send_empty()
        .expect("the registry takes uploads");
    let location = started.headers()["location"].to_str().expect("a URL");
    let location = if location.starts_with('/') {
        format!("http://{registry}{location}")
    } else {
        location.to_owned()
    };
    let separator = if location.contains('?') { '&' } else { '?' };
    ureq::put(format!("{location}{separator}digest={}", digest(bytes)))
        .header("Content-Type", "application/octet-stream")
        .send(bytes)
        .expect("the registry takes a blob");
}

fn put_manifest(
    registry: &str,
    repository: &str,
    reference: &str,
    media_type: &str,
    bytes: &[u8],
) -> String {
    ureq::put(format!("http://{registry}/v2/{repository}/manifests/{reference}"))
        .header("Content-Type", media_type)
        .send(bytes)
        .expect("the registry takes a manifest");
    digest(bytes)
}
