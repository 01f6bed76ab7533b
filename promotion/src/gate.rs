//! The gate's own check of what was signed here: an image is published only once the code that runs on
//! the nodes accepts it.
//!
//! It is the gate's reading of the registry as well, for what no node can read is refused by every
//! node. Only where a failure may pass is the whole check repeated, as a pull is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use civ_cosign::{
    PublicKey, REQUESTS_MAX, StoredSignatures, TrustPolicy, VerifyError as CosignError,
    verify_signatures,
};
use civ_oci::{Descriptor, ImageId};
use civ_policy::{Evidence as _, UtcTime};
use civ_registry::Error as ReadError;
use civ_registry::error::TokenProblem;
use serde_json::json;

use crate::error::{Cause, Error, Step};
use crate::plan::reference;
use crate::progress::Wait;
use crate::registry::{Client, Count, GateReaders, Retry, SILENCES_MAX, is_busy, is_noticeable};
use crate::sign::{Format, Signatures};

/// Why the gate does not let an image pass.
pub type GateError = CosignError<ReadError>;

/// Where the gate looks.
#[derive(Clone, Debug)]
enum Place {
    /// In every place, as on a node.
    Any,
    /// In this referrer of the image.
    Referrer(Box<Descriptor>),
    /// Under the image's `.sig` tag.
    SignatureTag,
}

/// Checks that a node which trusts `key`, and asks for `annotations`, lets `image` pass.
pub async fn check(
    client: &Client,
    image: &ImageId,
    key: &PublicKey,
    annotations: &BTreeMap<String, String>,
) -> Result<(), Error> {
    check_at(client, image, key, annotations, Place::Any).await
}

/// Checks that every form of signature in `signed` would suffice on its own, and that a node finds
/// one of them.
pub async fn check_each(
    client: &Client,
    signed: &Signatures,
    key: &PublicKey,
    annotations: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let in_tag = signed.has(Format::Legacy).then_some(Place::SignatureTag);
    let referrer = signed.referrer.as_ref();
    let in_referrer = referrer.map(|referrer| Place::Referrer(Box::new(referrer.clone())));
    // A node looks under the tag first. What it does not find there has to be among what it reads
    // of the referrers.
    let as_on_a_node = in_tag.is_none().then_some(Place::Any);
    for place in [in_tag, in_referrer, as_on_a_node].into_iter().flatten() {
        check_at(client, &signed.image, key, annotations, place).await?;
    }
    Ok(())
}

async fn check_at(
    client: &Client,
    image: &ImageId,
    key: &PublicKey,
    annotations: &BTreeMap<String, String>,
    place: Place,
) -> Result<(), Error> {
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "promotion",
            "registryScopes": [image.repository.to_string()],
            "signatureVerification": { "level": "strict" },
            "signedIdentity": { "type": "requireRepository" },
            "keys": [{ "name": "signing key", "publicKey": key.to_pem() }],
            "annotations": annotations,
        }],
    });
    let fail = |cause| Error::new(step_of(&cause), reference(image), cause);
    let policy = TrustPolicy::parse(policy.to_string().as_bytes());
    let policy = policy.map_err(|error| fail(Box::new(error).into()))?;
    let (readers, policy) = (client.gate(), Arc::new(policy));
    let mut made = 0;
    loop {
        let (readers, policy) = (readers.clone(), Arc::clone(&policy));
        let (asked, place) = (image.clone(), place.clone());
        let look = move || find_proof(&policy, &asked, place, &readers);
        let looked = tokio::task::spawn_blocking(look).await.map_err(|_| fail(Cause::Internal))?;
        made += 1;
        let error = match looked {
            Err(Cause::Gate(error)) => error,
            looked => return looked.map_err(fail),
        };
        let GateError::Registry(why) = &*error else { return Err(fail(error.into())) };
        let of = attempts_at(why, client.retry());
        if made >= of {
            return Err(fail(error.into()));
        }
        let pause = client.retry().pause_after(made, None).unwrap_or_default();
        if matches!(why, ReadError::Deadline { .. }) || is_noticeable(made, pause) {
            let next = Some(Count { attempt: made + 1, of });
            client.progress().waiting(&Wait { host: image.repository.host(), why, next });
        }
        tokio::time::sleep(pause).await;
    }
}

/// A gate that refuses is another thing than one that could not be asked.
fn step_of(cause: &Cause) -> Step {
    let is_asked = match cause {
        Cause::Gate(error) => match &**error {
            GateError::Registry(ReadError::Unauthorized { .. } | ReadError::Authorizer { .. }) => {
                false
            }
            GateError::Registry(error) => !may_pass(error),
            _ => true,
        },
        cause => !matches!(cause, Cause::Internal | Cause::Clock),
    };
    if is_asked { Step::Verify } else { Step::Ask }
}

fn find_proof(
    policy: &TrustPolicy,
    image: &ImageId,
    place: Place,
    readers: &GateReaders,
) -> Result<(), Cause> {
    let trust = policy.trust_for(image)?;
    let repository = trust.signature_repository(image);
    let registry = readers.open(repository, REQUESTS_MAX);
    let registry = registry.map_err(|error| Box::new(GateError::Registry(error)))?;
    let signatures = StoredSignatures::of(image, repository, &registry);
    let signatures = match place {
        Place::Any => signatures,
        Place::Referrer(referrer) => signatures.in_referrer(*referrer),
        Place::SignatureTag => signatures.in_tag(),
    };
    let proof = verify_signatures(trust, image, now()?, signatures).map_err(Box::new)?;
    if proof.image() == image { Ok(()) } else { Err(Cause::Internal) }
}

/// How often to look in all, by what was the matter.
fn attempts_at(error: &ReadError, retry: &Retry) -> u32 {
    match error {
        ReadError::Deadline { .. } => retry.attempts.min(SILENCES_MAX),
        // A token may have run out. A new one that is refused as well, or a password, is not offered
        // until somebody is locked out.
        ReadError::Unauthorized { status: 401, of_somebody: true, .. } => retry.attempts.min(2),
        _ if may_pass(error) => retry.attempts,
        _ => 1,
    }
}

/// Whether the registry may do better soon.
pub(crate) fn may_pass(error: &ReadError) -> bool {
    match error {
        ReadError::Deadline { .. }
        | ReadError::GivenUp { .. }
        | ReadError::Unreachable { .. }
        | ReadError::UnreachableInTime { .. }
        | ReadError::Token { problem: TokenProblem::Unreachable(_), .. } => true,
        ReadError::Status { status, .. }
        | ReadError::Token { problem: TokenProblem::Status(status), .. } => is_busy(*status),
        _ => false,
    }
}

/// The time by this machine's clock.
pub(crate) fn now() -> Result<UtcTime, Cause> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    since_epoch.and_then(UtcTime::from_unix).ok_or(Cause::Clock)
}
