//! The whole of a promotion, in the order that keeps an unsigned image from ever having the tag.

use std::collections::BTreeMap;
use std::sync::Arc;

use civ_oci::{ImageId, Reference, Selector};
use civ_policy::UtcTime;
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};

use crate::error::{Cause, Error, Step};
use crate::plan::{Plan, PlannedManifest, TagState, resolve, tag_state};
use crate::progress::Progress;
use crate::registry::{Client, Destination, Source};
use crate::sign::{Formats, Signatures, Signing, Subject};
use crate::signer::Signer;
use crate::{copy, gate, sign};

/// Images signed at a time.
const AT_ONCE: usize = 8;

/// What is to be promoted, and how.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The image, by tag or digest.
    pub source: Reference,
    /// Where it goes, by tag.
    pub destination: Reference,
    /// What the signature says beside the image's digest and repository.
    pub annotations: BTreeMap<String, String>,
    /// Whether the children of an index are signed as well, for those who pull them by digest.
    pub recursive: bool,
    /// The forms in which it is signed.
    pub formats: Formats,
    /// When the signatures say that they were made; by default, what the clock says.
    pub created: Option<UtcTime>,
    /// Blobs copied at a time.
    pub jobs: usize,
}

/// A promotion whose image has been looked at on both sides.
#[derive(Debug)]
pub struct Planned<'a> {
    /// What has to be copied.
    pub plan: Plan,
    /// What has to be signed.
    pub signatures: Vec<Signatures>,
    promotion: &'a Promotion,
    source: Source,
    target: Destination,
}

/// What a promotion came to.
#[derive(Clone, Debug)]
pub struct Promoted {
    /// The image at its destination.
    pub image: ImageId,
    /// The tag that now names it.
    pub tag: Reference,
    /// What the tag named just before it was set; the image itself where it was not set now.
    pub tag_was: TagState,
    /// The signatures of each image, and which of them were made now.
    pub signatures: Vec<Signatures>,
}

impl Promoted {
    /// Whether the tag was set now, or did name the image before.
    pub fn tag_moved(&self) -> bool {
        self.tag_was != TagState::Same
    }
}

impl Promotion {
    fn signing(&self) -> Signing<'_> {
        let Self { formats, annotations, created, .. } = self;
        Signing { formats: *formats, annotations, created: *created }
    }

    /// Whether the references can be promoted from and to, as far as that shows without a registry.
    pub fn check(&self) -> Result<(), Error> {
        let Self { source, destination, .. } = self;
        let fail = |at: &Reference, cause| Err(Error::new(Step::Prepare, at.clone(), cause));
        if source.tag.is_none() && source.digest.is_none() {
            return fail(source, Cause::NoTagOrDigest);
        }
        if destination.tag.is_none() || destination.digest.is_some() {
            return fail(destination, Cause::DestinationNeedsTag);
        }
        Ok(())
    }
}

/// Looks at both sides and at the signatures that are there. Writes nothing.
pub async fn plan<'a>(
    client: &Client,
    promotion: &'a Promotion,
    signer: &Signer,
) -> Result<Planned<'a>, Error> {
    promotion.check()?;
    let Promotion { source, destination, recursive, .. } = promotion;
    let from = client.source(&source.repository);
    let to = client.destination(&destination.repository, Some(&source.repository));
    let plan = Plan::make(source, &from, destination, &to).await?;
    let signing = promotion.signing();
    let looks = iter(to_sign(&plan, *recursive)).map(|subject| {
        let to = &to;
        async move { sign::look(to, &subject, &signing, signer).await }
    });
    let signatures = looks.buffered(AT_ONCE).try_collect().await?;
    Ok(Planned { plan, signatures, promotion, source: from, target: to })
}

