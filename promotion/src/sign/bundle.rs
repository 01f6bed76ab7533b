//! Adding a bundle that refers to the image: the place of cosign 3.
//!
//! A bundle is a blob in a manifest of its own, which names the image as its subject. Registries
//! list those; for one that does not, the index under the tag `sha256-<hex>` is the list.

use std::collections::BTreeMap;

use civ_cosign::bundle::{self, BUNDLE, BUNDLE_MAX, BUNDLE_PREFIX};
use civ_cosign::dsse::{IN_TOTO, pre_authentication_encoding};
use civ_cosign::intoto::SIGN_PREDICATE;
use civ_cosign::signatures::{
    CREATED_ANNOTATION, PREDICATE_ANNOTATION, REFERRERS_MAX, inline_content,
};
use civ_cosign::{ImageStatement, PublicKey, UntrustedBundle};
use civ_oci::{Descriptor, Digest, Document, Selector, StoredManifest, Tag, media_type};
use civ_policy::UtcTime;
use futures_util::stream::{StreamExt as _, iter};
use serde::Serialize;

use super::merge::{self, Entry, Listing, Rendered};
use super::{Obstacle, Subject, referrers_index, with_content};
use crate::error::{Cause, Error, Step};
use crate::gate::now;
use crate::plan::reference;
use crate::referrers::{self, ListedBy, Referrers};
use crate::registry::{Destination, RegistryError, Source};
use crate::signer::Signer;

/// What the manifest says about its layer.
const CONTENT_ANNOTATION: &str = "dev.sigstore.bundle.content";
const CONTENT: &str = "dsse-envelope";
/// The configuration of an artifact.
const NOTHING: &[u8] = b"{}";
/// Questions asked of a registry at a time.
const QUESTIONS: usize = 8;

/// A bundle for an image, not made yet.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    subject: &'a Subject,
    signer: &'a Signer,
    statement: Vec<u8>,
}

/// What is at the image before a bundle is added.
#[derive(Debug)]
pub(super) struct Found {
    /// The very bundle that would be made.
    pub(super) same: Option<Descriptor>,
    /// The list that a new one goes into.
    pub(super) listed_by: ListedBy,
    /// How many there are.
    count: usize,
}

impl<'a> Bundle<'a> {
    pub(super) fn new(
        subject: &'a Subject,
        annotations: &BTreeMap<String, String>,
        signer: &'a Signer,
    ) -> Self {
        let statement = ImageStatement::new(&subject.image, annotations).to_bytes();
        Self { subject, signer, statement }
    }

    /// Looks whether this very bundle is there: the same statement, signed by the same key. What
    /// cannot be read as a bundle is not it.
    pub(super) async fn find(&self, target: &Destination) -> Result<Found, Error> {
        let fail = |error: RegistryError| {
            Error::new(Step::ReadSignatures, reference(&self.subject.image), error.into())
        };
        let listed = referrers::list(target.read(), &self.subject.image.digest).await;
        let Referrers { mut list, from } = listed.map_err(fail)?;
        list.retain(may_be_signature);
        let count = list.len();
        list.sort_by_cached_key(|one| {
            std::cmp::Reverse(one.annotations.get(CREATED_ANNOTATION).cloned())
        });
        list.truncate(REFERRERS_MAX);
        let questions = iter(list).map(|candidate| async {
            let read = read(target.read(), &candidate).await;
            read.map(|bundle| {
                bundle.is_some_and(|bundle| self.is_same(&bundle)).then_some(candidate)
            })
        });
        let mut answers = questions.buffered(QUESTIONS);
        while let Some(answer) = answers.next().await {
            if let Some(same) = answer.map_err(fail)? {
                return Ok(Found { same: Some(same), listed_by: from, count });
            }
        }
        Ok(Found { same: None, listed_by: from, count })
    }

    fn is_same(&self, bundle: &UntrustedBundle) -> bool {
        let signed = pre_authentication_encoding(IN_TOTO, &self.statement);
        bundle.payload == self.statement
            && self.signer.public_key().verify_signature(&signed, &bundle.signature).is_ok()
    }

