//! What failed, where, why, and what to do about it.

use std::fmt;

use civ_cosign::{TrustPolicyError, VerifyError};
use civ_oci::{Digest, DocumentError, Reference};
use civ_policy::NoStatement;

use crate::gate::{self, GateError};
use crate::registry::RegistryError;
use crate::sign::Obstacle;
use crate::sign::referrers_index::ReferrersIndexError;
use crate::sign::signature_image::SignatureImageError;
use crate::signer::SignerError;

/// A step that failed. Displayed on one line: what, where, why.
#[derive(Debug, thiserror::Error)]
#[error("{step} at {at}: {cause}")]
pub struct Error {
    /// What was being done.
    pub step: Step,
    /// Where.
    pub at: Box<Reference>,
    /// Why it failed.
    #[source]
    pub cause: Box<Cause>,
}

/// What was being done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Reading a signature that was made, as the gate will.
    Ask,
    /// Comparing the destination with the source.
    Compare,
    /// Deleting something that is attached to an image.
    Delete,
    /// Asking what the gate says.
    Judge,
    /// Finding what is attached to an image.
    List,
    /// Preparing connections.
    Prepare,
    /// Reading a blob of the source.
    ReadBlob(Digest),
    /// Reading a manifest of the source.
    ReadManifest,
    /// Reading the signatures that are there.
    ReadSignatures,
    /// Finding the image that a reference names.
    Resolve,
    /// Making a signature.
    Sign,
    /// Setting the destination's tag.
    Tag,
    /// Checking the signature as the gate will.
    Verify,
    /// Writing a blob to the destination.
    WriteBlob(Digest),
    /// Writing a manifest.
    WriteManifest,
    /// Writing a signature.
    WriteSignature,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask => f.write_str("signed, but cannot make sure that the gate accepts it"),
            Self::Compare => f.write_str("cannot look at the destination"),
            Self::Delete => f.write_str("cannot delete"),
            Self::List => f.write_str("cannot list what is attached"),
            Self::Judge => f.write_str("refused"),
            Self::Prepare => f.write_str("cannot begin"),
            Self::ReadBlob(digest) => write!(f, "cannot read blob {digest}"),
            Self::ReadManifest => f.write_str("cannot read the manifest"),
            Self::ReadSignatures => f.write_str("cannot read the signatures"),
            Self::Resolve => f.write_str("cannot find the image"),
            Self::Sign => f.write_str("cannot sign"),
            Self::Tag => f.write_str("cannot set the tag"),
            Self::Verify => f.write_str("signed, and the gate would refuse it"),
            Self::WriteBlob(digest) => write!(f, "cannot write blob {digest}"),
            Self::WriteManifest => f.write_str("cannot write the manifest"),
            Self::WriteSignature => f.write_str("cannot write the signature"),
        }
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// No time can be had.
    #[error("this machine's clock says a year before 1970 or after 9999; set it")]
    Clock,
    /// The destination was not given a tag to publish under.
    #[error("the destination needs a tag and no digest")]
    DestinationNeedsTag,
    /// The document is no manifest or index.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The gate's own code does not accept what was signed.
    #[error(transparent)]
    Gate(#[from] Box<GateError>),
    /// The tag cannot be changed, and names another image.
    #[error("the registry does not let tags change, and this one names another image")]
    ImmutableTag,
    /// A task of ours did not end as it should.
    #[error("an internal task failed")]
    Internal,
    /// An index whose child is not there.
    #[error("the index {index} lists it, and the registry does not have it")]
    MissingChild {
        /// The index.
        index: Digest,
    },
    /// More annotations than the gate would read.
    #[error(
        "the annotations make a payload of more than {limit} bytes, which verifiers do not read"
    )]
    PayloadTooLarge {
        /// The most there may be.
        limit: u64,
    },
    /// The policy does not speak of the repository.
    #[error(transparent)]
    NoStatement(#[from] NoStatement),
    /// There is no verifier yet for documents of that kind.
    #[error("this version has no {kind}-image-verifier to ask")]
    NoVerifier {
        /// The kind.
        kind: civ_authoring::Kind,
    },
    /// A reference with neither tag nor digest.
    #[error("the reference has neither a tag nor a digest")]
    NoTagOrDigest,
    /// Every form of signature that was asked for is impossible.
    #[error("{0}")]
    Obstacle(Obstacle),
    /// The policy made for the check is not accepted.
    #[error(transparent)]
    Policy(#[from] Box<TrustPolicyError>),
    /// The list of referrers.
    #[error(transparent)]
    ReferrersIndex(#[from] ReferrersIndexError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Other signers write at the same time, again and again.
    #[error("other signers keep writing at the same time")]
    SignatureLost,
    /// The image of signatures.
    #[error(transparent)]
    SignatureImage(#[from] SignatureImageError),
    /// The key.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The registry says that there is nothing to delete, and there is.
    #[error("the registry answers that there is no such tag, and goes on to serve it")]
    StillThere,
    /// Deeper than any real image.
    #[error("limit reached: indexes within indexes, more than {limit} levels deep")]
    TooDeep {
        /// The most levels.
        limit: usize,
    },
    /// More than any real image.
    #[error("limit reached: the image is made of more than {limit} manifests")]
    TooManyManifests {
        /// The most manifests.
        limit: usize,
    },
    /// More than any real image.
    #[error("limit reached: the image's manifests have more than {limit} bytes together")]
    TooManyBytes {
        /// The most bytes.
        limit: usize,
    },
    /// The gate would not look at one more.
    #[error("{limit} bundles refer to the image already, and verifiers look at no more")]
    TooManyReferrers {
        /// The most there may be.
        limit: usize,
    },
    /// The registry deletes nothing.
    #[error("the registry does not delete this: {0}")]
    Undeletable(RegistryError),
    /// A blob with two lengths.
    #[error("blob {digest} is named with two different sizes")]
    TwoSizes {
        /// The blob.
        digest: Digest,
    },
}

/// What kind of failure it is, for whoever has to choose an exit code or an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A defect of civ's.
    Internal,
    /// The key or the policy.
    Key,
    /// The gate's check refused.
    Refused,
    /// A registry or the network.
    Registry,
    /// What was asked for makes no sense.
    Usage,
}

impl From<Obstacle> for Cause {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

impl Error {
    pub(crate) fn new(step: Step, at: Reference, cause: Cause) -> Self {
        Self { step, at: Box::new(at), cause: Box::new(cause) }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match &*self.cause {
            Cause::Internal | Cause::Clock => Kind::Internal,
            Cause::Signer(error) if error.is_about_service() => Kind::Registry,
            Cause::Signer(_) | Cause::Policy(_) => Kind::Key,
            Cause::Gate(error) if !matches!(**error, VerifyError::Registry(_)) => Kind::Refused,
            Cause::NoStatement(_) => Kind::Refused,
            Cause::NoTagOrDigest
            | Cause::DestinationNeedsTag
            | Cause::NoVerifier { .. }
            | Cause::Obstacle(Obstacle::NoSignatureTag)
            | Cause::PayloadTooLarge { .. } => Kind::Usage,
            _ => Kind::Registry,
        }
    }

    /// Whether it is the source of a copy that fails.
    fn reads_source(&self) -> bool {
        matches!(self.step, Step::ReadBlob(_) | Step::ReadManifest | Step::Resolve)
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match &*self.cause {
            Cause::Registry(error) if error.status() == Some(404) && self.step == Step::Resolve => {
                Some("check the repository and the tag or digest")
            }
            Cause::Registry(error) if error.status() == Some(404) && self.reads_source() => {
                Some("push the image to that registry again: it has lost a part of it")
            }
            Cause::Registry(RegistryError::Answer { status: 403, .. }) if self.reads_source() => {
                Some("ask for permission to pull from that repository")
            }
            Cause::Registry(error) => error.hint(),
            Cause::Document(DocumentError::SchemaOne | DocumentError::SchemaVersion { .. }) => {
                Some("push the image again with a current tool")
            }
            Cause::MissingChild { .. } => Some(
                "the index is incomplete: copy it there with all platforms, or promote one platform by its digest",
            ),
            Cause::TooDeep { .. } | Cause::TooManyManifests { .. } | Cause::TooManyBytes { .. } => {
                Some("promote the platforms that you need by their digests")
            }
            Cause::TwoSizes { .. } => {
                Some("the manifest is wrong: build the image and push it again")
            }
            Cause::Signer(error) => error.hint(),
            Cause::Gate(error) => match &**error {
                VerifyError::Registry(error) if gate::may_pass(error) => {
                    Some("run the same command again later")
                }
                _ => None,
            },
            Cause::ImmutableTag => {
                Some("choose another tag; the image is there and signed, by digest")
            }
            Cause::Obstacle(Obstacle::ImmutableReferrers | Obstacle::ImmutableSignatures) => Some(
                "let tags sha256-* change (ECR: IMMUTABLE_WITH_EXCLUSION with the filter sha256-*)",
            ),
            Cause::Obstacle(Obstacle::ReferrersTagTaken) => {
                Some("sign with --format legacy, or delete that tag")
            }
            Cause::TooManyReferrers { .. } => Some("delete old ones: civ tree, civ clean"),
            Cause::Undeletable(_) => Some(
                "let it (docker-registry: storage.delete.enabled), or delete it with the registry's \
                 own tools",
            ),
            Cause::NoTagOrDigest => Some("name one, such as :1.0 or @sha256:…"),
            Cause::DestinationNeedsTag => Some("name it as registry/repository:tag"),
            Cause::SignatureImage(_) => Some(
                "look at it with civ tree; deleting the tag sha256-….sig removes everybody's signatures there",
            ),
            _ => None,
        }
    }
}
