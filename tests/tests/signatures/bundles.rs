//! The attacker attaches bundles to the image: forged ones, honest ones about something else, and
//! what only looks like one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use civ_embedded_registry::Registry;
use civ_oci::Digest;
use civ_tests::bundling::{
    self, IN_TOTO, SIGN, STATEMENT, named_statement, pae, signed_bundle, statement,
};
use civ_tests::signing::{Key, Kind, Layer};
use civ_tests::stage::Stage;
use serde_json::{Value, json};

use crate::{ATTACKER, INVALID, RELEASE, trusting, trusting_with};

/// One with the referrers API and one without.
fn stages() -> [Stage; 2] {
    let without = Registry::builder().referrers(false).start().unwrap();
    [Stage::default(), Stage::open(without)]
}

/// Attaches `bundle` alone and expects the verdict.
#[track_caller]
fn expect_alone(stage: &Stage, bundle: &Value, what: &str, code: i32, words: &str) {
    let attached = stage.attach(bundle);
    stage.ask(&trusting(stage)).expect(what, code, words);
    stage.detach(&attached);
}

fn changed(bundle: &Value, path: &str, value: impl Into<Value>) -> Value {
    let mut bundle = bundle.clone();
    *bundle.pointer_mut(path).unwrap() = value.into();
    bundle
}

#[test]
fn allows_a_bundle_of_a_trusted_key_of_each_kind() {
    for stage in stages() {
        for kind in [Kind::P256, Kind::P384, Kind::Rsa2048, Kind::Rsa3072PssSha512] {
            let key = Key::generate(kind);
            let text = statement(&stage.image.digest, "{}");
            let attached = stage.attach(&signed_bundle(&key, &text));
            let words = "signed by \"release\" as statement \"production\" asks";
            let statement = stage.statement(&[("release", &key)]);
            stage.ask(&statement).expect(&format!("{kind:?}"), 0, words);
            stage.ask(&trusting(&stage)).expect("another's", 1, INVALID);
            stage.detach(&attached);
        }
    }
}

