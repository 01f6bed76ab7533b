//! Log entries: the real cosign and civ's library agree about what a log of our own recorded.
//!
//! cosign is the proof that the harness makes entries as Rekor does; the library is then told apart
//! from it only where it is stricter.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_cosign::PublicKey;
use civ_cosign::transparency::{Form, Signed, SigningTime, Transparency, UntrustedProofs};
use civ_oci::Digest;
use civ_policy::UtcTime;
use civ_policy::transparency::{Requirements, TransparencyLog};
use civ_tests::bundling;
use civ_tests::cosign::Cosign;
use civ_tests::programs::Finished;
use civ_tests::scratch;
use civ_tests::signing::{Key, Kind, SIGNATURE};
use civ_tests::stage::Stage;
use civ_tests::transparency_log::{
    INTEGRATED, Log, Place, Version, dsse_1, hashedrekord_1, hashedrekord_2,
    pre_authentication_encoding,
};
use serde_json::{Value, json};

const BLOB: &[u8] = b"what is signed";
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A signature of our own over [`BLOB`], or over a statement about it.
struct SignedBlob {
    key: Key,
    message: Vec<u8>,
    signature: Vec<u8>,
    payload: Option<Vec<u8>>,
}

impl SignedBlob {
    fn over_blob() -> Self {
        Self::new(BLOB.to_vec(), None)
    }

    fn over_statement() -> Self {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "blob", "digest": { "sha256": Digest::sha256(BLOB).hex() } }],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        });
        let payload = statement.to_string().into_bytes();
        Self::new(pre_authentication_encoding(IN_TOTO, &payload), Some(payload))
    }

    fn new(message: Vec<u8>, payload: Option<Vec<u8>>) -> Self {
        let key = Key::generate(Kind::P256);
        let signature = key.sign(&message);
        Self { key, message, signature, payload }
    }

    /// A bundle of this signature with these log entries.
    fn bundle(&self, entries: &[Value]) -> Value {
        let mut bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": "" }, "tlogEntries": entries },
        });
        let signature = STANDARD.encode(&self.signature);
        if let Some(payload) = &self.payload {
            bundle["dsseEnvelope"] = json!({
                "payload": STANDARD.encode(payload),
                "payloadType": IN_TOTO,
                "signatures": [{ "sig": signature }],
            });
        } else {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.message);
            bundle["messageSignature"] = json!({
                "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) },
                "signature": signature,
            });
        }
        bundle
    }

    /// What civ says of the bundle.
    fn civ(&self, log: &Log, proofs: &UntrustedProofs) -> Result<Option<SigningTime>, String> {
        let requirements = Requirements {
            transparency_log: Some(TransparencyLog { public_keys: vec![log.public_pem()] }),
            timestamp_authority: None,
        };
        let key = PublicKey::from_pem(&self.key.public_pem()).unwrap();
        let form = match &self.payload {
            Some(payload) => Form::Dsse { payload },
            None => Form::SimpleSigning,
        };
        let signed = Signed { key: &key, message: &self.message, signature: &self.signature, form };
        let transparency = Transparency::new(&requirements).unwrap();
        transparency.check(proofs, &signed).map_err(|error| error.to_string())
    }

    /// What cosign says of the bundle.
    fn cosign(&self, log: &Log, bundle: &Value) -> Finished {
        let directory = scratch::directory();
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let key = file("key.pub", self.key.public_pem().as_bytes());
        let trusted_root = file("root.json", log.trusted_root().to_string().as_bytes());
        let bundle = file("bundle.json", bundle.to_string().as_bytes());
        let blob = file("blob", BLOB);
        let verify: &[&str] = match &self.payload {
            Some(_) => {
                &["verify-blob-attestation", "--type", "https://sigstore.dev/cosign/sign/v1"]
            }
            None => &["verify-blob"],
        };
        let arguments =
            ["--key", &key, "--trusted-root", &trusted_root, "--bundle", &bundle, &blob];
        Cosign::new().run(verify.iter().copied().chain(arguments))
    }
}

fn material(bundle: &Value) -> UntrustedProofs {
    UntrustedProofs::from_bundle(&bundle["verificationMaterial"].to_string())
}

