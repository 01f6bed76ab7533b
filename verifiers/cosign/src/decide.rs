//! From a policy and an image to a verdict: the one way there. The verifier calls this on a node, and
//! the dispatcher where somebody asks beforehand what a node would say.

use std::fmt::Display;

use civ_oci::{ImageId, RegistryRead, Repository};
use civ_policy::{Evidence, KeySource, Observer, Refusal, UtcTime, Verdict};

use crate::signatures::StoredSignatures;
use crate::trust::{KeyProblem, Trust, TrustPolicy, UnresolvedKey};
use crate::verify::{VerifiedImage, VerifyError, verify_signatures};

/// Decides about `image`: finds the statement for its repository, asks `keys` for what the statement
/// leaves to KMS, and looks for signatures of the keys there are in the registry that `open` opens for
/// the repository where they are. `now` is what the clock says.
///
/// # Errors
/// The refusal, with the exit code that it has on a node.
pub fn decide<K: KeySource, R: RegistryRead>(
    policy: &TrustPolicy,
    image: &ImageId,
    now: UtcTime,
    keys: &K,
    open: impl FnOnce(&Repository) -> Result<R, R::Error>,
    observer: &dyn Observer,
) -> Result<Verdict, Refusal> {
    let trust = policy.trust_for(image).map_err(Refusal::by_policy)?;
    let statement = trust.statement;
    observer.statement(&statement.name, statement.level);
    let outcome: Result<Box<dyn Evidence>, Refusal> = match statement.exempt(image) {
        Some(exempt) => Ok(Box::new(exempt)),
        None => verify_with_all_keys(trust, keys, observer, |trust| {
            fetch_and_verify(trust, image, now, open).map_err(refusal::<R>)
        })
        .map(|verified| Box::new(verified) as _),
    };
    Verdict::at_level(statement.level, image, outcome)
}

fn fetch_and_verify<R: RegistryRead>(
    trust: Trust<'_>,
    image: &ImageId,
    now: UtcTime,
    open: impl FnOnce(&Repository) -> Result<R, R::Error>,
) -> Result<VerifiedImage, VerifyError<R::Error>> {
    let repository = trust.signature_repository(image);
    let registry = open(repository).map_err(VerifyError::Registry)?;
    let signatures = StoredSignatures::of(image, repository, &registry);
    verify_signatures(trust, image, now, signatures)
}

fn verify_with_all_keys<K: KeySource>(
    trust: Trust<'_>,
    keys: &K,
    observer: &dyn Observer,
    verify: impl FnOnce(Trust<'_>) -> Result<VerifiedImage, Refusal>,
) -> Result<VerifiedImage, Refusal> {
    let resolved = trust.resolve(keys).map_err(Refusal::bad_policy)?;
    let (in_policy, usable) = (trust.keys.len(), resolved.trust().keys.len());
    observer.step("keys", &[("policy", &in_policy), ("usable", &usable)]);
    for key in &resolved.unresolved {
        observer.step("key", &[("from", &"nowhere"), ("problem", key)]);
    }
    if let Some(key) = resolved.too_few() {
        return Err(unknown_key::<K>(key, key));
    }
    // Without a key, what is missing may be what that key has signed: say so first.
    verify(resolved.trust()).map_err(|refusal| match &resolved.unresolved[..] {
        [] => refusal,
        [key, ..] => {
            unknown_key::<K>(key, &format_args!("{key}; with the other keys: {}", refusal.reason))
        }
    })
}

/// A key that cannot be had for now, or one that can never be what the policy takes it for.
fn unknown_key<K: KeySource>(key: &UnresolvedKey<K::Error>, reason: &dyn Display) -> Refusal {
    match &key.problem {
        KeyProblem::Source(error) if !K::is_about_key(error) => Refusal::registry(reason),
        KeyProblem::Source(_) | KeyProblem::Key(_) => Refusal::bad_policy(reason),
    }
}

fn refusal<R: RegistryRead>(error: VerifyError<R::Error>) -> Refusal {
    match &error {
        VerifyError::Registry(cause) if R::is_deadline(cause) => Refusal::deadline(error),
        VerifyError::Registry(_) => Refusal::registry(error),
        _ => Refusal::by_policy(error),
    }
}