#[test]
fn reads_what_cosign_wrote_over_time() {
    let stage = Stage::default();
    let text = statement(&stage.image.digest, "{}");
    for (what, text) in [
        ("3.0.0, without a predicate", text.replace(r#","predicate":{}"#, "")),
        ("statement v0.1", text.replace("Statement/v1", "Statement/v0.1")),
        ("null annotations", text.replace(r#""annotations":{}"#, r#""annotations":null"#)),
        ("another predicate body", text.replace(r#""predicate":{}"#, r#""predicate":{"x":[1]}"#)),
    ] {
        expect_alone(&stage, &signed_bundle(&RELEASE, &text), what, 0, "signed by");
    }
    let bundle = signed_bundle(&RELEASE, &text);
    let older = "application/vnd.dev.sigstore.bundle+json;version=0.3";
    expect_alone(&stage, &changed(&bundle, "/mediaType", older), "older name", 0, "signed by");
}

#[test]
fn refuses_a_statement_of_the_same_key_that_is_no_signature() {
    // cosign verifies these: it does not look at the predicate's type.
    let stage = Stage::default();
    let text = statement(&stage.image.digest, "{}");
    for predicate in ["https://slsa.dev/provenance/v1", "https://cyclonedx.org/bom", "", "SIGN"] {
        let other = text.replace(SIGN, predicate);
        let words = "an attestation is no signature";
        expect_alone(&stage, &signed_bundle(&RELEASE, &other), predicate, 1, words);
    }
    let twice = text.replacen(
        r#""predicateType""#,
        r#""predicateType":"https://slsa.dev/provenance/v1","predicateType""#,
        1,
    );
    expect_alone(&stage, &signed_bundle(&RELEASE, &twice), "both types", 1, "duplicate key");
    let other = text.replace(STATEMENT, "https://in-toto.io/Statement/v2");
    expect_alone(&stage, &signed_bundle(&RELEASE, &other), "v2", 1, "not an in-toto statement");
}

#[test]
fn refuses_a_bundle_about_another_image() {
    // CVE-2026-39395 and sigstore-js CVE-2026-48815: a mismatch, or nothing to match, is a failure.
    let stage = Stage::default();
    let text = statement(&stage.image.digest, "{}");
    let hex = stage.image.digest.hex();
    let other = Digest::sha256(b"other");
    let words = "signature is for another digest";
    for (what, text, words) in [
        ("another digest", text.replace(hex, other.hex()), words),
        ("another algorithm", text.replace("\"sha256\":", "\"sha512\":"), words),
        ("in capitals", text.replace(hex, &hex.to_uppercase()), words),
        ("no digest", text.replace(&format!("\"sha256\":\"{hex}\""), ""), "no subject"),
        ("a null digest", text.replace(&format!("\"{hex}\""), "null"), "malformed"),
        (
            "a null subject",
            format!(
                "{}null{}",
                text.split_at(text.find("[{").unwrap() + 1).0,
                &text[text.find("}],").unwrap() + 1..]
            ),
            "malformed",
        ),
        (
            "no subject",
            format!(
                "{}{}",
                text.split_at(text.find("[{").unwrap() + 1).0,
                &text[text.find("}],").unwrap() + 1..]
            ),
            "no subject",
        ),
        ("a payload that is no JSON", "signed".to_owned(), "malformed"),
        ("an empty payload", String::new(), "malformed"),
    ] {
        expect_alone(&stage, &signed_bundle(&RELEASE, &text), what, 1, words);
    }
}

#[test]
fn refuses_envelopes_that_are_not_exactly_one_signature_over_one_statement() {
    let stage = Stage::default();
    let text = statement(&stage.image.digest, "{}");
    let good = signed_bundle(&RELEASE, &text);
    let (payload, signature) = (text.as_bytes(), &good["dsseEnvelope"]["signatures"][0]);
    let over_payload = bundling::bundle(payload, &RELEASE.sign(payload));
    let other_type = bundling::bundle(payload, &RELEASE.sign(&pae("text/plain", payload)));
    let forged = bundling::bundle(payload, &ATTACKER.sign(&pae(IN_TOTO, payload)));
    let later = pae(IN_TOTO, format!("{text} ").as_bytes());
    let longer = bundling::bundle(payload, &RELEASE.sign(&later));
    let unreadable = "signature unreadable: bundle";
    let sigs = "/dsseEnvelope/signatures";
    for (what, bundle, words) in [
        ("the payload signed without its type", over_payload, INVALID),
        ("signed under another type", other_type, INVALID),
        ("signed by another key", forged, INVALID),
        ("another payload signed", longer, INVALID),
        ("no signature", changed(&good, sigs, json!([])), unreadable),
        ("the signature twice", changed(&good, sigs, json!([signature, signature])), unreadable),
        (
            "another's beside it",
            changed(&good, sigs, json!([signature, { "sig": "eA==" }])),
            unreadable,
        ),
        ("an empty signature", changed(&good, sigs, json!([{ "sig": "" }])), INVALID),
        ("a null signature", changed(&good, sigs, json!([null])), unreadable),
        (
            "another payload type",
            changed(&good, "/dsseEnvelope/payloadType", "text/plain"),
            unreadable,
        ),
        (
            "the payload in another alphabet",
            changed(&good, "/dsseEnvelope/payload", URL_SAFE_NO_PAD.encode(payload)),
            unreadable,
        ),
        (
            "version 0.4",
            changed(&good, "/mediaType", bundling::BUNDLE.replace("0.3", "0.4")),
            unreadable,
        ),
        (
            "version 0.1",
            changed(&good, "/mediaType", bundling::BUNDLE.replace("0.3", "0.1")),
            unreadable,
        ),
        ("no material", changed(&good, "/verificationMaterial", Value::Null), unreadable),
        ("no envelope", changed(&good, "/dsseEnvelope", Value::Null), unreadable),
        ("no JSON", json!("bundle"), unreadable),
    ] {
        expect_alone(&stage, &bundle, what, 1, words);
    }
}

#[test]
fn refuses_a_key_or_certificate_that_the_bundle_brings_along() {
    // GHSA-fx35-mq7g-6g98: a key inside the bundle took the place of the one asked for.
    let stage = Stage::default();
    let text = statement(&stage.image.digest, "{}");
    let forged = signed_bundle(&ATTACKER, &text);
    let pem = ATTACKER.public_pem();
    let spki: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let unreadable = "was not made with a key";
    for (what, material, words) in [
        ("a hint", json!({ "publicKey": { "hint": spki } }), INVALID),
        ("a raw key", json!({ "publicKey": { "hint": "", "rawBytes": spki } }), INVALID),
        ("a certificate", json!({ "certificate": { "rawBytes": spki } }), unreadable),
        (
            "a chain",
            json!({ "x509CertificateChain": { "certificates": [{ "rawBytes": spki }] } }),
            unreadable,
        ),
    ] {
        expect_alone(&stage, &changed(&forged, "/verificationMaterial", material), what, 1, words);
    }
    // Nor does a certificate help a signature of the right key: it was not made that way.
    let honest = signed_bundle(&RELEASE, &text);
    let with_certificate =
        changed(&honest, "/verificationMaterial", json!({ "certificate": { "rawBytes": spki } }));
    expect_alone(&stage, &with_certificate, "both", 1, unreadable);
}

#[test]
fn annotations_are_those_of_the_subject_that_is_the_image() {
    let stage = Stage::default();
    let asking = trusting_with(&stage, "annotations", json!({ "e2e-tests-passed": "True" }));
    let about = |annotations: &str| statement(&stage.image.digest, annotations);
    let other = |annotations: &str| {
        let digest = Digest::sha256(b"other");
        format!(r#"{{"digest":{{"sha256":"{}"}},"annotations":{annotations}}},"#, digest.hex())
    };
    let passed = r#"{"e2e-tests-passed":"True"}"#;
    for (what, text, code, words) in [
        ("signed", about(passed), 0, "signed by"),
        ("beside others", about(r#"{"a":"b","e2e-tests-passed":"True"}"#), 0, "signed by"),
        ("missing", about("{}"), 1, "annotation missing"),
        ("another value", about(r#"{"e2e-tests-passed":"true"}"#), 1, "annotation differs"),
        ("a boolean", about(r#"{"e2e-tests-passed":true}"#), 1, "annotation differs"),
        (
            "another subject's",
            about("{}").replacen("[{", &format!("[{}{{", other(passed)), 1),
            1,
            "annotation missing",
        ),
        (
            "behind another subject",
            about(passed).replacen("[{", &format!("[{}{{", other("{}")), 1),
            0,
            "signed by",
        ),
        (
            "twice",
            about(r#"{"e2e-tests-passed":"False","e2e-tests-passed":"True"}"#),
            1,
            "duplicate key",
        ),
    ] {
        let attached = stage.attach(&signed_bundle(&RELEASE, &text));
        stage.ask(&asking).expect(what, code, words);
        stage.detach(&attached);
    }
    // One signature has the key and another the annotation: neither has both.
    stage.attach(&signed_bundle(&RELEASE, &about("{}")));
    stage.attach(&signed_bundle(&ATTACKER, &about(passed)));
    stage.publish(&[Layer::signed(&ATTACKER, stage.payload_with(passed))]);
    stage.ask(&asking).expect("no combination", 1, "annotation missing");
}

#[test]
fn a_repository_that_a_bundle_names_must_be_the_one_pulled() {
    let stage = Stage::default();
    let repository = stage.image.repository.to_string();
    let elsewhere = stage.repository("stage/app").to_string();
    let digest = &stage.image.digest;
    let unnamed = statement(digest, "{}");
    let named = named_statement(&repository, digest);
    let other = named_statement(&elsewhere, digest);
    let exact = json!({ "type": "exactRepository", "dockerRepository": elsewhere });
    let remap = json!({ "type": "remapIdentity", "prefix": repository, "signedPrefix": elsewhere });
    let (ok, wrong) = ((0, "signed by"), (1, "signature is for another repository"));
    let none = (1, "signature names no repository");
    for (identity, expected) in [
        (json!({ "type": "matchRepository" }), [ok, ok, wrong]),
        (json!({ "type": "requireRepository" }), [none, ok, wrong]),
        (exact, [none, wrong, ok]),
        (remap, [ok, wrong, ok]),
        (json!({ "type": "any" }), [ok, ok, ok]),
    ] {
        let asking = trusting_with(&stage, "signedIdentity", identity.clone());
        for (text, (code, words)) in [&unnamed, &named, &other].into_iter().zip(expected) {
            let attached = stage.attach(&signed_bundle(&RELEASE, text));
            stage.ask(&asking).expect(&format!("{identity} of {text}"), code, words);
            stage.detach(&attached);
        }
    }
}