#[test]
fn cosign_and_civ_count_the_same_entries() {
    let rekor_1 = Log::new(Version::One, "rekor.example");
    let rekor_2 = Log::new(Version::Two, "log2026.example");
    let (blob, statement) = (SignedBlob::over_blob(), SignedBlob::over_statement());
    let payload = statement.payload.as_ref().unwrap();
    let place = Place { index: 4, size: 7 };
    for (what, signature, log, body) in [
        ("hashedrekord 0.0.1", &blob, &rekor_1, hashedrekord_1(&blob.key, BLOB, &blob.signature)),
        ("hashedrekord 0.0.2", &blob, &rekor_2, hashedrekord_2(&blob.key, BLOB, &blob.signature)),
        ("dsse 0.0.1", &statement, &rekor_1, dsse_1(&statement.key, payload, &statement.signature)),
        (
            "hashedrekord 0.0.2 of an envelope",
            &statement,
            &rekor_2,
            hashedrekord_2(&statement.key, &statement.message, &statement.signature),
        ),
    ] {
        let bundle = signature.bundle(&[log.entry(&body, place)]);
        signature.cosign(log, &bundle).expect_success(what);
        let time = signature.civ(log, &material(&bundle)).unwrap();
        let expected = what.ends_with("0.0.1").then_some(INTEGRATED);
        assert_eq!(time.map(|time| time.unix_seconds), expected, "{what}");

        // An entry of the same log about another signature of the same key over the same bytes.
        let other = signature.key.sign(&signature.message);
        let body: Value = serde_json::from_str(
            &body
                .to_string()
                .replace(&STANDARD.encode(&signature.signature), &STANDARD.encode(other)),
        )
        .unwrap();
        let bundle = signature.bundle(&[log.entry(&body, place)]);
        assert!(!signature.cosign(log, &bundle).success(), "{what}");
        let error = signature.civ(log, &material(&bundle)).unwrap_err();
        assert_eq!(error, "not logged: log entry is for another signature", "{what}");
    }
}

#[test]
fn civ_counts_entries_in_trees_of_any_size() {
    let log = Log::new(Version::Two, "log2026.example");
    let signature = SignedBlob::over_blob();
    let body = hashedrekord_2(&signature.key, BLOB, &signature.signature);
    for size in (1..=9).chain([31, 32, 33]) {
        for index in 0..size {
            let entry = log.entry(&body, Place { index, size });
            let bundle = signature.bundle(std::slice::from_ref(&entry));
            signature.civ(&log, &material(&bundle)).unwrap();
            let mut moved = entry.clone();
            moved["inclusionProof"]["logIndex"] = json!((index + 1).to_string());
            let bundle = signature.bundle(&[moved]);
            signature.civ(&log, &material(&bundle)).unwrap_err();
        }
    }
}

#[test]
fn civ_refuses_entries_of_a_log_that_has_another_key_or_name() {
    let signature = SignedBlob::over_blob();
    let body = hashedrekord_2(&signature.key, BLOB, &signature.signature);
    for version in [Version::One, Version::Two] {
        let log = Log::new(version, "log.example");
        let twin = Log::new(version, "log.example");
        let bundle = signature.bundle(&[twin.entry(&body, Place { index: 0, size: 1 })]);
        let error = signature.civ(&log, &material(&bundle)).unwrap_err();
        assert!(error.contains("which the policy does not list"), "{error}");
        // The twin says that it is the log.
        let mut entry = twin.entry(&body, Place { index: 0, size: 1 });
        let honest = log.entry(&body, Place { index: 0, size: 1 });
        entry["logId"] = honest["logId"].clone();
        let error = signature.civ(&log, &material(&signature.bundle(&[entry]))).unwrap_err();
        assert!(error.contains("not signed by the log"), "{error}");
    }
}

