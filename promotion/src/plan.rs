//! What has to be done: everything that the image is made of, and which of it the destination
//! lacks. Making a plan writes nothing; a dry run ends here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use civ_oci::{
    Descriptor, Digest, Document, ImageId, Reference, Selector, StoredManifest, Tag, media_type,
};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};

use crate::error::{Cause, Error, Step};
use crate::registry::{Destination, RegistryError, Source};

/// The most manifests that one image may be made of.
pub(crate) const MANIFESTS_MAX: usize = 1_000;
/// The most bytes that they may have together.
pub(crate) const MANIFESTS_BYTES_MAX: usize = 16 << 20;
/// The deepest nesting of indexes.
pub(crate) const DEPTH_MAX: usize = 4;
/// Questions asked of a registry at a time.
pub(crate) const QUESTIONS: usize = 8;

/// What is to be done to bring an image to its destination.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The image, by digest: what a tag named when the plan was made.
    pub source: ImageId,
    /// Where it goes, under which tag.
    pub destination: Reference,
    /// What the destination's tag names today.
    pub tag: TagState,
    /// The manifests and indexes, each after all that it names; the image's own is the last.
    pub manifests: Vec<PlannedManifest>,
    /// The blobs that the manifests name, each once, the largest first.
    pub blobs: Vec<PlannedBlob>,
    /// Layers that are not in registries but at URLs; they stay there.
    pub foreign: Vec<Descriptor>,
}

/// What a tag names, compared with what it is to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagState {
    /// Nothing.
    Absent,
    /// Another image.
    Other(Digest),
    /// This image.
    Same,
}

/// A manifest or index.
#[derive(Clone, Debug)]
pub struct PlannedManifest {
    /// Its type, as the document that names it says, or the registry.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The destination has it.
    pub present: bool,
}

/// A blob.
#[derive(Clone, Debug)]
pub struct PlannedBlob {
    /// What it is.
    pub descriptor: Descriptor,
    /// The destination has it.
    pub present: bool,
}

impl Plan {
    /// Looks at both sides.
    pub async fn make(
        image: &Reference,
        source: &Source,
        destination: &Reference,
        target: &Destination,
    ) -> Result<Self, Error> {
        let top = resolve(image, source).await?;
        let source_image = image.repository.image(top.digest.clone());
        let tag = match &destination.tag {
            Some(tag) => tag_state(destination, tag.clone(), &top.digest, target).await?,
            None => TagState::Absent,
        };
        let mut tree = Tree::read(source, top).await?;
        let mut manifests = Vec::new();
        tree.take_in_order(&source_image.digest, &mut manifests);

        let fail =
            |error: RegistryError| Error::new(Step::Compare, destination.clone(), error.into());
        let manifests = iter(manifests).map(|mut manifest| async {
            let selector = Selector::Digest(manifest.digest.clone());
            let found = target.read().find_digest(&selector).await;
            manifest.present = found.map_err(fail)?.is_some();
            Ok::<_, Error>(manifest)
        });
        let manifests: Vec<_> = manifests.buffered(QUESTIONS).try_collect().await?;

        // A manifest that is there does not mean that its blobs are: storage is lost, and not every
        // registry checks what it takes.
        let blobs = iter(tree.blobs.into_values()).map(|descriptor| async {
            let present = target.read().has_blob(&descriptor).await.map_err(fail)?;
            Ok::<_, Error>(PlannedBlob { descriptor, present })
        });
        let mut blobs: Vec<_> = blobs.buffer_unordered(QUESTIONS).try_collect().await?;
        blobs.sort_by_key(|blob| Reverse((blob.descriptor.size, blob.descriptor.digest.clone())));
        let destination = destination.clone();
        let foreign = tree.foreign.into_values().collect();
        Ok(Self { source: source_image, destination, tag, manifests, blobs, foreign })
    }

    /// The image at its destination.
    pub fn image(&self) -> ImageId {
        self.destination.repository.image(self.source.digest.clone())
    }

    /// The manifests and indexes below the image's own, in the order in which they are written.
    pub fn children(&self) -> impl Iterator<Item = &PlannedManifest> {
        self.manifests.iter().filter(|manifest| manifest.digest != self.source.digest)
    }

