//! Every truncation and every single-bit flip of what is signed, of the signature, of the envelope
//! and of the manifests that hold them. What is addressed by its digest is served under its new
//! digest, so that nothing but the signature stands between the change and the verdict.
//!
//! A mutant may be allowed only if the trusted key's signature over a payload that names the image is
//! in it untouched: then the flip was in something that is not signed. Whether it is says aws-lc, which
//! is not in the gate, about whatever the most lenient reader finds in the mutant.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::slice;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_cosign::TrustPolicy;
use civ_embedded_registry::Registry;
use civ_tests::bundling::{
    self, BUNDLE, IN_TOTO, SIGN, bundle_manifest, descriptor, pae, signed_bundle, statement,
};
use civ_tests::image;
use civ_tests::signing::{Key, Kind, Layer, SIGNATURE, TYPE, signature_manifest};
use civ_tests::stage::{Stage, document};
use serde_json::{Value, json};

/// The key that policies trust.
static RELEASE: LazyLock<Key> = LazyLock::new(|| Key::generate(Kind::P256));

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

/// A registry without the referrers API: a list that is a tag holds but one mutant at a time.
fn stage() -> Stage {
    Stage::open(Registry::builder().referrers(false).start().unwrap())
}

fn policy_of(stage: &Stage, key: &Key) -> TrustPolicy {
    TrustPolicy::parse(document(&stage.statement(&[("release", key)])).as_bytes()).unwrap()
}

fn is_allowed(stage: &Stage, policy: &TrustPolicy) -> bool {
    stage.verify(policy, &stage.image).is_ok()
}