#[test]
fn cosign_and_civ_count_the_same_promises() {
    let log = Log::new(Version::One, "rekor.example");
    let signature = SignedBlob::over_blob();
    let annotation = log.annotation(&hashedrekord_1(&signature.key, BLOB, &signature.signature));
    let other = SignedBlob::over_blob();
    let misplaced = log.annotation(&hashedrekord_1(&other.key, BLOB, &other.signature));
    for (annotation, counts) in [(annotation, true), (misplaced, false)] {
        let directory = scratch::directory();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let key = file("key.pub", &signature.key.public_pem());
        let rekor = file("rekor.pub", &log.public_pem());
        let blob = file("blob", std::str::from_utf8(BLOB).unwrap());
        // The form of cosign 2: what stands beside a `.sig` layer, in a file.
        let bundle = json!({
            "base64Signature": STANDARD.encode(&signature.signature),
            "rekorBundle": annotation,
        });
        let bundle = file("bundle.json", &bundle.to_string());
        let cosign =
            Cosign::new().with_env([("SIGSTORE_REKOR_PUBLIC_KEY".to_owned(), rekor)].into());
        let finished = cosign.run([
            "verify-blob",
            "--new-bundle-format=false",
            "--offline",
            "--key",
            &key,
            "--bundle",
            &bundle,
            &blob,
        ]);
        assert_eq!(finished.success(), counts, "{finished:#?}");
        let proofs = UntrustedProofs::from_annotations(Some(&annotation.to_string()), None);
        let time = signature.civ(&log, &proofs);
        assert_eq!(time.is_ok(), counts, "{time:?}");
        assert!(time.is_err() || time.unwrap().unwrap().unix_seconds == INTEGRATED);
    }
}

#[test]
fn the_gate_asks_for_an_entry_where_the_policy_does() {
    let stage = Stage::default();
    let key = Key::generate(Kind::P256);
    let rekor_1 = Log::new(Version::One, "rekor.example");
    let rekor_2 = Log::new(Version::Two, "log2026.example");
    let mut asking = stage.statement(&[("release", &key)]);
    asking["transparencyLog"] =
        json!({ "publicKeys": [rekor_1.public_pem(), rekor_2.public_pem()] });

    let text = bundling::statement(&stage.image.digest, "{}");
    let message = bundling::pae(IN_TOTO, text.as_bytes());
    let signature = key.sign(&message);
    let mut bundle = bundling::bundle(text.as_bytes(), &signature);
    let attached = stage.attach(&bundle);
    stage.ask(&asking).expect("no entry", 1, "not logged");
    stage.detach(&attached);
    let place = Place { index: 2, size: 5 };
    let entry = rekor_2.entry(&hashedrekord_2(&key, &message, &signature), place);
    bundle["verificationMaterial"]["tlogEntries"] = json!([entry]);
    let attached = stage.attach(&bundle);
    stage.ask(&asking).expect("an entry in the bundle", 0, "signed by");
    // The entry stays with the signature that it is about.
    let signature = STANDARD.encode(key.sign(&message));
    bundle["dsseEnvelope"]["signatures"] = json!([{ "sig": signature }]);
    stage.detach(&attached);
    let attached = stage.attach(&bundle);
    stage.ask(&asking).expect("another signature's entry", 1, "not logged");
    stage.detach(&attached);

    let honest = stage.honest(&key);
    let signature = honest.descriptor["annotations"][SIGNATURE].as_str().unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let body = hashedrekord_1(&key, &honest.payload, &signature);
    stage.publish(std::slice::from_ref(&honest));
    stage.ask(&asking).expect("no entry beside the layer", 1, "not logged");
    let promise = rekor_1.annotation(&body).to_string();
    stage.publish(&[honest.with("/annotations/dev.sigstore.cosign~1bundle", promise)]);
    stage.ask(&asking).expect("an entry beside the layer", 0, "signed by");

    // The log vouches for a time, so the key need not be valid today.
    let time = |seconds| UtcTime::from_unix(Duration::from_secs(seconds)).unwrap().to_string();
    asking["keys"][0]["validBefore"] = json!(time(INTEGRATED + 1));
    stage.ask(&asking).expect("signed while the key was valid", 0, "signed by");
    asking["keys"][0]["validBefore"] = json!(time(INTEGRATED));
    stage.ask(&asking).expect("signed too late", 1, "it signed at");
    asking.as_object_mut().unwrap().remove("transparencyLog");
    stage.ask(&asking).expect("without the log", 1, "this machine's clock says");
}
