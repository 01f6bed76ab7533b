//! What is attached to an image: under the tags that cosign makes of its digest, and as referrers.
//!
//! Everything here is what somebody who may push has put there. What a signature says is worth
//! something only if one of the keys asked about has made it, and [`FoundSigner`] says so.

use civ_cosign::bundle::BUNDLE_PREFIX;
use civ_cosign::signatures::{CREATED_ANNOTATION, PREDICATE_ANNOTATION};
use civ_oci::{Descriptor, Digest, Document, ImageId, Selector, StoredManifest, Tag, media_type};
use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};

pub use self::clean::{Wanted, clean};
pub use self::signatures::{FoundSignature, FoundSigner, NamedKey, Said};

use crate::error::{Error, Step};
use crate::plan::reference;
use crate::referrers::{self, ListedBy};
use crate::registry::{Client, RegistryError, Source};
use crate::sign::bundle;

mod clean;
mod signatures;

/// Questions asked of a registry at a time.
const QUESTIONS: usize = 8;
/// The most referrers that are read.
const REFERRERS_READ_MAX: usize = 1_000;

/// What is attached to an image.
#[derive(Debug)]
pub struct Attached {
    /// The image.
    pub image: ImageId,
    /// What is attached, tags first.
    pub attachments: Vec<Attachment>,
    /// How many more referrers there are than are read.
    pub left_out: usize,
    listed_by: ListedBy,
}

/// Something that is attached to an image.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The tag that it is under; a referrer has none.
    pub tag: Option<Tag>,
    /// The digest of its manifest.
    pub digest: Digest,
    /// What it is.
    pub kind: AttachmentKind,
    /// What it says that it is: of the manifest's artifact type, or its configuration's type.
    pub untrusted_type: String,
    /// When it says that it was made.
    pub untrusted_created: Option<String>,
    /// The signatures of the image in it.
    pub signatures: Vec<FoundSignature>,
    /// What is wrong with it.
    pub problem: Option<Problem>,
    /// Whether its manifest is known to be of a kind that nobody runs, and for a referrer, to refer
    /// to the image: only then is it ever deleted by its digest.
    is_expendable: bool,
}

/// What is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentKind {
    /// A statement about the image.
    Attestation,
    /// Something else.
    Other,
    /// A list of what the image is made of.
    Sbom,
    /// A signature of the image.
    Signature,
}

/// What is wrong with something that is attached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is listed, and not there.
    #[error("it is listed and not there")]
    Gone,
    /// It is an image that can be run.
    #[error("it is an image, not something attached to one")]
    Image,
    /// It does not say that it refers to the image.
    #[error("it is listed and does not refer to the image")]
    NoReferrer,
    /// It cannot be read.
    #[error("it cannot be read: {why}")]
    Unreadable {
        /// Why.
        why: String,
    },
}

/// Finds what is attached to `image`, and who signed it, so far as `keys` tell.
pub async fn find(client: &Client, image: &ImageId, keys: &[NamedKey]) -> Result<Attached, Error> {
    let source = client.source(&image.repository);
    let fail = |error: RegistryError| Error::new(Step::List, reference(image), error.into());
    let mut attachments = Vec::new();
    for (suffix, kind) in [
        ("sig", AttachmentKind::Signature),
        ("att", AttachmentKind::Attestation),
        ("sbom", AttachmentKind::Sbom),
    ] {
        let Ok(tag) = format!("{}.{suffix}", image.digest.as_tag_stem()).parse::<Tag>() else {
            continue;
        };
        let found = source.find_manifest(&Selector::Tag(tag.clone())).await.map_err(fail)?;
        if let Some(stored) = found {
            let mut attachment = Attachment::of(&stored, kind);
            attachment.tag = Some(tag);
            attachment.read(&source, image, &stored, keys).await.map_err(fail)?;
            attachments.push(attachment);
        }
    }
    let mut listed = referrers::list(&source, &image.digest).await.map_err(fail)?;
    let left_out = listed.list.len().saturating_sub(REFERRERS_READ_MAX);
    listed.list.truncate(REFERRERS_READ_MAX);
    let questions =
        iter(&listed.list).map(|referrer| read_referrer(&source, image, referrer, keys));
    let referrers: Vec<_> = questions.buffered(QUESTIONS).try_collect().await.map_err(fail)?;
    attachments.extend(referrers);
    Ok(Attached { image: image.clone(), attachments, left_out, listed_by: listed.from })
}

impl Attached {
    /// Who keeps the list of referrers, in a word: the registry, a tag, or nobody, because the
    /// image itself or something else has that tag.
    pub fn referrers_listed_by(&self) -> &'static str {
        match self.listed_by {
            ListedBy::Registry => "registry",
            ListedBy::Tag => "tag",
            ListedBy::Nobody => "nobody",
        }
    }
}

async fn read_referrer(
    source: &Source,
    image: &ImageId,
    referrer: &Descriptor,
    keys: &[NamedKey],
) -> Result<Attachment, RegistryError> {
    let selector = Selector::Digest(referrer.digest.clone());
    let stored = match source.find_manifest(&selector).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Ok(Attachment::unread(referrer, Problem::Gone)),
        Err(error) if bundle::is_about_content(&error) => {
            return Ok(Attachment::unread(referrer, Problem::unreadable(&error)));
        }
        Err(error) => return Err(error),
    };
    let mut attachment = Attachment::of(&stored, AttachmentKind::Other);
    attachment.read(source, image, &stored, keys).await?;
    Ok(attachment)
}

