//! What a valid cosign signature is. The gate decides with this library and the dispatcher checks
//! with it what it has just signed, so there is one definition.
//!
//! It holds no socket, clock or environment: a registry is an argument
//! ([`civ_oci::RegistryRead`]), and so is KMS ([`civ_policy::KeySource`]). A verdict takes these
//! steps, in this order:
//!
//! 1. [`TrustPolicy::parse`]: the policy, with every key that is written in it usable;
//! 2. [`TrustPolicy::trust_for`]: what the closest statement asks of images of this repository, and
//!    [`Trust::resolve`]: the keys that it leaves to KMS;
//! 3. [`StoredSignatures`]: the signatures stored for the image's digest, none of them trusted;
//! 4. [`verify_signatures`]: for each, the bytes first (is it a signature of a trusted key over this
//!    payload?), then the claims (is the payload about this image, this repository, with these
//!    annotations?). All of them must hold for one and the same signature.
//!
//! | module | what it holds |
//! |---|---|
//! | [`trust`] | [`TrustPolicy`], [`Trust`], [`ResolvedTrust`] |
//! | [`keys`] | [`PublicKey`]: which keys are accepted, and how each verifies |
//! | [`signatures`] | [`StoredSignatures`]: the places where signatures are |
//! | [`payload`] | [`SimpleSigning`]: what cosign 1 and 2 sign |
//! | [`bundle`] | [`UntrustedBundle`]: the envelope of cosign 3 |
//! | [`intoto`] | [`ImageStatement`]: what cosign 3 signs |
//! | [`dsse`] | how a statement is signed together with its type |
//! | [`claims`] | [`check_claims`]: what a payload must say |
//! | [`transparency`] | [`Transparency`]: log entries and timestamps that a policy asks for |
//! | [`verify`] | [`verify_signatures`], [`VerifiedImage`] |
//! | [`mod@decide`] | [`decide()`]: all of this in order, up to the verdict |

pub mod bundle;
pub mod claims;
pub mod decide;
pub mod dsse;
pub mod intoto;
pub mod keys;
pub mod payload;
pub mod signatures;
pub mod transparency;
pub mod trust;
pub mod verify;

pub use bundle::UntrustedBundle;
pub use claims::{ClaimError, Claims, check_claims};
pub use decide::decide;
pub use intoto::ImageStatement;
pub use keys::{KeyError, PublicKey, SignatureError};
pub use payload::{PayloadError, SimpleSigning};
pub use signatures::{REQUESTS_MAX, StoredSignatures, UntrustedSignature};
pub use transparency::Transparency;
pub use trust::{
    KeyProblem, ResolvedTrust, Trust, TrustPolicy, TrustPolicyError, TrustedKey, UnresolvedKey,
};
pub use verify::{Rejection, VerifiedImage, VerifyError, verify_signatures};
