//! The whole of a promotion, in the order that keeps an unsigned image from ever having the tag.

use std::collections::BTreeMap;
use std::sync::Arc;

use civ_oci::{ImageId, Reference, Selector};

use crate::error::{Cause, Error, Step};
use crate::plan::{Plan, TagState, resolve};
use crate::progress::Progress;
use crate::registry::{Client, Destination, Source};
use crate::signer::Signer;
use crate::{copy, gate, sign};

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
    /// Blobs copied at a time.
    pub jobs: usize,
}

/// A promotion whose image has been looked at on both sides.
#[derive(Debug)]
pub struct Planned<'a> {
    /// What has to be copied.
    pub plan: Plan,
    /// What has to be signed.
    pub signatures: Vec<PlannedSignature>,
    promotion: &'a Promotion,
    source: Source,
    target: Destination,
}

/// An image that is to carry a signature.
#[derive(Clone, Debug)]
pub struct PlannedSignature {
    /// The image.
    pub image: ImageId,
    /// It carries this very signature already.
    pub present: bool,
}

/// What a promotion came to.
#[derive(Clone, Debug)]
pub struct Promoted {
    /// The image at its destination.
    pub image: ImageId,
    /// The tag that now names it.
    pub tag: Reference,
    /// Whether the tag was set now, or did name the image before.
    pub tag_moved: bool,
    /// The images whose signature was made now.
    pub signed: Vec<ImageId>,
}

impl Promotion {
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
    let Promotion { source, destination, annotations, recursive, .. } = promotion;
    let from = client.source(&source.repository);
    let to = client.destination(&destination.repository, Some(&source.repository));
    let plan = Plan::make(source, &from, destination, &to).await?;
    let mut signatures = Vec::new();
    for image in to_sign(&plan, *recursive) {
        let present = sign::is_signed(&to, &image, annotations, signer).await?;
        signatures.push(PlannedSignature { image, present });
    }
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
        let mut newly_signed = Vec::new();
        for PlannedSignature { image, present } in signatures {
            let added =
                !present && sign::sign(&target, &image, &promotion.annotations, signer).await?;
            progress.signed(&image, added);
            gate::check(client, &image, signer.public_key(), &promotion.annotations).await?;
            progress.verified(&image);
            if added {
                newly_signed.push(image);
            }
        }
        let tag_moved = publish(&plan, &target).await?;
        progress.tagged(&plan.destination, tag_moved);
        Ok(Promoted { image: plan.image(), tag: plan.destination, tag_moved, signed: newly_signed })
    }
}

/// An image that is to be signed where it is.
#[derive(Clone, Copy, Debug)]
pub struct SignInPlace<'a> {
    /// The image, by tag or digest.
    pub image: &'a Reference,
    /// What the signature says beside the image's digest and repository.
    pub annotations: &'a BTreeMap<String, String>,
    /// Whether the children of an index are signed as well.
    pub recursive: bool,
    /// Only look.
    pub dry_run: bool,
}

/// Signs an image where it is, and has the gate check it. Each image is returned with whether it
/// carried the signature before.
pub async fn sign_in_place(
    client: &Client,
    what: &SignInPlace<'_>,
    signer: &Signer,
    progress: &Arc<dyn Progress>,
) -> Result<Vec<PlannedSignature>, Error> {
    let SignInPlace { image, annotations, .. } = *what;
    let target = client.destination(&image.repository, None);
    let top = image.repository.image(resolve(image, target.read()).await?.digest);
    let children = if what.recursive { sign::children(&target, &top).await? } else { Vec::new() };
    let mut signatures = Vec::new();
    for image in std::iter::once(top).chain(children) {
        let present = if what.dry_run {
            sign::is_signed(&target, &image, annotations, signer).await?
        } else {
            let added = sign::sign(&target, &image, annotations, signer).await?;
            progress.signed(&image, added);
            gate::check(client, &image, signer.public_key(), annotations).await?;
            progress.verified(&image);
            !added
        };
        signatures.push(PlannedSignature { image, present });
    }
    Ok(signatures)
}

/// The image that `image` names today.
pub async fn find(client: &Client, image: &Reference) -> Result<ImageId, Error> {
    let top = resolve(image, &client.source(&image.repository)).await?;
    Ok(image.repository.image(top.digest))
}

fn to_sign(plan: &Plan, recursive: bool) -> Vec<ImageId> {
    let repository = &plan.destination.repository;
    let children = plan.children().filter(|_| recursive);
    let children = children.map(|child| repository.image(child.digest.clone()));
    std::iter::once(plan.image()).chain(children).collect()
}

/// Sets the tag, unless it names the image already.
async fn publish(plan: &Plan, target: &Destination) -> Result<bool, Error> {
    let (TagState::Absent | TagState::Other(_), Some(tag), Some(top)) =
        (&plan.tag, &plan.destination.tag, plan.manifests.last())
    else {
        return Ok(false);
    };
    let name = Selector::Tag(tag.clone());
    target.push_manifest(&name, &top.media_type, &top.bytes).await.map_err(|error| {
        let cause = if sign::is_immutable(&error) { Cause::ImmutableTag } else { error.into() };
        Error::new(Step::Tag, plan.destination.clone(), cause)
    })?;
    Ok(true)
}
