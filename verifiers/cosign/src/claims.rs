//! What a signed payload must say about the image, for its signature to count.

use std::collections::BTreeMap;

use civ_oci::{ImageId, Reference};
use civ_policy::cosign::{SignedIdentity, Statement};
use serde_json::Value;

/// What a payload of either format says about an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims<'a> {
    /// Whether it is about the image asked for, by digest.
    pub is_about_image: bool,
    /// The digest that it names, as written: for messages.
    pub digest: String,
    /// The repository that it names, as written. cosign's bundles name none.
    pub repository: Option<&'a str>,
    /// Its annotations, of whatever JSON types.
    pub annotations: Option<&'a BTreeMap<String, Value>>,
}

impl Claims<'_> {
    /// The annotation claimed under `key`.
    pub fn annotation(&self, key: &str) -> Option<&Value> {
        self.annotations?.get(key)
    }
}

/// Checks that what a trusted key has signed is about `image` and says all that `statement` asks
/// for: the digest, the repository, and every annotation.
pub fn check_claims(
    statement: &Statement,
    image: &ImageId,
    claims: &Claims<'_>,
) -> Result<(), ClaimError> {
    if !claims.is_about_image {
        return Err(ClaimError::OtherDigest { signed: claims.digest.clone() });
    }
    check_identity(&statement.signed_identity, image, claims.repository)?;
    for (key, expected) in &statement.annotations {
        match claims.annotation(key) {
            None => {
                return Err(ClaimError::NoAnnotation {
                    key: key.clone(),
                    expected: expected.clone(),
                });
            }
            Some(found) if found.as_str() == Some(expected) => {}
            Some(found) => {
                return Err(ClaimError::OtherAnnotation {
                    key: key.clone(),
                    expected: expected.clone(),
                    found: found.to_string(),
                });
            }
        }
    }
    Ok(())
}

/// A signer may have named a tag or digest too; the repository is what was vouched for.
fn check_identity(
    identity: &SignedIdentity,
    image: &ImageId,
    stated: Option<&str>,
) -> Result<(), ClaimError> {
    let Some(stated) = stated else {
        return if identity.needs_repository() { Err(ClaimError::NoRepository) } else { Ok(()) };
    };
    let permitted = *identity == SignedIdentity::Any
        || stated
            .parse::<Reference>()
            .is_ok_and(|signed| identity.permits(&image.repository, &signed.repository));
    if permitted { Ok(()) } else { Err(ClaimError::OtherRepository { signed: stated.to_owned() }) }
}

/// Why a signature of a trusted key does not count for an image. From the least to the most that
/// was right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// It is about another image.
    #[error("signature is for another digest, {signed}")]
    OtherDigest {
        /// The digest signed, as written.
        signed: String,
    },
    /// It names no repository, and the policy asks for one.
    #[error(
        "signature names no repository, and the policy asks for one; sign with civ, which names it in every format, or set signedIdentity in the policy"
    )]
    NoRepository,
    /// It is about this image in another repository.
    #[error(
        "signature is for another repository, {signed:?}; promote the image to this one, or set signedIdentity in the policy"
    )]
    OtherRepository {
        /// The repository signed, as written.
        signed: String,
    },
    /// A required annotation is missing.
    #[error("annotation missing: signature has no {key:?}, the policy asks for {expected:?}")]
    NoAnnotation {
        /// The annotation's key.
        key: String,
        /// The value asked for.
        expected: String,
    },
    /// A required annotation has another value.
    #[error(
        "annotation differs: signature has {key:?} = {found}, the policy asks for {expected:?}"
    )]
    OtherAnnotation {
        /// The annotation's key.
        key: String,
        /// The value asked for.
        expected: String,
        /// The value signed, as JSON.
        found: String,
    },
}
