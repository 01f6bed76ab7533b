//! The gate's own judgement, asked for here: an image is published only once the code that runs on
//! the nodes accepts it, and an operator can ask beforehand what a node will say.

use std::collections::BTreeMap;
use std::time::SystemTime;

use civ_cosign::{
    PublicKey, StoredSignatures, TrustPolicy, VerifyError as CosignError, verify_signatures,
};
use civ_oci::{Descriptor, ImageId};
use civ_policy::{Evidence, Level, UtcTime};
use serde_json::json;

use crate::error::{Cause, Error, Step};
use crate::plan::reference;
use crate::registry::{Client, GateClient, RegistryError};
use crate::sign::{Format, Signatures};
use crate::signer::GateKeys;

/// Why the gate does not let an image pass.
pub type GateError = CosignError<RegistryError>;

/// What the gate says about an image.
#[derive(Debug)]
pub struct Judgement {
    /// The image.
    pub image: ImageId,
    /// The statement of the policy that speaks about it.
    pub statement: String,
    /// Why it may pass, or why not.
    pub outcome: Outcome,
}

/// Whether an image may pass.
#[derive(Debug)]
pub enum Outcome {
    /// It may, for this reason.
    Allowed(String),
    /// It may, though it fails the checks: the statement only records.
    Audited(GateError),
    /// It may not.
    Refused(GateError),
}

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
    let fail = |cause| Error::new(Step::Verify, reference(image), cause);
    let policy = TrustPolicy::parse(policy.to_string().as_bytes());
    let policy = policy.map_err(|error| fail(Box::new(error).into()))?;
    match judge_at(client, policy, image, place).await?.outcome {
        Outcome::Allowed(_) => Ok(()),
        Outcome::Audited(error) | Outcome::Refused(error) => Err(fail(Box::new(error).into())),
    }
}

/// What a node with `policy` says about `image`.
pub async fn judge(
    client: &Client,
    policy: TrustPolicy,
    image: &ImageId,
) -> Result<Judgement, Error> {
    judge_at(client, policy, image, Place::Any).await
}

async fn judge_at(
    client: &Client,
    policy: TrustPolicy,
    image: &ImageId,
    place: Place,
) -> Result<Judgement, Error> {
    let (registry, keys, asked) = (client.gate(), GateKeys::new(), image.clone());
    let judge = move || decide(&policy, asked, place, &registry, &keys);
    let judged = tokio::task::spawn_blocking(judge).await;
    let fail = |cause| Error::new(Step::Judge, reference(image), cause);
    judged.map_err(|_| fail(Cause::Internal))?.map_err(fail)
}

/// The steps of the verifier's main function. Whether a node gets a key that is not pinned cannot be
/// known here; that the user does not is an error if the image is not let in by the others.
fn decide(
    policy: &TrustPolicy,
    image: ImageId,
    place: Place,
    registry: &GateClient,
    keys: &GateKeys,
) -> Result<Judgement, Cause> {
    let trust = policy.trust_for(&image)?;
    let outcome = if let Some(exempt) = trust.statement.exempt(&image) {
        Outcome::Allowed(exempt.to_string())
    } else {
        let resolved = trust.resolve(keys).map_err(Box::new)?;
        let repository = trust.signature_repository(&image);
        let signatures = StoredSignatures::of(&image, repository, registry);
        let signatures = match place {
            Place::Any => signatures,
            Place::Referrer(referrer) => signatures.in_referrer(*referrer),
            Place::SignatureTag => signatures.in_tag(),
        };
        let verified = verify_signatures(resolved.trust(), &image, now()?, signatures);
        let unresolved = resolved.unresolved.into_iter().next();
        match (verified, unresolved) {
            (Ok(proof), _) if *proof.image() == image => Outcome::Allowed(proof.to_string()),
            (Ok(_), _) => return Err(Cause::Internal),
            (Err(_), Some(key)) => return Err(Cause::TrustedKey(Box::new(key))),
            (Err(error), None) if trust.statement.level == Level::Audit => Outcome::Audited(error),
            (Err(error), None) => Outcome::Refused(error),
        }
    };
    Ok(Judgement { statement: trust.statement.name.clone(), outcome, image })
}

fn now() -> Result<UtcTime, Cause> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    since_epoch.and_then(UtcTime::from_unix).ok_or(Cause::Clock)
}
