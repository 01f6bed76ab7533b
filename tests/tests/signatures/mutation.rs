//! Every truncation and every single-bit flip of what is signed, of the signature and of the
//! manifest that holds both. What is addressed by its digest is served under its new digest, so that
//! nothing but the signature stands between the change and the verdict.
//!
//! A mutant may be allowed only if aws-lc, too, finds in it the trusted key's signature over a
//! payload that names the image: then the flip was in something that is not signed.

use std::slice;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_cosign::TrustPolicy;
use civ_tests::image;
use civ_tests::signing::{Key, Kind, Layer, SIGNATURE, TYPE, signature_manifest};
use civ_tests::stage::{Stage, document};
use serde_json::Value;

use crate::RELEASE;

/// All of them, each with how it was made.
fn mutants(good: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let truncated = (0..good.len()).map(|len| (format!("cut at {len}"), good[..len].to_vec()));
    let flipped = (0..good.len() * 8).map(|bit| {
        let mut mutant = good.to_vec();
        mutant[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit} flipped"), mutant)
    });
    truncated.chain(flipped)
}

fn policy_of(stage: &Stage, key: &Key) -> TrustPolicy {
    TrustPolicy::parse(document(&stage.statement(&[("release", key)])).as_bytes()).unwrap()
}

fn is_allowed(stage: &Stage, policy: &TrustPolicy) -> bool {
    stage.verify(policy, &stage.image).is_ok()
}

#[test]
fn no_mutant_of_a_signed_payload_is_allowed() {
    let stage = Stage::default();
    let policy = policy_of(&stage, &RELEASE);
    let good = stage.honest(&RELEASE);
    let signature =
        STANDARD.decode(good.descriptor["annotations"][SIGNATURE].as_str().unwrap()).unwrap();
    let mut count = 0;
    for (what, mutant) in mutants(&good.payload) {
        for layer in
            [Layer::new(mutant.clone(), &signature), Layer::new(mutant, &signature).inline()]
        {
            stage.publish(&[layer]);
            assert!(!is_allowed(&stage, &policy), "{what}");
            count += 1;
        }
    }
    assert_eq!(count, good.payload.len() * 9 * 2);
    stage.publish(&[good]);
    assert!(is_allowed(&stage, &policy), "the original");
}

#[test]
fn no_mutant_of_a_signature_is_allowed() {
    let stage = Stage::default();
    let payload = stage.payload();
    // All of them for one kind; of the others, which cost more, some.
    for (kind, step) in
        [(Kind::P256, 1), (Kind::P384, 7), (Kind::Rsa2048, 191), (Kind::Rsa2048Pss, 191)]
    {
        let key = Key::generate(kind);
        let policy = policy_of(&stage, &key);
        let good = key.sign(payload.as_bytes());
        for (what, mutant) in mutants(&good).step_by(step) {
            stage.publish(&[Layer::new(payload.clone(), &mutant)]);
            assert!(!is_allowed(&stage, &policy), "{kind:?}: {what}");
        }
        stage.publish(&[Layer::new(payload.clone(), &good)]);
        assert!(is_allowed(&stage, &policy), "{kind:?}: the original");
    }
}

#[test]
fn a_mutant_of_the_manifest_is_allowed_only_with_payload_and_signature_intact() {
    let stage = Stage::default();
    let policy = policy_of(&stage, &RELEASE);
    for layer in [stage.honest(&RELEASE), stage.honest(&RELEASE).inline()] {
        let manifest = signature_manifest(slice::from_ref(&layer)).to_string();
        stage.publish(&[layer]);
        assert!(is_allowed(&stage, &policy) && holds_signature(&stage, manifest.as_bytes()));
        let mut allowed = 0;
        for (what, mutant) in mutants(manifest.as_bytes()) {
            let genuine = holds_signature(&stage, &mutant);
            stage.publish_bytes(&stage.image, image::MANIFEST, mutant);
            if is_allowed(&stage, &policy) {
                assert!(genuine, "{what}: allowed, and aws-lc finds no signature");
                allowed += 1;
            }
        }
        // Such as those of the configuration's digest, of which nothing is read.
        assert!(allowed > 64, "only {allowed} harmless mutants: what was tested?");
    }
}

/// Says aws-lc, not the gate: does this manifest hold a signature of the release key over a payload
/// that names the image? The manifest is read in the most lenient way there is.
fn holds_signature(stage: &Stage, manifest: &[u8]) -> bool {
    let Ok(manifest) = serde_json::from_slice::<Value>(manifest) else { return false };
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    layers.iter().any(|layer| {
        let decoded = |value: &Value| STANDARD.decode(value.as_str()?).ok();
        let Some(signature) = decoded(&layer["annotations"][SIGNATURE]) else { return false };
        let stored = || {
            let digest = layer["digest"].as_str()?.parse().ok()?;
            stage.registry.blob("team/app", &digest).map(|blob| blob.to_vec())
        };
        [decoded(&layer["data"]), stored()].into_iter().flatten().any(|payload| {
            let claims: Value = serde_json::from_slice(&payload).unwrap_or_default();
            let critical = &claims["critical"];
            RELEASE.verifies(&payload, &signature)
                && critical["image"]["docker-manifest-digest"] == stage.image.digest.to_string()
                && critical["identity"]["docker-reference"] == stage.image.repository.to_string()
                && critical["type"] == TYPE
        })
    })
}
