//! Signing an image where it is, into the places where cosign and the gate look.
//!
//! | format | signed | kept | read by |
//! |---|---|---|---|
//! | [`Format::Legacy`] | a simple-signing payload | in the image under the tag `sha256-<hex>.sig` | cosign 1 to 3, podman, policy controllers |
//! | [`Format::Bundle`] | an in-toto statement | in a manifest that refers to the image | cosign 3 |
//!
//! Both say the same: digest, repository, annotations. Signing again with the same key and
//! annotations adds nothing to either.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use civ_oci::{Descriptor, Document, ImageId, Selector, media_type};
use civ_policy::UtcTime;

use crate::error::{Cause, Error, Step};
use crate::plan::reference;
use crate::referrers::ListedBy;
use crate::registry::Destination;
use crate::signer::Signer;

use bundle::Bundle;
use legacy::Legacy;
pub(crate) use merge::is_immutable;

pub(crate) mod bundle;
mod legacy;
mod merge;
pub(crate) mod referrers_index;
pub(crate) mod signature_image;

/// The longest content that is put into a descriptor as well, in bytes: with that of
/// [`SIGNATURES_MAX`](civ_cosign::signatures::SIGNATURES_MAX) layers, a manifest stays within what
/// registries take.
const INLINE_MAX: usize = 16 << 10;

/// A form of signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A layer of the `.sig` image, as cosign 1 and 2 write it.
    Legacy,
    /// A bundle that refers to the image, as cosign 3 writes it.
    Bundle,
}

/// The forms in which an image is signed: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formats {
    /// Both.
    Both,
    /// One of them.
    Only(Format),
}

/// What a signature says, and in which forms.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The forms.
    pub formats: Formats,
    /// What it says beside the image's digest and repository.
    pub annotations: &'a BTreeMap<String, String>,
    /// When it says that it was made; nothing verifies that. By default, what the clock says.
    pub created: Option<UtcTime>,
}

/// An image that is to be signed.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The image.
    pub image: ImageId,
    /// Its manifest or index, as others refer to it.
    pub descriptor: Descriptor,
}

/// The signatures of an image by one key, as they are or as they were left.
#[derive(Clone, Debug)]
pub struct Signatures {
    /// The image.
    pub image: ImageId,
    /// What became of each form that was asked for.
    pub formats: BTreeMap<Format, State>,
    /// The manifest that holds the bundle.
    pub referrer: Option<Descriptor>,
}

/// What became of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was made now.
    Added,
    /// It cannot be there, for this reason. The other form is.
    LeftOut(Obstacle),
    /// It is not there.
    Missing,
    /// This very signature was there before.
    Present,
}

/// Why an image cannot be signed in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// The list of the image's referrers is under a tag that may not change.
    ImmutableReferrers,
    /// The `.sig` image is there, and its tag may not change.
    ImmutableSignatures,
    /// There is no `.sig` tag for such a digest.
    NoSignatureTag,
    /// The tag for the list of referrers names something else.
    ReferrersTagTaken,
    /// What the `.sig` tag names takes no further signature.
    SignatureTagTaken,
}

impl Formats {
    /// Whether `format` is among them.
    pub fn contains(self, format: Format) -> bool {
        self == Self::Both || self == Self::Only(format)
    }
}

impl Signatures {
    /// Whether there is, or was, something to be made.
    pub fn is_complete(&self) -> bool {
        !self.formats.values().any(|state| matches!(state, State::Missing | State::Added))
    }

    /// Whether something was made.
    pub fn added(&self) -> bool {
        self.formats.values().any(|state| *state == State::Added)
    }

    /// Whether the form is there.
    pub fn has(&self, format: Format) -> bool {
        matches!(self.formats.get(&format), Some(State::Added | State::Present))
    }
}

/// Which of the signatures that [`sign`] would make `subject` carries already. Writes nothing.
pub async fn look(
    target: &Destination,
    subject: &Subject,
    signing: &Signing<'_>,
    signer: &Signer,
) -> Result<Signatures, Error> {
    let legacy = async {
        match Legacy::new(&subject.image, signing.annotations, signer)? {
            None => Ok(State::LeftOut(Obstacle::NoSignatureTag)),
            Some(legacy) => match legacy.is_there(target).await {
                Ok(true) => Ok(State::Present),
                Ok(false) => Ok(State::Missing),
                Err(error) => left_out(error, signing.formats),
            },
        }
    };
    let bundle = async {
        let bundle = Bundle::new(subject, signing.annotations, signer);
        let found = bundle.find(target).await?;
        let state = match (&found.same, &found.listed_by) {
            (Some(_), _) => State::Present,
            (None, ListedBy::Nobody) => State::LeftOut(Obstacle::ReferrersTagTaken),
            (None, _) => State::Missing,
        };
        Ok((state, found.same))
    };
    settle(subject, signing.formats, Box::pin(legacy), Box::pin(bundle)).await
}

