//! Small images to pull: pushed over plain http, by digest and by tag.
//!
//! An image's bytes depend only on the text it is made of, so that its digest does too.

use civ_embedded_registry::image::{Fixture, SmallImage, SmallIndex};

pub use civ_oci::media_type::{OCI_INDEX as INDEX, OCI_MANIFEST as MANIFEST};

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

/// Pushes an image for linux/amd64.
pub fn push(registry: &str, repository: &str, tag: &str, text: &str) -> Pushed {
    pushed(registry, repository, tag, &SmallImage::new(text, "linux/amd64"))
}

/// Pushes an index of images for amd64 and arm64.
pub fn push_index(registry: &str, repository: &str, tag: &str, text: &str) -> Pushed {
    let index = SmallIndex::new(text);
    let children = index.children().iter().map(|child| child.digest().to_string()).collect();
    Pushed { children, ..pushed(registry, repository, tag, &index) }
}

fn pushed(registry: &str, repository: &str, tag: &str, image: &impl Fixture) -> Pushed {
    let digest = image.push(registry, repository, tag).expect("the registry takes an image");
    let repository = format!("{registry}/{repository}");
    let tag = format!("{repository}:{tag}");
    Pushed { repository, tag, digest: digest.to_string(), children: Vec::new() }
}