#[test]
fn no_mutant_of_a_signed_payload_is_allowed() {
    let stage = stage();
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
    let stage = stage();
    let payload = stage.payload();
    // All of them for one kind; of the others, which cost more, some.
    for (kind, step) in [
        (Kind::P256, 1),
        (Kind::P384, 7),
        (Kind::P521, 31),
        (Kind::Ed25519, 7),
        (Kind::Rsa2048, 191),
        (Kind::Rsa2048Pss, 191),
    ] {
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
fn no_mutant_of_a_signed_statement_or_of_its_signature_is_allowed() {
    let stage = stage();
    let policy = policy_of(&stage, &RELEASE);
    let good = statement(&stage.image.digest, r#"{"a":"b"}"#).into_bytes();
    let signature = RELEASE.sign(&pae(IN_TOTO, &good));
    for (what, mutant) in mutants(&good) {
        stage.attach(&bundling::bundle(&mutant, &signature));
        assert!(!is_allowed(&stage, &policy), "{what}");
    }
    for (what, mutant) in mutants(&signature) {
        stage.attach(&bundling::bundle(&good, &mutant));
        assert!(!is_allowed(&stage, &policy), "{what}");
    }
    stage.attach(&bundling::bundle(&good, &signature));
    assert!(is_allowed(&stage, &policy), "the original");
}

#[test]
fn a_mutant_of_a_manifest_is_allowed_only_with_payload_and_signature_intact() {
    let stage = stage();
    for layer in [stage.honest(&RELEASE), stage.honest(&RELEASE).inline()] {
        let manifest = signature_manifest(slice::from_ref(&layer)).to_string();
        stage.publish(&[layer]);
        judge(&stage, manifest.as_bytes(), found_in_signature_image, |mutant| {
            stage.publish_bytes(&stage.image, image::MANIFEST, mutant);
        });
    }
}

#[test]
fn a_mutant_of_a_bundle_is_allowed_only_with_statement_and_signature_intact() {
    let stage = stage();
    let bundle = signed_bundle(&RELEASE, &statement(&stage.image.digest, "{}")).to_string();
    judge(
        &stage,
        bundle.as_bytes(),
        |_, bundle| found_in_bundle(bundle),
        |mutant| {
            stage.registry.put_blob("team/app", mutant.clone());
            stage.attach_manifest(&bundle_manifest(&stage.subject(), &mutant));
        },
    );
    for inline in [false, true] {
        let mut manifest = bundle_manifest(&stage.subject(), bundle.as_bytes());
        if inline {
            manifest["layers"][0]["data"] = json!(STANDARD.encode(&bundle));
        }
        judge(&stage, manifest.to_string().as_bytes(), found_in_bundle_manifest, |mutant| {
            let mut entry = descriptor(image::MANIFEST, &mutant);
            entry["artifactType"] = json!(BUNDLE);
            stage.registry.put_manifest("team/app", None, image::MANIFEST, mutant);
            stage.list_by_tag(&[entry]);
        });
    }
}

/// A message and the signature that should be over it.
type Found = (Vec<u8>, Vec<u8>);

/// Puts every mutant of `good` in its place and compares the verdict with aws-lc's.
fn judge(
    stage: &Stage,
    good: &[u8],
    find: impl Fn(&Stage, &[u8]) -> Vec<Found>,
    put: impl Fn(Vec<u8>),
) {
    let policy = policy_of(stage, &RELEASE);
    put(good.to_vec());
    assert!(is_allowed(stage, &policy), "the original");
    assert!(is_genuine(find(stage, good)), "the original, says aws-lc");
    let mut allowed = 0;
    for (what, mutant) in mutants(good) {
        let found = find(stage, &mutant);
        let text = String::from_utf8_lossy(&mutant).into_owned();
        put(mutant);
        if is_allowed(stage, &policy) {
            assert!(is_genuine(found), "{what}: allowed, and aws-lc finds no signature in {text}");
            allowed += 1;
        }
    }
    // Such as those of the configuration's digest, of which nothing is read.
    assert!(allowed > 16, "only {allowed} harmless mutants: what was tested?");
}

fn is_genuine(found: Vec<Found>) -> bool {
    found.into_iter().any(|(message, signature)| RELEASE.verifies(&message, &signature))
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}

/// The contents that a descriptor may stand for.
fn contents(stage: &Stage, descriptor: &Value) -> Vec<Vec<u8>> {
    let digest = descriptor["digest"].as_str().and_then(|digest| digest.parse().ok());
    let stored = digest.and_then(|digest| stage.registry.blob("team/app", &digest));
    let stored = stored.map(|blob| blob.to_vec());
    stored.into_iter().chain(decoded(&descriptor["data"])).collect()
}

/// Payloads that name the image, each with a signature that is said to be over it.
fn found_in_signature_image(stage: &Stage, manifest: &[u8]) -> Vec<Found> {
    let layers = json_of(manifest)["layers"].as_array().cloned().unwrap_or_default();
    let pairs = layers.iter().flat_map(|layer| {
        let signature = decoded(&layer["annotations"][SIGNATURE]).unwrap_or_default();
        contents(stage, layer).into_iter().map(move |payload| (payload, signature.clone()))
    });
    let names_image = |payload: &[u8]| {
        let critical = &json_of(payload)["critical"];
        critical["image"]["docker-manifest-digest"] == stage.image.digest.to_string()
            && critical["identity"]["docker-reference"] == stage.image.repository.to_string()
            && critical["type"] == TYPE
    };
    pairs.filter(|(payload, _)| names_image(payload)).collect()
}

fn found_in_bundle_manifest(stage: &Stage, manifest: &[u8]) -> Vec<Found> {
    let layers = json_of(manifest)["layers"].as_array().cloned().unwrap_or_default();
    let bundles = layers.iter().flat_map(|layer| contents(stage, layer));
    bundles.flat_map(|bundle| found_in_bundle(&bundle)).collect()
}

fn found_in_bundle(bundle: &[u8]) -> Vec<Found> {
    let envelope = &json_of(bundle)["dsseEnvelope"];
    let signatures = envelope["signatures"].as_array().cloned().unwrap_or_default();
    let Some(payload) = decoded(&envelope["payload"]) else { return Vec::new() };
    if json_of(&payload)["predicateType"] != SIGN {
        return Vec::new();
    }
    let signed = pae(IN_TOTO, &payload);
    signatures.iter().filter_map(|one| Some((signed.clone(), decoded(&one["sig"])?))).collect()
}