impl Planned<'_> {
    /// Does what was planned: copy by digest, sign, ask the gate, and only then set the tag.
    pub async fn run(
        self,
        client: &Client,
        signer: &Signer,
        progress: &Arc<dyn Progress>,
    ) -> Result<Promoted, Error> {
        let Self { plan, signatures, promotion, source, target } = self;
        progress.planned(&plan);
        copy::copy(&plan, client, &source, &target, promotion.jobs, progress).await?;
        let signing = promotion.signing();
        let known: BTreeMap<_, _> =
            signatures.into_iter().map(|known| (known.image.digest.clone(), known)).collect();
        let images = iter(to_sign(&plan, promotion.recursive)).map(|subject| {
            let known = known.get(&subject.image.digest);
            let complete = known.filter(|known| known.is_complete()).cloned();
            let target = &target;
            async move {
                let signatures = match complete {
                    Some(complete) => complete,
                    None => sign::sign(target, &subject, &signing, signer).await?,
                };
                announce(client, signatures, &signing, signer, progress).await
            }
        });
        let signatures = images.buffered(AT_ONCE).try_collect().await?;
        let tag_was = publish(&plan, &target).await?;
        let promoted = Promoted { image: plan.image(), tag: plan.destination, tag_was, signatures };
        progress.tagged(&promoted.tag, promoted.tag_moved());
        Ok(promoted)
    }
}

/// An image that is to be signed where it is.
#[derive(Clone, Copy, Debug)]
pub struct SignInPlace<'a> {
    /// The image, by tag or digest.
    pub image: &'a Reference,
    /// What the signatures say, and in which forms.
    pub signing: Signing<'a>,
    /// Whether the children of an index are signed as well.
    pub recursive: bool,
    /// Only look.
    pub dry_run: bool,
}

/// Signs an image where it is, and has the gate check it. Each image is returned with what became
/// of its signatures.
pub async fn sign_in_place(
    client: &Client,
    what: &SignInPlace<'_>,
    signer: &Signer,
    progress: &Arc<dyn Progress>,
) -> Result<Vec<Signatures>, Error> {
    let SignInPlace { image, signing, .. } = *what;
    let target = client.destination(&image.repository, None);
    let found = resolve(image, target.read()).await?;
    let top = image.repository.image(found.digest.clone());
    let children = if what.recursive { sign::children(&target, &top).await? } else { Vec::new() };
    let top = Subject::new(top, found.bytes.len() as u64, &found.media_type);
    let images = iter(std::iter::once(top).chain(children)).map(|subject| {
        let target = &target;
        async move {
            if what.dry_run {
                return sign::look(target, &subject, &signing, signer).await;
            }
            let signatures = sign::sign(target, &subject, &signing, signer).await?;
            announce(client, signatures, &signing, signer, progress).await
        }
    });
    images.buffered(AT_ONCE).try_collect().await
}

/// Has the gate check what was signed.
async fn announce(
    client: &Client,
    signatures: Signatures,
    signing: &Signing<'_>,
    signer: &Signer,
    progress: &Arc<dyn Progress>,
) -> Result<Signatures, Error> {
    progress.signed(&signatures.image, signatures.added());
    gate::check_each(client, &signatures, signer.public_key(), signing.annotations).await?;
    progress.verified(&signatures.image);
    Ok(signatures)
}

/// The image that `image` names today.
pub async fn find(client: &Client, image: &Reference) -> Result<ImageId, Error> {
    let top = resolve(image, &client.source(&image.repository)).await?;
    Ok(image.repository.image(top.digest))
}

/// The image, and if asked for what it is made of.
fn to_sign(plan: &Plan, recursive: bool) -> Vec<Subject> {
    let repository = &plan.destination.repository;
    let subject = |manifest: &PlannedManifest| {
        let image = repository.image(manifest.digest.clone());
        Subject::new(image, manifest.bytes.len() as u64, &manifest.media_type)
    };
    let top = plan.manifests.last().into_iter();
    top.chain(plan.children().filter(|_| recursive)).map(subject).collect()
}

/// Sets the tag, unless it names the image already, and says what it named. Somebody else may have
/// moved it since the plan was made: it is looked at again.
async fn publish(plan: &Plan, target: &Destination) -> Result<TagState, Error> {
    let (Some(tag), Some(top)) = (&plan.destination.tag, plan.manifests.last()) else {
        return Err(Error::new(Step::Tag, plan.destination.clone(), Cause::Internal));
    };
    let was = tag_state(&plan.destination, tag.clone(), &top.digest, target).await?;
    if was == TagState::Same {
        return Ok(was);
    }
    let name = Selector::Tag(tag.clone());
    target.push_manifest(&name, &top.media_type, &top.bytes).await.map_err(|error| {
        let cause = if sign::is_immutable(&error) { Cause::ImmutableTag } else { error.into() };
        Error::new(Step::Tag, plan.destination.clone(), cause)
    })?;
    Ok(was)
}