    /// The blobs that the destination lacks, the largest first.
    pub fn missing_blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.blobs.iter().filter(|blob| !blob.present).map(|blob| &blob.descriptor)
    }

    /// The manifests that the destination lacks, in the order in which they are written.
    pub fn missing_manifests(&self) -> impl Iterator<Item = &PlannedManifest> {
        self.manifests.iter().filter(|manifest| !manifest.present)
    }

    /// The bytes that have to travel.
    pub fn missing_bytes(&self) -> u64 {
        let manifests = self.missing_manifests().map(|manifest| manifest.bytes.len() as u64);
        self.missing_blobs().map(|blob| blob.size).chain(manifests).fold(0, u64::saturating_add)
    }

    /// The bytes of blobs that have to travel.
    pub fn missing_blob_bytes(&self) -> u64 {
        self.missing_blobs().map(|blob| blob.size).fold(0, u64::saturating_add)
    }
}

/// The manifest that `image` names: by its digest if it has one, else by its tag.
pub(crate) async fn resolve(image: &Reference, source: &Source) -> Result<StoredManifest, Error> {
    let fail = |cause| Error::new(Step::Resolve, image.clone(), cause);
    let selector = match (&image.digest, &image.tag) {
        (Some(digest), _) => Selector::Digest(digest.clone()),
        (None, Some(tag)) => Selector::Tag(tag.clone()),
        (None, None) => return Err(fail(Cause::NoTagOrDigest)),
    };
    source.manifest(&selector).await.map_err(|error| fail(error.into()))
}

/// What `tag` of the destination names now, of which `wanted` is to be the digest.
pub(crate) async fn tag_state(
    destination: &Reference,
    tag: Tag,
    wanted: &Digest,
    target: &Destination,
) -> Result<TagState, Error> {
    let found = target.read().find_digest(&Selector::Tag(tag)).await;
    let found = found.map_err(|e| Error::new(Step::Compare, destination.clone(), e.into()))?;
    Ok(match found {
        None => TagState::Absent,
        Some(digest) if digest == *wanted => TagState::Same,
        Some(digest) => TagState::Other(digest),
    })
}

/// Everything that an image is made of.
#[derive(Default)]
struct Tree {
    read: BTreeMap<Digest, PlannedManifest>,
    children_of: BTreeMap<Digest, Vec<Digest>>,
    blobs: BTreeMap<Digest, Descriptor>,
    foreign: BTreeMap<Digest, Descriptor>,
    bytes: usize,
}

impl Tree {
    /// Reads `top` and all below it, level by level.
    async fn read(source: &Source, top: StoredManifest) -> Result<Self, Error> {
        let mut tree = Self::default();
        let top_image = source.repository().image(top.digest.clone());
        let fail = |cause| Error::new(Step::ReadManifest, reference(&top_image), cause);
        let mut seen = HashSet::from([top.digest.clone()]);
        let mut level = vec![top];
        for _ in 0..DEPTH_MAX {
            let mut below = Vec::new();
            for manifest in level {
                let at = source.repository().image(manifest.digest.clone());
                let named = tree.add(manifest);
                let named =
                    named.map_err(|cause| Error::new(Step::ReadManifest, reference(&at), cause))?;
                let new = named.into_iter().filter(|child| seen.insert(child.digest.clone()));
                below.extend(new.map(|child| (at.digest.clone(), child)));
            }
            if seen.len() > MANIFESTS_MAX {
                return Err(fail(Cause::TooManyManifests { limit: MANIFESTS_MAX }));
            }
            if below.is_empty() {
                return Ok(tree);
            }
            let children = iter(below).map(|(index, child)| read_child(source, index, child));
            let mut children = children.buffered(QUESTIONS);
            level = Vec::new();
            let mut bytes = tree.bytes;
            while let Some(child) = children.try_next().await? {
                bytes += child.bytes.len();
                if bytes > MANIFESTS_BYTES_MAX {
                    return Err(fail(Cause::TooManyBytes { limit: MANIFESTS_BYTES_MAX }));
                }
                level.push(child);
            }
        }
        Err(fail(Cause::TooDeep { limit: DEPTH_MAX }))
    }

    /// Takes in one document; returns the documents that it names.
    fn add(&mut self, manifest: StoredManifest) -> Result<Vec<Descriptor>, Cause> {
        self.bytes += manifest.bytes.len();
        let digest = manifest.digest.clone();
        let children = match manifest.parse()? {
            Document::Index(index) => index.manifests,
            Document::Manifest(image) => {
                let named = std::iter::once(image.config).chain(image.layers);
                self.add_blobs(named)?;
                Vec::new()
            }
        };
        let below = children.iter().map(|child| child.digest.clone()).collect();
        self.children_of.insert(digest.clone(), below);
        let StoredManifest { media_type, bytes, .. } = manifest;
        self.read
            .insert(digest.clone(), PlannedManifest { media_type, digest, bytes, present: false });
        Ok(children)
    }