impl Attachment {
    fn of(stored: &StoredManifest, kind: AttachmentKind) -> Self {
        Self {
            tag: None,
            digest: stored.digest.clone(),
            kind,
            untrusted_type: String::new(),
            untrusted_created: None,
            signatures: Vec::new(),
            problem: None,
            is_expendable: false,
        }
    }

    fn unread(referrer: &Descriptor, problem: Problem) -> Self {
        Self {
            tag: None,
            digest: referrer.digest.clone(),
            kind: AttachmentKind::Other,
            untrusted_type: referrer.artifact_type.clone().unwrap_or_default(),
            untrusted_created: None,
            signatures: Vec::new(),
            is_expendable: problem == Problem::Gone,
            problem: Some(problem),
        }
    }

    /// Looks into the manifest.
    async fn read(
        &mut self,
        source: &Source,
        image: &ImageId,
        stored: &StoredManifest,
        keys: &[NamedKey],
    ) -> Result<(), RegistryError> {
        let document = match stored.parse() {
            Ok(document) => document,
            Err(error) => {
                self.problem = Some(Problem::unreadable(&error));
                return Ok(());
            }
        };
        let (subject, annotations) = match &document {
            Document::Manifest(manifest) => (&manifest.subject, &manifest.annotations),
            Document::Index(index) => (&index.subject, &index.annotations),
        };
        self.untrusted_created = annotations.get(CREATED_ANNOTATION).cloned();
        if is_image(&document) {
            self.problem = Some(Problem::Image);
        }
        let refers = subject.as_ref().is_some_and(|subject| subject.digest == image.digest);
        if self.tag.is_none() && !refers {
            self.problem = Some(Problem::NoReferrer);
        }
        self.is_expendable = self.problem.is_none() && self.digest != image.digest;
        let Document::Manifest(manifest) = document else { return Ok(()) };
        let config_type = &manifest.config.media_type;
        self.untrusted_type = manifest.artifact_type.clone().unwrap_or_else(|| config_type.clone());
        if self.tag.is_none() {
            let predicate = manifest.annotations.get(PREDICATE_ANNOTATION);
            self.kind = kind_of(&self.untrusted_type, predicate.map(String::as_str));
        }
        let has_signatures_only = !manifest.layers.is_empty()
            && manifest.layers.iter().all(|layer| layer.media_type == media_type::SIMPLE_SIGNING);
        if self.kind == AttachmentKind::Signature && self.problem.is_none() {
            match signatures::read(source, image, &manifest.layers, keys).await {
                Ok(signatures) => self.signatures = signatures,
                Err(error) if bundle::is_about_content(&error) => {
                    self.problem = Some(Problem::unreadable(&error));
                }
                Err(error) => return Err(error),
            }
        }
        if self.tag.is_some() {
            // Anybody who may push can put such a tag on anything: another image's signatures, a
            // chart, a bill of materials that two images share.
            let is_about_image =
                |one: &FoundSignature| one.said.as_ref().is_some_and(|said| said.is_about_image);
            self.is_expendable &= has_signatures_only
                && self.signatures.len() == manifest.layers.len()
                && self.signatures.iter().all(is_about_image);
        }
        Ok(())
    }
}

/// What a referrer is, going by what it says.
fn kind_of(artifact_type: &str, predicate: Option<&str>) -> AttachmentKind {
    if artifact_type == media_type::SIGNATURE_ARTIFACT {
        AttachmentKind::Signature
    } else if artifact_type.starts_with(BUNDLE_PREFIX) {
        match predicate {
            None | Some(civ_cosign::intoto::SIGN_PREDICATE) => AttachmentKind::Signature,
            Some(_) => AttachmentKind::Attestation,
        }
    } else if ["spdx", "cyclonedx", "sbom"].iter().any(|word| artifact_type.contains(word)) {
        AttachmentKind::Sbom
    } else if artifact_type.contains("in-toto") {
        AttachmentKind::Attestation
    } else {
        AttachmentKind::Other
    }
}

/// Whether `document` is something that runs: an index of manifests, or a manifest with layers of
/// files. Nothing here ever deletes such a thing by its digest.
fn is_image(document: &Document) -> bool {
    match document {
        Document::Index(_) => true,
        Document::Manifest(manifest) => manifest.layers.iter().any(|layer| {
            layer.media_type.starts_with("application/vnd.oci.image.layer.")
                || layer.media_type.starts_with("application/vnd.docker.image.rootfs.")
        }),
    }
}

impl Problem {
    fn unreadable(error: &impl std::fmt::Display) -> Self {
        Self::Unreadable { why: error.to_string() }
    }
}

impl std::fmt::Display for AttachmentKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Attestation => "attestation",
            Self::Other => "other",
            Self::Sbom => "sbom",
            Self::Signature => "signature",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_a_referrer_is() {
        let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
        for (artifact_type, predicate, kind) in [
            (bundle, None, AttachmentKind::Signature),
            (bundle, Some("https://sigstore.dev/cosign/sign/v1"), AttachmentKind::Signature),
            (bundle, Some("https://slsa.dev/provenance/v1"), AttachmentKind::Attestation),
            (media_type::SIGNATURE_ARTIFACT, None, AttachmentKind::Signature),
            ("application/spdx+json", None, AttachmentKind::Sbom),
            ("application/vnd.cyclonedx+json", None, AttachmentKind::Sbom),
            ("application/vnd.in-toto+json", None, AttachmentKind::Attestation),
            ("application/vnd.cncf.notary.signature", None, AttachmentKind::Other),
            ("", None, AttachmentKind::Other),
        ] {
            assert_eq!(kind_of(artifact_type, predicate), kind, "{artifact_type} {predicate:?}");
        }
    }
}