    /// Signs, writes the bundle, and sees to it that it is listed. Its manifest.
    pub(super) async fn add(
        &self,
        target: &Destination,
        found: Found,
        created: Option<UtcTime>,
    ) -> Result<Descriptor, Error> {
        let fail = |step| move |cause| Error::new(step, reference(&self.subject.image), cause);
        let refuse = fail(Step::WriteSignature);
        if found.count >= REFERRERS_MAX {
            return Err(refuse(Cause::TooManyReferrers { limit: REFERRERS_MAX }));
        }
        let created = created.map_or_else(now, Ok).map_err(fail(Step::Sign))?;
        let signed = pre_authentication_encoding(IN_TOTO, &self.statement);
        let signature = self.signer.sign(&signed).await.map_err(|e| fail(Step::Sign)(e.into()))?;
        let manifest = Manifest::of(
            self.subject,
            self.signer.public_key(),
            &self.statement,
            &signature,
            created,
        );
        self.write(target, manifest, found.listed_by).await.map_err(refuse)
    }

    async fn write(
        &self,
        target: &Destination,
        (manifest, bundle): (Manifest<'_>, Vec<u8>),
        listed_by: ListedBy,
    ) -> Result<Descriptor, Cause> {
        if let ListedBy::Nobody = listed_by {
            return Err(Obstacle::ReferrersTagTaken.into());
        }
        let bytes = serde_json::to_vec(&manifest).map_err(|_| Cause::Internal)?;
        target.push_blob(&Descriptor::of(media_type::EMPTY, NOTHING), NOTHING).await?;
        target.push_blob(&Descriptor::of(BUNDLE, &bundle), &bundle).await?;
        let mut referrer = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        let listed = target.push_referrer(&referrer, &bytes).await?;
        referrer.artifact_type = Some(BUNDLE.to_owned());
        referrer.annotations = manifest.annotations;
        if !listed && matches!(listed_by, ListedBy::Tag) {
            self.list(target, &referrer).await?;
        }
        Ok(referrer)
    }

    async fn list(&self, target: &Destination, referrer: &Descriptor) -> Result<(), Cause> {
        let subject = &self.subject.image.digest;
        let ours = referrers_index::entry(referrer)?;
        let index = Index { tag: Tag::of_referrers(subject), subject, ours };
        match merge::add(target, &index).await {
            Err(Cause::Registry(error)) if merge::is_immutable(&error) => {
                Err(Obstacle::ImmutableReferrers.into())
            }
            outcome => outcome.map(|_| ()),
        }
    }
}

/// Whether a list says nothing against `referrer`'s being a bundle with a signature of the image.
pub(crate) fn may_be_signature(referrer: &Descriptor) -> bool {
    let artifact_type = referrer.artifact_type.as_deref().unwrap_or_default();
    let predicate = referrer.annotations.get(PREDICATE_ANNOTATION);
    artifact_type.starts_with(BUNDLE_PREFIX)
        && predicate.is_none_or(|predicate| predicate == SIGN_PREDICATE)
}

/// The bundle in `referrer`, if there is one that can be read.
async fn read(
    source: &Source,
    referrer: &Descriptor,
) -> Result<Option<UntrustedBundle>, RegistryError> {
    let read = async {
        let selector = Selector::Digest(referrer.digest.clone());
        let Document::Manifest(manifest) = source.manifest(&selector).await?.parse()? else {
            return Ok(None);
        };
        let bytes = match manifest.layers.as_slice() {
            [layer] if layer.media_type.starts_with(BUNDLE_PREFIX) => {
                content(source, layer, BUNDLE_MAX).await?
            }
            _ => return Ok(None),
        };
        Ok(UntrustedBundle::parse(&bytes).ok())
    };
    match read.await {
        Err(error) if is_about_content(&error) => Ok(None),
        outcome => outcome,
    }
}

/// The content of a layer: inline, or as a blob of at most `limit` bytes.
pub(crate) async fn content(
    source: &Source,
    layer: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, RegistryError> {
    match inline_content(layer, limit) {
        Some(inline) => Ok(inline),
        None if layer.size > limit => Err(RegistryError::TooLong { limit }),
        None => source.blob_bytes(&layer.digest, limit).await,
    }
}

/// Whether what is stored is wrong, and not the registry.
pub(crate) fn is_about_content(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Answer { status: 404, .. }
            | RegistryError::BadContent(_)
            | RegistryError::Document(_)
            | RegistryError::TooLong { .. }
    )
}

/// The index that lists the bundle.
struct Index<'a> {
    tag: Tag,
    subject: &'a Digest,
    ours: Entry,
}