    /// Moves the documents out, each after all that it names.
    fn take_in_order(&mut self, top: &Digest, out: &mut Vec<PlannedManifest>) {
        let Some(manifest) = self.read.remove(top) else { return };
        for child in self.children_of.remove(top).unwrap_or_default() {
            self.take_in_order(&child, out);
        }
        out.push(manifest);
    }

    fn add_blobs(&mut self, named: impl Iterator<Item = Descriptor>) -> Result<(), Cause> {
        for blob in named {
            if is_foreign(&blob) {
                self.foreign.insert(blob.digest.clone(), blob);
                continue;
            }
            let known = self.blobs.entry(blob.digest.clone()).or_insert_with(|| blob.clone());
            if known.size != blob.size {
                return Err(Cause::TwoSizes { digest: blob.digest });
            }
        }
        Ok(())
    }
}

/// A document that `index` names.
pub(crate) async fn read_child(
    source: &Source,
    index: Digest,
    child: Descriptor,
) -> Result<StoredManifest, Error> {
    let at = source.repository().image(child.digest.clone());
    let fail = |cause| Error::new(Step::ReadManifest, reference(&at), cause);
    let found = source.manifest(&Selector::Digest(child.digest.clone())).await;
    let mut manifest = found.map_err(|error| match error.status() {
        Some(404) => fail(Cause::MissingChild { index }),
        _ => fail(error.into()),
    })?;
    // The index's word, which the digest covers, counts more than the registry's.
    media_type::essence(&child.media_type).clone_into(&mut manifest.media_type);
    Ok(manifest)
}

/// A layer that may not be distributed, and says where else it is.
fn is_foreign(blob: &Descriptor) -> bool {
    let foreign = blob.media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        || blob.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar");
    foreign && !blob.urls.is_empty()
}

/// An image as a reference.
pub(crate) fn reference(image: &ImageId) -> Reference {
    Reference {
        repository: image.repository.clone(),
        tag: None,
        digest: Some(image.digest.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(media_type: &str, body: &serde_json::Value) -> StoredManifest {
        let bytes = body.to_string().into_bytes();
        StoredManifest { media_type: media_type.to_owned(), digest: Digest::sha256(&bytes), bytes }
    }

    fn index(children: &[&StoredManifest]) -> StoredManifest {
        let describe = |child: &&StoredManifest| Descriptor::of(&child.media_type, &child.bytes);
        let manifests: Vec<_> = children.iter().map(describe).collect();
        let body = serde_json::json!({ "schemaVersion": 2, "manifests": manifests });
        stored(media_type::OCI_INDEX, &body)
    }

    fn image(config: &Descriptor, layers: &[Descriptor]) -> StoredManifest {
        let body = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers });
        stored(media_type::OCI_MANIFEST, &body)
    }

    #[test]
    fn every_document_comes_after_all_that_it_names() {
        let shared = image(&Descriptor::of(media_type::OCI_CONFIG, b"shared"), &[]);
        let other = image(&Descriptor::of(media_type::OCI_CONFIG, b"other"), &[]);
        let nested = index(&[&shared]);
        let top = index(&[&nested, &other, &shared, &nested]);
        let mut tree = Tree::default();
        for document in [&top, &nested, &other, &shared] {
            tree.add(document.clone()).unwrap();
        }
        let mut order = Vec::new();
        tree.take_in_order(&top.digest, &mut order);
        let order: Vec<_> = order.into_iter().map(|manifest| manifest.digest).collect();
        assert_eq!(order, [shared.digest, nested.digest, other.digest, top.digest]);
    }

    #[test]
    fn blobs_are_told_from_layers_that_live_elsewhere() {
        let config = Descriptor::of(media_type::OCI_CONFIG, b"config");
        let urls = vec!["https://example.com/l".to_owned()];
        for (media_type, urls, foreign) in [
            (media_type::OCI_LAYER_GZIP, Vec::new(), false),
            (media_type::OCI_LAYER_GZIP, urls.clone(), false),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls.clone(), true),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Vec::new(), false),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", urls.clone(), true),
        ] {
            let layer = Descriptor { urls, ..Descriptor::of(media_type, b"layer") };
            let mut tree = Tree::default();
            tree.add(image(&config, &[layer.clone(), layer])).unwrap();
            assert_eq!(
                (tree.foreign.len(), tree.blobs.len()),
                (foreign.into(), 2 - usize::from(foreign))
            );
        }
    }

    #[test]
    fn one_blob_cannot_have_two_sizes() {
        let config = Descriptor::of(media_type::OCI_CONFIG, b"config");
        let lying = Descriptor { size: 1, ..config.clone() };
        let added = Tree::default().add(image(&config, &[lying]));
        assert!(matches!(added, Err(Cause::TwoSizes { .. })));
    }
}
