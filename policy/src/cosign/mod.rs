//! The document of `cosign-image-verifier`: whose signatures a repository's images need.
//!
//! The shape is the Notary Project's trust policy. See the README for an example.
//!
//! | module | what it holds |
//! |---|---|
//! | [`identity`] | [`SignedIdentity`]: which repository a signature may name |
//! | `document` | the document as it is written, and what makes it valid |

mod document;
pub mod identity;

use std::collections::BTreeMap;

use civ_oci::{ImageId, Repository, strict_json};

use self::document::Untrusted;
use crate::error::check_version;
use crate::transparency::Requirements;
use crate::{Exempt, KmsCache, KmsKeyRef, Level, NoStatement, PolicyError, Statements, UtcTime};

pub use identity::SignedIdentity;

/// A parsed and validated document. Whether its public keys are usable is for the cosign library to
/// say, which knows algorithms; this crate links no cryptography.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Statements<Statement>,
    kms_cache: KmsCache,
}

/// What is asked of the images of some repositories.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement's name, unique in its document.
    pub name: String,
    /// What a failed check leads to.
    pub level: Level,
    /// The keys that count. Empty only at level `skip`.
    pub keys: Vec<Key>,
    /// How many distinct keys must have signed: at least one, at most all.
    pub threshold: usize,
    /// Annotations that one signature must carry, all of them.
    pub annotations: BTreeMap<String, String>,
    /// Which repository a signature may name.
    pub signed_identity: SignedIdentity,
    /// Where the signatures are, if not beside the image (`COSIGN_REPOSITORY`).
    pub signature_repository: Option<Repository>,
    /// What each signature must bear beside.
    pub requirements: Requirements,
}

/// A key that may sign.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key's name, unique in its statement; operators see it in reasons.
    pub name: String,
    /// The KMS key, as far as it is named. Without a public key, it is named by an ARN.
    pub kms: Option<KmsKeyRef>,
    /// The public key in PEM, as far as it is pinned. It counts whatever `kms` says.
    pub public_key: Option<String>,
    /// When its signatures count.
    pub validity: Validity,
}

/// When a key's signatures count: for rotations that are planned. Without limits, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// Not before this moment.
    pub after: Option<UtcTime>,
    /// Only before this moment.
    pub before: Option<UtcTime>,
}

impl Validity {
    /// Does a signature count at `time`?
    pub fn contains(&self, time: UtcTime) -> bool {
        self.after.is_none_or(|after| after <= time) && self.before.is_none_or(|end| time < end)
    }
}

impl Policy {
    /// Parses and validates a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let document: Untrusted = strict_json::from_slice(bytes)?;
        check_version(&document.version)?;
        let statements = Statements::validate(document.trust_policies)?;
        let kms_cache = document.kms_cache.unwrap_or_default().validate()?;
        Ok(Self { statements, kms_cache })
    }

    /// The statement whose scope describes `image`'s repository most closely.
    pub fn statement_for(&self, image: &ImageId) -> Result<&Statement, NoStatement> {
        self.statements.find(&image.repository)
    }

    /// How long what KMS says of a key that is not pinned is used.
    pub fn kms_cache(&self) -> KmsCache {
        self.kms_cache
    }

    /// All statements.
    pub fn statements(&self) -> &Statements<Statement> {
        &self.statements
    }
}

impl Statement {
    /// The proof that `image` need not be checked, if this statement says so.
    pub fn exempt(&self, image: &ImageId) -> Option<Exempt> {
        (self.level == Level::Skip).then(|| Exempt::new(image, &self.name))
    }
}

#[cfg(test)]
mod tests;