impl Listing for Index<'_> {
    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn ours(&self) -> &Entry {
        &self.ours
    }

    fn is_ours(&self, entry: &Entry) -> bool {
        entry.key == self.ours.key
    }

    fn entries(&self, stored: &StoredManifest) -> Result<Vec<Entry>, Cause> {
        Ok(referrers_index::entries(stored, self.subject)?)
    }

    fn render(&self, base: Option<&StoredManifest>, entries: &[Entry]) -> Result<Rendered, Cause> {
        Ok(referrers_index::render(base, self.subject, entries)?)
    }

    fn names(&self, entry: &Entry) -> Option<Digest> {
        referrers_index::describe(&entry.text).map(|referrer| referrer.digest)
    }
}

/// The manifest, as cosign writes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: BTreeMap<String, String>,
    subject: &'a Descriptor,
    artifact_type: &'a str,
}

impl<'a> Manifest<'a> {
    /// With the bundle in it.
    fn of(
        subject: &'a Subject,
        key: &PublicKey,
        statement: &[u8],
        signature: &[u8],
        created: UtcTime,
    ) -> (Self, Vec<u8>) {
        let bundle = bundle::to_bytes(key, statement, signature);
        let config = Descriptor {
            artifact_type: Some(BUNDLE.to_owned()),
            ..Descriptor::of(media_type::EMPTY, NOTHING)
        };
        let annotations = [
            (CONTENT_ANNOTATION, CONTENT.to_owned()),
            (PREDICATE_ANNOTATION, SIGN_PREDICATE.to_owned()),
            (CREATED_ANNOTATION, created.to_string()),
        ];
        let manifest = Self {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST,
            config,
            layers: [with_content(BUNDLE, &bundle)],
            annotations: annotations.map(|(key, value)| (key.to_owned(), value)).into(),
            subject: &subject.descriptor,
            artifact_type: BUNDLE,
        };
        (manifest, bundle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::LocalKey;

    #[test]
    fn writes_the_manifest_that_cosign_writes_and_the_bundle_beside_it() {
        let key = LocalKey::from_pem(include_bytes!("../../tests/data/p256.pem")).unwrap();
        let repository: civ_oci::Repository = "r.io/team/app".parse().unwrap();
        let descriptor = Descriptor::of(media_type::OCI_INDEX, b"");
        let image = repository.image(descriptor.digest.clone());
        let subject = Subject { image, descriptor };
        let created = "2026-11-21T08:00:00Z".parse().unwrap();
        let (manifest, bundle) = Manifest::of(&subject, key.public_key(), b"s", b"x", created);
        let layer = with_content(BUNDLE, &bundle);
        let (size, digest, data) = (layer.size, layer.digest, layer.data.unwrap());
        assert_eq!(
            serde_json::to_string(&manifest).unwrap(),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"}},"layers":[{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","size":{size},"digest":"{digest}","data":"{data}"}}],"annotations":{{"dev.sigstore.bundle.content":"dsse-envelope","dev.sigstore.bundle.predicateType":"https://sigstore.dev/cosign/sign/v1","org.opencontainers.image.created":"2026-11-21T08:00:00Z"}},"subject":{{"mediaType":"application/vnd.oci.image.index.v1+json","size":0,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"}}"#
            )
        );
    }
}
