//! Signing an image where it is: the payload that cosign would sign, into the place where cosign
//! and the gate look.

use std::collections::BTreeMap;

use civ_cosign::SimpleSigning;
use civ_cosign::signatures::PAYLOAD_MAX;
use civ_oci::{Document, ImageId, Selector, StoredManifest, Tag, media_type};

use crate::error::{Cause, Error, Step};
use crate::plan::reference;
use crate::registry::{Destination, RegistryError};
use crate::signature_image::{self, SignatureImage};
use crate::signer::Signer;

/// How often a signature is written again because somebody else wrote at the same time.
const ROUNDS: usize = 5;
/// Codes by which registries say that a tag may not change. ECR says the first.
const IMMUTABLE: [&str; 3] = ["TAG_INVALID", "TAG_IMMUTABLE", "ImageTagAlreadyExistsException"];

/// Whether `image` already carries the very signature that [`sign`] would make.
pub async fn is_signed(
    target: &Destination,
    image: &ImageId,
    annotations: &BTreeMap<String, String>,
    signer: &Signer,
) -> Result<bool, Error> {
    let payload = SimpleSigning::new(image, annotations).to_bytes();
    let existing = find_signatures(target, image).await?;
    holds(existing.as_ref(), image, &payload, signer)
}

/// Signs `image`, unless it carries this very signature already. True if a signature was added.
///
/// Registries have no way to add to a tag only if nobody else did meanwhile. So what was written is
/// read again, and written again if another signer's write took its place.
pub async fn sign(
    target: &Destination,
    image: &ImageId,
    annotations: &BTreeMap<String, String>,
    signer: &Signer,
) -> Result<bool, Error> {
    let fail = |step| move |cause: Cause| Error::new(step, reference(image), cause);
    let payload = SimpleSigning::new(image, annotations).to_bytes();
    if payload.len() as u64 > PAYLOAD_MAX {
        return Err(fail(Step::Sign)(Cause::PayloadTooLarge { limit: PAYLOAD_MAX }));
    }
    let mut signature: Option<Vec<u8>> = None;
    for _ in 0..ROUNDS {
        let existing = find_signatures(target, image).await?;
        if holds(existing.as_ref(), image, &payload, signer)? {
            return Ok(signature.is_some());
        }
        if signature.is_none() {
            signature = Some(signer.sign(&payload).await.map_err(|e| fail(Step::Sign)(e.into()))?);
        }
        let made = signature.as_deref().unwrap_or_default();
        let signatures = SignatureImage::append(existing.as_ref(), &payload, made)
            .map_err(|e| fail(Step::WriteSignature)(e.into()))?;
        write(target, signature_tag(image)?, &signatures, &payload).await.map_err(|error| {
            fail(Step::WriteSignature)(match error {
                error if is_immutable(&error) => Cause::ImmutableSignatures,
                error => error.into(),
            })
        })?;
    }
    Err(fail(Step::WriteSignature)(Cause::SignatureLost))
}

/// The images that `image` is made of: the children of an index, and theirs.
pub async fn children(target: &Destination, image: &ImageId) -> Result<Vec<ImageId>, Error> {
    let mut found: Vec<ImageId> = Vec::new();
    let mut indexes = vec![image.clone()];
    while let Some(index) = indexes.pop() {
        let fail = |cause| Error::new(Step::ReadManifest, reference(&index), cause);
        let selector = Selector::Digest(index.digest.clone());
        let manifest = target.read().manifest(&selector).await.map_err(|e| fail(e.into()))?;
        let Document::Index(document) = manifest.parse().map_err(|e| fail(e.into()))? else {
            continue;
        };
        for child in document.manifests {
            let image = index.repository.image(child.digest);
            if found.contains(&image) {
                continue;
            }
            if is_index(&child.media_type) {
                indexes.push(image.clone());
            }
            found.push(image);
            if found.len() > crate::plan::MANIFESTS_MAX {
                return Err(fail(Cause::TooManyManifests));
            }
        }
    }
    Ok(found)
}

fn is_index(stated: &str) -> bool {
    [media_type::OCI_INDEX, media_type::DOCKER_LIST].contains(&media_type::essence(stated))
}

/// Whether the registry refused because the tag may not change.
pub(crate) fn is_immutable(error: &RegistryError) -> bool {
    error.code().is_some_and(|code| IMMUTABLE.contains(&code))
}

fn holds(
    existing: Option<&StoredManifest>,
    image: &ImageId,
    payload: &[u8],
    signer: &Signer,
) -> Result<bool, Error> {
    let Some(existing) = existing else { return Ok(false) };
    signature_image::holds(existing, payload, signer.public_key())
        .map_err(|e| Error::new(Step::ReadSignatures, reference(image), e.into()))
}

async fn find_signatures(
    target: &Destination,
    image: &ImageId,
) -> Result<Option<StoredManifest>, Error> {
    let selector = Selector::Tag(signature_tag(image)?);
    let found = target.read().find_manifest(&selector).await;
    found.map_err(|e| Error::new(Step::ReadSignatures, reference(image), e.into()))
}

fn signature_tag(image: &ImageId) -> Result<Tag, Error> {
    let fail = || Error::new(Step::ReadSignatures, reference(image), Cause::NoSignatureTag);
    Tag::of_signatures(&image.digest).ok_or_else(fail)
}

async fn write(
    target: &Destination,
    tag: Tag,
    signatures: &SignatureImage,
    payload: &[u8],
) -> Result<(), RegistryError> {
    target.push_blob(&signatures.payload, payload).await?;
    target.push_blob(&signatures.config, &signatures.config_bytes).await?;
    let name = Selector::Tag(tag);
    target.push_manifest(&name, &signatures.media_type, &signatures.manifest).await
}
