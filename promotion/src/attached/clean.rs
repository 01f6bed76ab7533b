//! Deleting what is attached to an image, and never the image.
//!
//! A tag is deleted as a tag, which leaves whatever it names. Some registries delete manifests only:
//! then the manifest goes if it holds nothing but signatures of this image, whoever put a tag on it. A
//! referrer goes only if its own manifest says that it refers to the image: a list can be written by
//! anybody who may push.

use civ_oci::{Digest, ImageId, Selector, Tag};

use super::{Attached, Attachment, AttachmentKind, Problem};
use crate::error::{Cause, Error, Step};
use crate::plan::reference;
use crate::referrers::ListedBy;
use crate::registry::{Client, Destination, RegistryError};
use crate::sign::referrers_index;

/// How often the list of referrers is written again because somebody else wrote it.
const ROUNDS: usize = 10;

/// What is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything that is attached.
    All,
    /// Only what is of this kind.
    Kind(AttachmentKind),
    /// Every referrer, of whatever kind.
    Referrers,
}

impl Attached {
    /// What of it is wanted gone, and can go.
    pub fn to_delete(&self, wanted: Wanted) -> Vec<&Attachment> {
        self.wanted(wanted).filter(|one| one.may_go()).collect()
    }

    /// What of it is wanted gone and stays, because it is not what it is listed as.
    pub fn to_keep(&self, wanted: Wanted) -> Vec<&Attachment> {
        self.wanted(wanted).filter(|one| !one.may_go()).collect()
    }

    fn wanted(&self, wanted: Wanted) -> impl Iterator<Item = &Attachment> {
        self.attachments.iter().filter(move |one| match wanted {
            Wanted::All => true,
            Wanted::Kind(kind) => one.kind == kind,
            Wanted::Referrers => one.tag.is_none(),
        })
    }
}

impl Attachment {
    fn may_go(&self) -> bool {
        self.is_expendable || (self.tag.is_some() && self.problem != Some(Problem::Image))
    }
}

/// Deletes what [`Attached::to_delete`] names.
pub async fn clean(client: &Client, attached: &Attached, wanted: Wanted) -> Result<(), Error> {
    let image = &attached.image;
    let target = client.clearing(&image.repository);
    let gone = attached.to_delete(wanted);
    for one in &gone {
        delete(&target, one).await.map_err(|cause| {
            let mut at = reference(&image.repository.image(one.digest.clone()));
            at.tag.clone_from(&one.tag);
            Error::new(Step::Delete, at, cause)
        })?;
    }
    let referrers: Vec<_> =
        gone.iter().filter(|one| one.tag.is_none()).map(|one| &one.digest).collect();
    if matches!(attached.listed_by, ListedBy::Tag) && !referrers.is_empty() {
        let fail = |cause| Error::new(Step::Delete, reference(image), cause);
        unlist(&target, image, &referrers).await.map_err(fail)?;
    }
    Ok(())
}

async fn delete(target: &Destination, one: &Attachment) -> Result<(), Cause> {
    let manifest = one.is_expendable.then_some(&one.digest);
    match (&one.tag, manifest) {
        (Some(tag), manifest) => delete_tag(target, tag, manifest).await,
        (None, Some(manifest)) => delete_manifest(target, manifest).await,
        (None, None) => Err(Cause::Internal),
    }
}

/// Deletes a tag. Where the registry deletes only manifests, the one that it names goes.
async fn delete_tag(
    target: &Destination,
    tag: &Tag,
    expendable: Option<&Digest>,
) -> Result<(), Cause> {
    let name = Selector::Tag(tag.clone());
    match (target.delete_manifest(&name).await, expendable) {
        (Ok(true), _) => Ok(()),
        // Some say so of a tag that they do not delete.
        (Ok(false), manifest) => match (target.read().find_digest(&name).await?, manifest) {
            (None, _) => Ok(()),
            (Some(_), Some(manifest)) => delete_manifest(target, manifest).await,
            (Some(_), None) => Err(Cause::StillThere),
        },
        (Err(error), Some(manifest)) if matches!(error.status(), Some(400 | 405)) => {
            delete_manifest(target, manifest).await
        }
        (Err(error), _) => Err(refused(error)),
    }
}

async fn delete_manifest(target: &Destination, digest: &Digest) -> Result<(), Cause> {
    let name = Selector::Digest(digest.clone());
    target.delete_manifest(&name).await.map(|_| ()).map_err(refused)
}

/// Takes referrers off the list that stands under a tag; the tag goes with the last of them.
async fn unlist(target: &Destination, image: &ImageId, gone: &[&Digest]) -> Result<(), Cause> {
    let tag = Tag::of_referrers(&image.digest);
    let name = Selector::Tag(tag.clone());
    for _ in 0..ROUNDS {
        let Some(index) = target.read().find_manifest(&name).await? else { return Ok(()) };
        let mut entries = referrers_index::entries(&index, &image.digest)?;
        let before = entries.len();
        entries.retain(|entry| {
            let digest = referrers_index::describe(&entry.text).map(|referrer| referrer.digest);
            !digest.is_some_and(|digest| gone.contains(&&digest))
        });
        if entries.len() == before {
            return Ok(());
        }
        if target.read().find_digest(&name).await?.as_ref() != Some(&index.digest) {
            continue;
        }
        if entries.is_empty() {
            return delete_tag(target, &tag, Some(&index.digest)).await;
        }
        let rendered = referrers_index::render(Some(&index), &image.digest, &entries)?;
        target.push_manifest(&name, &rendered.media_type, &rendered.bytes).await?;
    }
    Err(Cause::SignatureLost)
}

fn refused(error: RegistryError) -> Cause {
    let unsupported =
        matches!(error.status(), Some(400 | 405)) || error.code() == Some("UNSUPPORTED");
    if unsupported { Cause::Undeletable(error) } else { error.into() }
}
