//! Is one of these signatures what the policy asks for?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use civ_oci::{Digest, ImageId, RegistryRead, Repository, Tag};
use civ_policy::Evidence;

use crate::signatures::PAYLOAD_MAX;
use crate::{
    ClaimError, PayloadError, SignatureSet, SimpleSigning, Trust, TrustedKey, UntrustedSignature,
    check_claims,
};

/// The most distinct payloads fetched for one verdict, so that it stays within its requests.
const PAYLOADS_MAX: usize = 4;
/// The most checks of one key against one signature for one verdict. An RSA check takes up to about
/// two milliseconds.
const CHECKS_MAX: usize = 1_000;

/// Proof that enough trusted keys have signed an image. Made only by [`verify_signatures`].
#[derive(Clone, Debug)]
pub struct VerifiedImage {
    image: ImageId,
    statement: String,
    /// The names of the keys whose signatures counted.
    keys: BTreeSet<String>,
}

impl Evidence for VerifiedImage {
    fn image(&self) -> &ImageId {
        &self.image
    }
}

impl fmt::Display for VerifiedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        write!(f, "signed by {:?} as statement {:?} asks", keys.join(", "), self.statement)
    }
}

/// Checks the signatures in `set`, until enough distinct keys of `trust` have signed `image`.
///
/// A signature counts only if all of this holds for it alone: a trusted key made it over the exact
/// bytes of its payload, and that payload makes every claim asked for. Payloads that are not inline
/// are fetched from `registry`, each once.
pub fn verify_signatures<R: RegistryRead>(
    trust: Trust<'_>,
    image: &ImageId,
    set: &SignatureSet,
    registry: &R,
) -> Result<VerifiedImage, VerifyError<R::Error>> {
    let mut payloads = Payloads { set, registry, fetched: BTreeMap::new() };
    let mut signers = BTreeSet::new();
    let mut closest: Option<Rejection> = None;
    let mut fetch_failure = None;
    let mut left_out = set.left_out;
    let affordable = (CHECKS_MAX / trust.keys.len().max(1)).max(1);
    for (index, untrusted) in set.signatures.iter().enumerate() {
        if index >= affordable {
            left_out += set.signatures.len() - index;
            break;
        }
        let rejection = match payloads.get(untrusted) {
            Ok(payload) => match verify_one(trust, image, untrusted, payload) {
                Ok(key) => {
                    signers.insert(key.name.clone());
                    if signers.len() >= trust.statement.threshold {
                        return Ok(VerifiedImage {
                            image: image.clone(),
                            statement: trust.statement.name.clone(),
                            keys: signers,
                        });
                    }
                    continue;
                }
                Err(rejection) => rejection,
            },
            Err(PayloadFetchError::TooLarge) => {
                Rejection::PayloadTooLarge { size: untrusted.payload_size }
            }
            Err(PayloadFetchError::TooMany) => {
                left_out += 1;
                continue;
            }
            Err(PayloadFetchError::Registry(error)) => {
                fetch_failure.get_or_insert(error);
                continue;
            }
            Err(PayloadFetchError::FailedBefore) => continue,
        };
        if closest.as_ref().is_none_or(|known| rejection.rank() > known.rank()) {
            closest = Some(rejection);
        }
    }
    // What could not be read might have been the one that was missing: say so first.
    if let Some(error) = fetch_failure {
        return Err(VerifyError::Registry(error));
    }
    let looked_at = set.signatures.len() + set.left_out - left_out;
    if left_out > 0 {
        return Err(VerifyError::TooManySignatures { looked_at, left_out });
    }
    if !signers.is_empty() {
        return Err(VerifyError::Threshold {
            signers,
            threshold: trust.statement.threshold,
            statement: trust.statement.name.clone(),
        });
    }
    Err(VerifyError::Rejected {
        closest: closest.unwrap_or_else(|| Rejection::no_trusted_key(trust)),
        looked_at,
    })
}

fn verify_one<'policy>(
    trust: Trust<'policy>,
    image: &ImageId,
    untrusted: &UntrustedSignature,
    payload: &[u8],
) -> Result<&'policy TrustedKey, Rejection> {
    let key = trust
        .keys
        .iter()
        .find(|trusted| trusted.key.verify_signature(payload, &untrusted.signature).is_ok())
        .ok_or_else(|| Rejection::no_trusted_key(trust))?;
    // Only now is the payload worth parsing.
    let payload = SimpleSigning::parse(payload)?;
    check_claims(trust.statement, image, &payload)?;
    Ok(key)
}

/// The payloads of a set, fetched when first needed.
struct Payloads<'a, R: RegistryRead> {
    set: &'a SignatureSet,
    registry: &'a R,
    /// `None` for one that could not be had: it is not asked for again.
    fetched: BTreeMap<Digest, Option<Vec<u8>>>,
}

