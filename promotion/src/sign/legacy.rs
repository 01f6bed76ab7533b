//! Adding to the `.sig` image: the place of cosign 1 and 2, which every other verifier knows too.

use std::collections::BTreeMap;

use civ_cosign::SimpleSigning;
use civ_cosign::signatures::PAYLOAD_MAX;
use civ_oci::{Descriptor, Digest, ImageId, Selector, StoredManifest, Tag, media_type};

use super::merge::{self, Entry, Listing, Rendered};
use super::{Obstacle, signature_image};
use crate::error::{Cause, Error, Step};
use crate::plan::reference;
use crate::registry::{Destination, RegistryError};
use crate::signer::Signer;

/// A signature for the `.sig` image of an image, not made yet.
#[derive(Debug)]
pub(super) struct Legacy<'a> {
    image: &'a ImageId,
    signer: &'a Signer,
    tag: Tag,
    payload: Vec<u8>,
}

impl<'a> Legacy<'a> {
    /// `None` where the image's digest has no such tag.
    pub(super) fn new(
        image: &'a ImageId,
        annotations: &BTreeMap<String, String>,
        signer: &'a Signer,
    ) -> Result<Option<Self>, Error> {
        let payload = SimpleSigning::new(image, annotations).to_bytes();
        if payload.len() as u64 > PAYLOAD_MAX {
            let cause = Cause::PayloadTooLarge { limit: PAYLOAD_MAX };
            return Err(Error::new(Step::Sign, reference(image), cause));
        }
        let tag = Tag::of_signatures(&image.digest);
        Ok(tag.map(|tag| Self { image, signer, tag, payload }))
    }

    /// Whether this very signature is there.
    pub(super) async fn is_there(&self, target: &Destination) -> Result<bool, Error> {
        let fail = |cause| Error::new(Step::ReadSignatures, reference(self.image), cause);
        let found = target.read().find_manifest(&Selector::Tag(self.tag.clone())).await;
        let Some(found) = found.map_err(|e| fail(e.into()))? else { return Ok(false) };
        let key = self.signer.public_key();
        signature_image::holds(&found, &self.payload, key).map_err(|e| fail(e.into()))
    }

    /// Signs, and adds the signature to those that are there.
    pub(super) async fn add(&self, target: &Destination) -> Result<bool, Error> {
        let fail = |step| move |cause| Error::new(step, reference(self.image), cause);
        let signature = self.signer.sign(&self.payload).await;
        let signature = signature.map_err(|e| fail(Step::Sign)(e.into()))?;
        let ours = signature_image::layer(&self.payload, &signature)
            .map_err(|e| fail(Step::WriteSignature)(e.into()))?;
        let payload = Descriptor::of(media_type::SIMPLE_SIGNING, &self.payload);
        let pushed = target.push_blob(&payload, &self.payload).await;
        pushed.map_err(|e| fail(Step::WriteSignature)(e.into()))?;
        let layers = Layers { legacy: self, ours };
        merge::add(target, &layers).await.map_err(|cause| {
            fail(Step::WriteSignature)(match cause {
                Cause::Registry(error) => written(error),
                cause => cause,
            })
        })
    }
}

fn written(error: RegistryError) -> Cause {
    if merge::is_immutable(&error) { Obstacle::ImmutableSignatures.into() } else { error.into() }
}

/// The layers of the `.sig` image.
struct Layers<'a> {
    legacy: &'a Legacy<'a>,
    ours: Entry,
}

impl Listing for Layers<'_> {
    fn tag(&self) -> &Tag {
        &self.legacy.tag
    }

    fn ours(&self) -> &Entry {
        &self.ours
    }

    fn is_ours(&self, entry: &Entry) -> bool {
        let Legacy { payload, signer, .. } = self.legacy;
        signature_image::is_signature(&entry.text, payload, signer.public_key())
    }

    fn entries(&self, stored: &StoredManifest) -> Result<Vec<Entry>, Cause> {
        Ok(signature_image::layers(stored)?)
    }

    fn render(&self, base: Option<&StoredManifest>, entries: &[Entry]) -> Result<Rendered, Cause> {
        Ok(signature_image::render(base, entries)?)
    }

    fn names(&self, _: &Entry) -> Option<Digest> {
        None
    }
}
