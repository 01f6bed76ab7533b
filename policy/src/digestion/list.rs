//! A list of trusted digests, of which each may have its image's name beside it.
//!
//! Whether an index admits the manifests that it names must be plain from the document alone: this
//! verifier asks no registry. So a list that says `"children": "resolve"` holds the children of each of
//! its images, and a list that does not say so holds none. Anything else would be narrower or wider
//! than it reads, and is no valid list.

use civ_oci::Digest;
use civ_oci::strict_json::not_null;
use serde::Deserialize;

use crate::PolicyError;

/// The longest name of an image, in bytes: about what a reference can have.
pub const NAME_MAX: usize = 512;

/// What is listed in one place of a document.
#[derive(Clone, Debug)]
pub(super) struct TrustedList {
    digests: Vec<Digest>,
    images: Vec<Image>,
}

/// What admits a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// Itself, without a name.
    Digest,
    /// The image of this name.
    Image(&'a str),
    /// The index of this name.
    ChildOf(&'a str),
}

/// An image by name and digest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    /// For people: nothing follows from it.
    name: String,
    digest: Digest,
    /// Those of all platforms, those of nested indexes included; empty for a manifest.
    #[serde(default, deserialize_with = "not_null")]
    children: Option<Vec<Digest>>,
}

/// What an index stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Children {
    /// Itself and the manifests that it names.
    Resolve,
}

impl TrustedList {
    /// The list of the statement of this name, or of the document itself.
    pub(super) fn new(
        statement: Option<&str>,
        digests: Vec<Digest>,
        images: Vec<Image>,
        children: Option<Children>,
    ) -> Result<Self, PolicyError> {
        let place = || statement.map(str::to_owned);
        let resolves = children == Some(Children::Resolve);
        if resolves && images.is_empty() {
            return Err(PolicyError::NothingToResolve { statement: place() });
        }
        for Image { name, digest, children } in &images {
            if name.is_empty() || name.len() > NAME_MAX {
                return Err(PolicyError::ImageName {
                    statement: place(),
                    digest: digest.clone(),
                    length: name.len(),
                });
            }
            let image = || (place(), name.clone());
            match (resolves, children) {
                (true, None) => {
                    let (statement, image) = image();
                    return Err(PolicyError::ChildrenMissing { statement, image });
                }
                (false, Some(_)) => {
                    let (statement, image) = image();
                    return Err(PolicyError::ChildrenNotResolved { statement, image });
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        Ok(Self { digests, images })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.digests.is_empty() && self.images.is_empty()
    }

    /// How many digests are listed, each as often as it is.
    pub(super) fn len(&self) -> usize {
        let children = self.images.iter().map(|image| image.children().len());
        self.digests.len() + self.images.len() + children.sum::<usize>()
    }

    /// What admits `digest`. One look at each entry: a verdict is about one digest, so that any order
    /// would cost more to make than it saves.
    pub(super) fn find(&self, digest: &Digest) -> Option<Entry<'_>> {
        if self.digests.contains(digest) {
            return Some(Entry::Digest);
        }
        self.images.iter().find_map(|image| {
            if image.digest == *digest {
                Some(Entry::Image(&image.name))
            } else if image.children().contains(digest) {
                Some(Entry::ChildOf(&image.name))
            } else {
                None
            }
        })
    }
}

impl Image {
    fn children(&self) -> &[Digest] {
        self.children.as_deref().unwrap_or_default()
    }
}
