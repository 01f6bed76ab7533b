//! From a policy and an image to a verdict. The verifier calls this on a node, and the dispatcher where
//! somebody asks beforehand what a node would say.

use std::fmt::Display;

use civ_oci::ImageId;
use civ_policy::{Evidence, KeySource, Observer, Refusal, Verdict};

use crate::trust::{KeyProblem, Trust, TrustPolicy, UnresolvedKey};
use crate::verify::VerifiedImage;

/// Decides about `image`: finds the statement for its repository, asks `keys` for what the statement
/// leaves to KMS, and has `verify` look for signatures of the keys there are.
///
/// # Errors
/// The refusal, with the exit code that it has on a node.
pub fn decide<K: KeySource>(
    policy: &TrustPolicy,
    image: &ImageId,
    keys: &K,
    observer: &dyn Observer,
    verify: impl FnOnce(Trust<'_>) -> Result<VerifiedImage, Refusal>,
) -> Result<Verdict, Refusal> {
    let trust = policy.trust_for(image).map_err(Refusal::by_policy)?;
    let statement = trust.statement;
    observer.set("statement", &statement.name);
    observer.set("level", &statement.level);
    observer.step("statement", &[("name", &statement.name), ("level", &statement.level)]);
    let outcome: Result<Box<dyn Evidence>, Refusal> = match statement.exempt(image) {
        Some(exempt) => Ok(Box::new(exempt)),
        None => match verify_with_all_keys(trust, keys, observer, verify) {
            Ok(verified) => Ok(Box::new(verified)),
            Err(refusal) => Err(refusal),
        },
    };
    Verdict::at_level(statement.level, image, outcome)
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