enum PayloadFetchError<E> {
    FailedBefore,
    Registry(E),
    TooLarge,
    TooMany,
}

impl<'a, R: RegistryRead> Payloads<'a, R> {
    fn get(&mut self, of: &'a UntrustedSignature) -> Result<&[u8], PayloadFetchError<R::Error>> {
        if let Some(inline) = &of.inline_payload {
            return Ok(inline);
        }
        if of.payload_size > PAYLOAD_MAX {
            return Err(PayloadFetchError::TooLarge);
        }
        if !self.fetched.contains_key(&of.payload_digest) {
            if self.fetched.len() >= PAYLOADS_MAX {
                return Err(PayloadFetchError::TooMany);
            }
            let payload = self.registry.blob(&self.set.repository, &of.payload_digest, PAYLOAD_MAX);
            let (payload, failure) = match payload {
                Ok(payload) => (Some(payload), None),
                Err(error) => (None, Some(error)),
            };
            self.fetched.insert(of.payload_digest.clone(), payload);
            if let Some(error) = failure {
                return Err(PayloadFetchError::Registry(error));
            }
        }
        let fetched = self.fetched.get(&of.payload_digest).and_then(Option::as_deref);
        fetched.ok_or(PayloadFetchError::FailedBefore)
    }
}

/// Why one signature does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A trusted key signed it, but not for this.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// No trusted key made it, or its payload was changed.
    #[error("signature invalid: not made by {keys} over this payload")]
    NoTrustedKey {
        /// The names of the keys tried.
        keys: String,
    },
    /// A trusted key signed something else than an image.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The payload is larger than civ reads.
    #[error("limit reached: payload of {size} bytes is larger than {PAYLOAD_MAX}")]
    PayloadTooLarge {
        /// The length stated.
        size: u64,
    },
}

impl Rejection {
    fn no_trusted_key(trust: Trust<'_>) -> Self {
        let names: Vec<String> =
            trust.keys.iter().map(|trusted| format!("{:?}", trusted.name)).collect();
        Self::NoTrustedKey { keys: names.join(" or ") }
    }

    /// How close the signature came: the reason names the closest.
    fn rank(&self) -> u8 {
        match self {
            Self::NoTrustedKey { .. } => 0,
            Self::PayloadTooLarge { .. } => 1,
            Self::Payload(_) => 2,
            Self::Claim(ClaimError::OtherDigest { .. }) => 3,
            Self::Claim(ClaimError::OtherRepository { .. }) => 4,
            Self::Claim(_) => 5,
        }
    }
}

/// Why an image is not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError<E: std::error::Error + 'static> {
    /// The `.sig` tag holds something else than a manifest of signatures.
    #[error("signatures unreadable: {repository}:{tag} is not an image manifest")]
    Malformed {
        /// Where.
        repository: Repository,
        /// Under which tag.
        tag: Tag,
    },
    /// The `.sig` tag holds layers, and none of them is a signature.
    #[error(
        "signatures unreadable: none of {count} layers of {repository}:{tag} holds a well-formed signature"
    )]
    MalformedSignatures {
        /// Where.
        repository: Repository,
        /// Under which tag.
        tag: Tag,
        /// How many layers there are.
        count: usize,
    },
    /// cosign keeps no signatures for such a digest.
    #[error("unsigned: cosign has no signature tag for {digest}; pull by its sha256 digest")]
    NoSignatureTag {
        /// The digest.
        digest: Digest,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(E),
    /// There are signatures, and none counts.
    #[error("{closest}{}", Others(*looked_at))]
    Rejected {
        /// The failure of the one that came closest.
        closest: Rejection,
        /// How many were looked at.
        looked_at: usize,
    },
    /// Some keys have signed, but not enough.
    #[error("signed by {} of {threshold} keys that statement {statement:?} asks for: {}", signers.len(), Names(signers))]
    Threshold {
        /// The names of the keys that have.
        signers: BTreeSet<String>,
        /// How many are asked for.
        threshold: usize,
        /// The statement that asks.
        statement: String,
    },
    /// Those looked at do not suffice, and there are more.
    #[error(
        "limit reached: the {looked_at} newest signatures do not suffice, and {left_out} more were not looked at; remove old ones"
    )]
    TooManySignatures {
        /// How many were looked at.
        looked_at: usize,
        /// How many were not.
        left_out: usize,
    },
    /// There is no signature.
    #[error(
        "unsigned: no signature for {digest} in {repository}; sign it, or pull by the digest that was signed"
    )]
    Unsigned {
        /// Where one would be.
        repository: Repository,
        /// The digest that has none.
        digest: Digest,
    },
}

struct Others(usize);

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            looked_at => write!(f, " (the closest of {looked_at} signatures)"),
        }
    }
}

struct Names<'a>(&'a BTreeSet<String>);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&names.join(", "))
    }
}
