//! What a signed payload must say about the image, for its signature to count.

use civ_oci::{Digest, ImageId, Reference};
use civ_policy::cosign::{SignedIdentity, Statement};

use crate::SimpleSigning;

/// Checks that `payload`, which a trusted key has signed, is about `image` and says all that
/// `statement` asks for: the digest, the repository, and every annotation.
pub fn check_claims(
    statement: &Statement,
    image: &ImageId,
    payload: &SimpleSigning,
) -> Result<(), ClaimError> {
    if *payload.digest() != image.digest {
        return Err(ClaimError::OtherDigest { signed: payload.digest().clone() });
    }
    check_identity(&statement.signed_identity, image, payload.docker_reference())?;
    for (key, expected) in &statement.annotations {
        match payload.annotation(key) {
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
    docker_reference: &str,
) -> Result<(), ClaimError> {
    if *identity == SignedIdentity::Any {
        return Ok(());
    }
    let permitted = docker_reference
        .parse::<Reference>()
        .is_ok_and(|signed| identity.permits(&image.repository, &signed.repository));
    if permitted {
        Ok(())
    } else {
        Err(ClaimError::OtherRepository { signed: docker_reference.to_owned() })
    }
}

/// Why a signature of a trusted key does not count for an image. From the least to the most that
/// was right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// It is about another image.
    #[error("signature is for another digest, {signed}")]
    OtherDigest {
        /// The digest signed.
        signed: Digest,
    },
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