/// Signs `subject` in the forms asked for, save those in which it carries this very signature.
///
/// With both forms asked for, one of them may turn out to be impossible in a registry: the other
/// suffices then, and the result says so.
pub async fn sign(
    target: &Destination,
    subject: &Subject,
    signing: &Signing<'_>,
    signer: &Signer,
) -> Result<Signatures, Error> {
    let legacy = async {
        let Some(legacy) = Legacy::new(&subject.image, signing.annotations, signer)? else {
            return Ok(State::LeftOut(Obstacle::NoSignatureTag));
        };
        match legacy.is_there(target).await {
            Ok(true) => return Ok(State::Present),
            Ok(false) => {}
            Err(error) => return left_out(error, signing.formats),
        }
        match legacy.add(target).await {
            Ok(true) => Ok(State::Added),
            Ok(false) => Ok(State::Present),
            Err(error) => left_out(error, signing.formats),
        }
    };
    let bundle = async {
        let bundle = Bundle::new(subject, signing.annotations, signer);
        let found = bundle.find(target).await?;
        if found.same.is_some() {
            return Ok((State::Present, found.same));
        }
        match bundle.add(target, found, signing.created).await {
            Ok(referrer) => Ok((State::Added, Some(referrer))),
            Err(error) => Ok((left_out(error, signing.formats)?, None)),
        }
    };
    settle(subject, signing.formats, Box::pin(legacy), Box::pin(bundle)).await
}

/// The images that `image` is made of: the children of an index, and theirs.
pub async fn children(target: &Destination, image: &ImageId) -> Result<Vec<Subject>, Error> {
    let mut found: Vec<Subject> = Vec::new();
    let mut indexes = vec![image.clone()];
    while let Some(index) = indexes.pop() {
        let fail = |cause| Error::new(Step::ReadManifest, reference(&index), cause);
        let selector = Selector::Digest(index.digest.clone());
        let manifest = target.read().manifest(&selector).await.map_err(|e| fail(e.into()))?;
        let Document::Index(document) = manifest.parse().map_err(|e| fail(e.into()))? else {
            continue;
        };
        for child in document.manifests {
            let subject =
                Subject::new(index.repository.image(child.digest), child.size, &child.media_type);
            if found.iter().any(|known| known.image == subject.image) {
                continue;
            }
            if is_index(&child.media_type) {
                indexes.push(subject.image.clone());
            }
            found.push(subject);
            if found.len() > crate::plan::MANIFESTS_MAX {
                let limit = crate::plan::MANIFESTS_MAX;
                return Err(fail(Cause::TooManyManifests { limit }));
            }
        }
    }
    Ok(found)
}

impl Subject {
    /// `image`, whose manifest has this length in bytes and this type.
    pub fn new(image: ImageId, size: u64, media_type: &str) -> Self {
        let descriptor = Descriptor {
            size,
            digest: image.digest.clone(),
            ..Descriptor::of(media_type::essence(media_type), b"")
        };
        Self { image, descriptor }
    }
}

/// Does both at a time, so far as they are asked for: waiting for one is time for the other.
async fn settle(
    subject: &Subject,
    formats: Formats,
    legacy: impl Future<Output = Result<State, Error>>,
    bundle: impl Future<Output = Result<(State, Option<Descriptor>), Error>>,
) -> Result<Signatures, Error> {
    let (legacy, bundle) = match formats {
        Formats::Both => {
            // Neither is dropped halfway because the other failed.
            let (legacy, bundle) = tokio::join!(legacy, bundle);
            (Some(legacy?), Some(bundle?))
        }
        Formats::Only(Format::Legacy) => (Some(legacy.await?), None),
        Formats::Only(Format::Bundle) => (None, Some(bundle.await?)),
    };
    let (bundle, referrer) = bundle.unzip();
    let states = [(Format::Legacy, legacy), (Format::Bundle, bundle)];
    let states = states.into_iter().filter_map(|(format, state)| Some((format, state?)));
    let signatures = Signatures {
        image: subject.image.clone(),
        formats: states.collect(),
        referrer: referrer.flatten(),
    };
    match obstacle_to_all(&signatures) {
        Some(obstacle) => {
            let at = reference(&subject.image);
            Err(Error::new(Step::WriteSignature, at, Cause::Obstacle(obstacle)))
        }
        None => Ok(signatures),
    }
}

/// Left out is what the other form makes up for.
fn obstacle_to_all(signatures: &Signatures) -> Option<Obstacle> {
    let obstacle = |state: &State| match state {
        State::LeftOut(obstacle) => Some(*obstacle),
        _ => None,
    };
    let obstacles: Option<Vec<_>> = signatures.formats.values().map(obstacle).collect();
    obstacles?.first().copied()
}

/// What the other form can make up for, where both are asked for.
fn left_out(error: Error, formats: Formats) -> Result<State, Error> {
    match *error.cause {
        Cause::Obstacle(obstacle) if formats == Formats::Both => Ok(State::LeftOut(obstacle)),
        Cause::SignatureImage(_) if formats == Formats::Both => {
            Ok(State::LeftOut(Obstacle::SignatureTagTaken))
        }
        _ => Err(error),
    }
}

/// A descriptor of `content`, with the content in it if that is short.
fn with_content(media_type: &str, content: &[u8]) -> Descriptor {
    let data = (content.len() <= INLINE_MAX).then(|| BASE64.encode(content));
    Descriptor { data, ..Descriptor::of(media_type, content) }
}

fn is_index(stated: &str) -> bool {
    [media_type::OCI_INDEX, media_type::DOCKER_LIST].contains(&media_type::essence(stated))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Bundle => "bundle",
        })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ImmutableReferrers => {
                "the registry lists no referrers, and does not let the tag change that lists them"
            }
            Self::ImmutableSignatures => {
                "the registry does not let tags change, so no signature can be added to those there"
            }
            Self::NoSignatureTag => "cosign has no tag for the signatures of a sha512 digest",
            Self::ReferrersTagTaken => {
                "the registry lists no referrers, and the tag for such a list holds something else \
                 (cosign copy puts the image there)"
            }
            Self::SignatureTagTaken => {
                "what the signature tag names takes no further signature (civ tree shows it)"
            }
        })
    }
}
