//! The digests that an image can be pulled by: its own and, of an index, those of all platforms.
//!
//! Only indexes are read. What an index says of its children, its digest covers, and a digest can be
//! trusted without looking at what it is of.

use std::collections::HashSet;

use civ_oci::{Descriptor, Digest, Document, ImageId, Reference, StoredManifest, media_type};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};

use crate::error::{Cause, Error, Step};
use crate::plan::{
    DEPTH_MAX, MANIFESTS_BYTES_MAX, MANIFESTS_MAX, QUESTIONS, read_child, reference, resolve,
};
use crate::registry::{Client, Source};

/// An image, and what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDigests {
    /// The image.
    pub image: ImageId,
    /// The manifests and indexes below it, each once, in the order in which they are named; none of a
    /// manifest.
    pub children: Vec<Digest>,
}

/// The digests of each of `images`, in their order, as the registries say today. Some are asked for
/// at a time; a failure of one keeps no other from being answered.
pub async fn find_all(client: &Client, images: &[Reference]) -> Vec<Result<ImageDigests, Error>> {
    iter(images).map(|image| find(client, image)).buffered(QUESTIONS).collect().await
}

/// The digests of `image`.
pub async fn find(client: &Client, image: &Reference) -> Result<ImageDigests, Error> {
    let source = client.source(&image.repository);
    let top = resolve(image, &source).await?;
    let image = image.repository.image(top.digest.clone());
    let children = children(&source, top, &image).await?;
    Ok(ImageDigests { image, children })
}

/// All that is below `top`, level by level.
async fn children(
    source: &Source,
    top: StoredManifest,
    image: &ImageId,
) -> Result<Vec<Digest>, Error> {
    let fail = |cause| Error::new(Step::ReadManifest, reference(image), cause);
    let mut seen = HashSet::from([top.digest.clone()]);
    let (mut children, mut bytes) = (Vec::new(), top.bytes.len());
    let mut level = vec![top];
    for _ in 0..DEPTH_MAX {
        let mut nested = Vec::new();
        for document in level {
            let Document::Index(index) = document.parse().map_err(|error| fail(error.into()))?
            else {
                continue;
            };
            for child in index.manifests {
                if seen.insert(child.digest.clone()) {
                    children.push(child.digest.clone());
                    let index = document.digest.clone();
                    nested.extend(is_index(&child).then_some((index, child)));
                }
            }
        }
        if children.len() > MANIFESTS_MAX {
            return Err(fail(Cause::TooManyManifests { limit: MANIFESTS_MAX }));
        }
        if nested.is_empty() {
            return Ok(children);
        }
        level = Vec::new();
        let read = iter(nested).map(|(index, child)| read_child(source, index, child));
        let mut read = read.buffered(QUESTIONS);
        while let Some(document) = read.try_next().await? {
            bytes += document.bytes.len();
            if bytes > MANIFESTS_BYTES_MAX {
                return Err(fail(Cause::TooManyBytes { limit: MANIFESTS_BYTES_MAX }));
            }
            level.push(document);
        }
    }
    Err(fail(Cause::TooDeep { limit: DEPTH_MAX }))
}

fn is_index(child: &Descriptor) -> bool {
    matches!(
        media_type::essence(&child.media_type),
        media_type::OCI_INDEX | media_type::DOCKER_LIST
    )
}
