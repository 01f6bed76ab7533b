//! Entries of real logs, and what attackers make of them.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_policy::transparency::{Requirements, TransparencyLog};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::PublicKey;

const REKOR: &str = "rekor.sigstore.dev";
const REKOR_2: &str = "log2025-alpha3.rekor.sigstage.dev";

fn read(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/transparency");
    fs::read(directory.join(name)).unwrap()
}

fn pem(log: &str) -> String {
    String::from_utf8(read(&format!("logs/{log}.pem"))).unwrap()
}

fn requirements(logs: &[&str]) -> Requirements {
    let public_keys = logs.iter().map(|log| pem(log)).collect();
    Requirements {
        transparency_log: Some(TransparencyLog { public_keys }),
        timestamp_authority: None,
    }
}

fn trusting(logs: &[&str]) -> Transparency {
    Transparency::new(&requirements(logs)).unwrap()
}

/// A signature of somebody else's making, and the entry that goes with it.
#[derive(Clone)]
struct Vector {
    key: PublicKey,
    message: Vec<u8>,
    signature: Vec<u8>,
    payload: Option<Vec<u8>>,
    material: Value,
}

impl Vector {
    fn load(name: &str) -> Self {
        let bundle: Value = serde_json::from_slice(&read(&format!("{name}.json"))).unwrap();
        let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let (message, signature, payload) = match bundle.get("dsseEnvelope") {
            Some(envelope) => {
                let payload = decode(&envelope["payload"]);
                let kind = envelope["payloadType"].as_str().unwrap();
                let mut message =
                    format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
                message.extend(&payload);
                (message, decode(&envelope["signatures"][0]["sig"]), Some(payload))
            }
            None => {
                let signature = decode(&bundle["messageSignature"]["signature"]);
                (read(&format!("{name}.message")), signature, None)
            }
        };
        let pem = String::from_utf8(read(&format!("{name}.pem"))).unwrap();
        let key = PublicKey::from_pem(&pem).unwrap();
        key.verify_signature(&message, &signature).unwrap();
        let material = bundle["verificationMaterial"].clone();
        Self { key, message, signature, payload, material }
    }

    fn signed(&self) -> Signed<'_> {
        let form = match &self.payload {
            Some(payload) => Form::Dsse { payload },
            None => Form::SimpleSigning,
        };
        Signed { key: &self.key, message: &self.message, signature: &self.signature, form }
    }

    fn check(&self, logs: &[&str]) -> Result<Option<SigningTime>, TransparencyError> {
        let proofs = UntrustedProofs::from_bundle(&self.material.to_string());
        trusting(logs).check(&proofs, &self.signed())
    }

    /// Why the entry that came closest does not count.
    fn refused(&self, logs: &[&str]) -> EntryError {
        match self.check(logs).unwrap_err() {
            TransparencyError::NotLogged { closest } => closest,
            other => panic!("{other}"),
        }
    }

    fn entry(&mut self) -> &mut Value {
        &mut self.material["tlogEntries"][0]
    }

    fn body(&self) -> Value {
        let body = self.material["tlogEntries"][0]["canonicalizedBody"].as_str().unwrap();
        serde_json::from_slice(&STANDARD.decode(body).unwrap()).unwrap()
    }

    fn with_body(mut self, body: &[u8]) -> Self {
        self.entry()["canonicalizedBody"] = STANDARD.encode(body).into();
        self
    }

    /// The same entry as cosign puts it beside a `.sig` layer.
    fn annotation(&self) -> Value {
        let entry = &self.material["tlogEntries"][0];
        let number = |name: &str| entry[name].as_str().unwrap().parse::<u64>().unwrap();
        let log_id = STANDARD.decode(entry["logId"]["keyId"].as_str().unwrap()).unwrap();
        let log_id: String = log_id.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            "Payload": {
                "body": entry["canonicalizedBody"],
                "integratedTime": number("integratedTime"),
                "logIndex": number("logIndex"),
                "logID": log_id,
            },
        })
    }

    fn check_annotation(
        &self,
        annotation: &Value,
    ) -> Result<Option<SigningTime>, TransparencyError> {
        let proofs = UntrustedProofs::from_annotations(Some(&annotation.to_string()), None);
        trusting(&[REKOR]).check(&proofs, &self.signed())
    }
}

/// The name of a vector, the log that has it, and the time that the log vouches for.
const VECTORS: [(&str, &str, Option<u64>); 3] = [
    ("hashedrekord-0.0.1", REKOR, Some(1_766_077_479)),
    ("dsse-0.0.1", REKOR, Some(1_787_189_607)),
    ("hashedrekord-0.0.2", "rekor.test", None),
];

#[test]
fn counts_entries_that_real_logs_made() {
    for (name, log, expected) in VECTORS {
        let time = Vector::load(name).check(&[REKOR_2, log]).unwrap();
        assert_eq!(time.map(|time| time.unix_seconds), expected, "{name}");
        assert!(time.is_none_or(|time| time.source == TimeSource::TransparencyLog), "{name}");
    }
}

#[test]
fn counts_an_annotation_that_the_log_promised_to_include() {
    let vector = Vector::load("hashedrekord-0.0.1");
    let time = vector.check_annotation(&vector.annotation()).unwrap().unwrap();
    assert_eq!(time.unix_seconds, 1_766_077_479);
}

#[test]
fn reads_a_witnessed_checkpoint_of_rekor_2() {
    let bundle: Value = serde_json::from_slice(&read("witnessed.json")).unwrap();
    let proofs = UntrustedProofs::from_bundle(&bundle["verificationMaterial"].to_string());
    let entries = proofs.entries().unwrap();
    let entry = entries[0].as_ref().unwrap();
    let logs = |names: &[&str]| trusting(names).logs.unwrap();
    assert_eq!(logs(&[REKOR, REKOR_2]).check_recorded(entry), Ok(None));
    // The public instance of another year is another log.
    let error = logs(&[REKOR, "log2025-1.rekor.sigstore.dev"]).check_recorded(entry).unwrap_err();
    assert!(matches!(error, EntryError::OtherLog { .. }), "{error}");
    // It is about a certificate's key, and so no signature of ours.
    let vector =
        Vector { material: bundle["verificationMaterial"].clone(), ..Vector::load("dsse-0.0.1") };
    assert_eq!(vector.refused(&[REKOR_2]), EntryError::OtherSignature);
}

#[test]
fn the_public_logs_have_the_ids_that_their_operators_publish() {
    for (log, origin, id) in [
        (REKOR, "", "wNI9atQGlz+VWfO6LRygH4QUfY/8W4RFwiT5i5WRgB0="),
        (
            "log2025-1.rekor.sigstore.dev",
            "log2025-1.rekor.sigstore.dev",
            "zxGZFVvd0FEmjR8WrFwMdcAJ9vtaY/QXf44Y1wUeP6A=",
        ),
    ] {
        assert_eq!(STANDARD.encode(trusting(&[log]).logs.unwrap().ids(origin)[0]), id, "{log}");
    }
}

#[test]
fn asks_for_nothing_unless_the_policy_does() {
    let vector = Vector::load("dsse-0.0.1");
    let nothing = Transparency::new(&Requirements::default()).unwrap();
    for proofs in [UntrustedProofs::default(), UntrustedProofs::from_bundle("{{{")] {
        assert_eq!(nothing.check(&proofs, &vector.signed()).unwrap(), None);
        trusting(&[REKOR]).check(&proofs, &vector.signed()).unwrap_err();
    }
}

#[test]
fn refuses_signatures_without_an_entry() {
    let mut vector = Vector::load("dsse-0.0.1");
    for entries in [json!([]), json!(null)] {
        vector.material["tlogEntries"] = entries;
        let error = vector.check(&[REKOR]).unwrap_err();
        assert!(matches!(error, TransparencyError::NoEntry), "{error}");
    }
    let none = UntrustedProofs::from_annotations(None, Some("{}"));
    let error = trusting(&[REKOR]).check(&none, &vector.signed()).unwrap_err();
    assert!(error.to_string().starts_with("not logged: signature has no"), "{error}");
}

#[test]
fn cve_2022_23649_and_2026_22703_refuses_a_valid_entry_that_is_about_another_signature() {
    let hashed = Vector::load("hashedrekord-0.0.1");
    let dsse = Vector::load("dsse-0.0.1");
    let swapped = Vector { material: dsse.material.clone(), ..hashed.clone() };
    assert_eq!(swapped.refused(&[REKOR]), EntryError::OtherSignature);
    let error = hashed.check_annotation(&dsse.annotation()).unwrap_err();
    assert!(error.to_string().contains("for another signature"), "{error}");

    // An entry is bound to all three: signature, key and payload.
    let other_key = Vector { key: dsse.key.clone(), ..hashed.clone() };
    assert_eq!(other_key.refused(&[REKOR]), EntryError::OtherKey);
    let other_message = Vector { message: b"other".to_vec(), ..hashed.clone() };
    assert_eq!(other_message.refused(&[REKOR]), EntryError::OtherContent);
    let other_payload = Vector { payload: Some(b"other".to_vec()), ..dsse.clone() };
    assert_eq!(other_payload.refused(&[REKOR]), EntryError::OtherContent);
    // The entry of an envelope says nothing of a simple-signing payload.
    let other_form = Vector { payload: None, ..dsse };
    assert_eq!(other_form.refused(&[REKOR]), EntryError::OtherContent);
    let mut other_message = Vector::load("hashedrekord-0.0.2");
    other_message.message.push(b' ');
    assert_eq!(other_message.refused(&["rekor.test"]), EntryError::OtherContent);
}

#[test]
fn cve_2022_36056_an_invalid_entry_is_never_a_success() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let proof = &vector.material["tlogEntries"][0]["inclusionProof"];
        for (what, value, expected) in [
            ("logId/keyId", json!(STANDARD.encode([0; 32])), None),
            ("logId/keyId", json!("AAAA"), Some(EntryError::Malformed)),
            ("kindVersion/version", json!("9"), Some(EntryError::Malformed)),
            ("inclusionProof", json!(null), Some(EntryError::NoProof)),
            ("inclusionProof/treeSize", json!("7"), Some(EntryError::OtherTree)),
            (
                "inclusionProof/rootHash",
                json!(STANDARD.encode([0; 32])),
                Some(EntryError::OtherTree),
            ),
            ("inclusionProof/logIndex", json!(17), Some(EntryError::Inclusion)),
            (
                "inclusionProof/hashes",
                json!([STANDARD.encode([0; 32])]),
                Some(EntryError::Inclusion),
            ),
            (
                "inclusionProof/hashes",
                json!(vec![STANDARD.encode([0; 32]); 65]),
                Some(EntryError::Malformed),
            ),
        ] {
            let mut changed = vector.clone();
            *changed.entry().pointer_mut(&format!("/{what}")).unwrap() = value;
            let error = changed.refused(&[log]);
            assert!(expected.is_none_or(|expected| error == expected), "{name} {what}: {error}");
        }
        assert!(proof.is_object());
        let error = vector.refused(&[REKOR_2]);
        assert!(matches!(error, EntryError::OtherLog { .. }), "{name}: {error}");
    }
}

#[test]
fn cve_2024_55655_no_time_without_the_logs_signature_on_it() {
    for name in ["hashedrekord-0.0.1", "dsse-0.0.1"] {
        let mut vector = Vector::load(name);
        // Included, but the time beside it is anybody's.
        vector.entry()["inclusionPromise"] = Value::Null;
        assert_eq!(vector.check(&[REKOR]).unwrap(), None, "{name}");
        let mut vector = Vector::load(name);
        vector.entry()["integratedTime"] = json!("1766077478");
        assert_eq!(vector.refused(&[REKOR]), EntryError::Promise, "{name}");
        let mut vector = Vector::load(name);
        vector.entry()["logIndex"] = json!("1");
        assert_eq!(vector.refused(&[REKOR]), EntryError::Promise, "{name}");
    }
    // Where nothing but the promise shows the entry, it is needed.
    let vector = Vector::load("hashedrekord-0.0.1");
    for (field, value) in
        [("integratedTime", json!(1)), ("logIndex", json!(1)), ("logID", json!("00".repeat(32)))]
    {
        let mut annotation = vector.annotation();
        annotation["Payload"][field] = value;
        vector.check_annotation(&annotation).unwrap_err();
    }
}

#[test]
fn cve_2024_53267_and_54140_refuses_a_checkpoint_that_the_log_did_not_sign() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let proof = &vector.material["tlogEntries"][0]["inclusionProof"];
        let note = proof["checkpoint"]["envelope"].as_str().unwrap().to_owned();
        let (text, signatures) = note.split_once("\n\n").unwrap();
        let body = STANDARD
            .decode(vector.material["tlogEntries"][0]["canonicalizedBody"].as_str().unwrap())
            .unwrap();
        // A tree of one leaf, which is the entry, under the signature of the log's real one.
        let root = STANDARD.encode(merkle::leaf_hash(&body));
        let origin = text.lines().next().unwrap();
        for checkpoint in [
            format!("{origin}\n1\n{root}\n\n{signatures}"),
            format!("{origin}\n1\n{root}\n\n\u{2014} witness.example AAAAAAAA\n"),
            format!("other.example\n1\n{root}\n\n{signatures}"),
        ] {
            let mut forged = vector.clone();
            forged.entry()["inclusionProof"] = json!({
                "logIndex": "0", "treeSize": "1", "rootHash": root, "hashes": [],
                "checkpoint": { "envelope": checkpoint },
            });
            let expected = match (name, checkpoint.starts_with(&text[..text.len().min(20)])) {
                // The whole tree of this vector is its entry: the first forgery is the original.
                ("hashedrekord-0.0.2", true) if checkpoint == note => continue,
                _ => EntryError::CheckpointSignature,
            };
            assert_eq!(forged.refused(&[log]), expected, "{name}: {checkpoint}");
        }
        let mut unsigned = vector.clone();
        unsigned.entry()["inclusionProof"]["checkpoint"]["envelope"] = format!("{text}\n").into();
        let error = unsigned.refused(&[log]);
        assert!(matches!(error, EntryError::Checkpoint(_)), "{name}: {error}");
    }
}

#[test]
fn cve_2026_49834_one_entry_twice_is_one_and_a_bad_one_does_not_spoil_it() {
    let vector = Vector::load("dsse-0.0.1");
    let good = vector.material["tlogEntries"][0].clone();
    let other = Vector::load("hashedrekord-0.0.1").material["tlogEntries"][0].clone();
    let mut several = vector.clone();
    for entries in [
        vec![good.clone(), good.clone()],
        vec![json!(null), json!({}), json!([]), json!("x"), other.clone(), good.clone()],
        vec![good.clone(), other.clone(), json!(17)],
    ] {
        several.material["tlogEntries"] = entries.into();
        assert!(several.check(&[REKOR]).unwrap().is_some());
    }
    several.material["tlogEntries"] = json!([other, null]);
    assert_eq!(several.refused(&[REKOR]), EntryError::OtherSignature);
}

#[test]
fn limits_are_their_own_reason() {
    let mut vector = Vector::load("dsse-0.0.1");
    let good = vector.material["tlogEntries"][0].clone();
    vector.material["tlogEntries"] = vec![good.clone(); 32].into();
    assert!(vector.check(&[REKOR]).is_ok());
    vector.material["tlogEntries"] = vec![good.clone(); 33].into();
    let error = vector.check(&[REKOR]).unwrap_err().to_string();
    assert!(error.starts_with("limit reached: 33 log entries"), "{error}");
    vector.material["tlogEntries"] = json!([good]);
    vector.material["padding"] = "x".repeat(proofs::PROOFS_MAX).into();
    let error = vector.check(&[REKOR]).unwrap_err().to_string();
    assert!(error.starts_with("limit reached: log entries and timestamps of"), "{error}");
    let vector = Vector::load("dsse-0.0.1").with_body(&vec![b' '; 65_537]);
    assert!(matches!(vector.refused(&[REKOR]), EntryError::BodyTooLarge { .. }));
}

/// #5016, #4648 to #4653 of sigstore/cosign: such documents made verifiers panic.
#[test]
fn refuses_entries_with_missing_and_null_fields() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let mut checked = 0;
        for path in paths(&vector.body()) {
            for value in
                [None, Some(Value::Null), Some(json!({})), Some(json!([])), Some(json!(""))]
            {
                let mut body = vector.body();
                // Nobody can hash the envelope again, and what a key is it says itself.
                if !path.contains("envelopeHash") && replace(&mut body, &path, value) {
                    let changed = vector.clone().with_body(body.to_string().as_bytes());
                    changed.refused(&[log]);
                    checked += 1;
                }
            }
        }
        assert!(checked > 30, "{name}: {checked}");
        for path in paths(&vector.material["tlogEntries"][0]) {
            for value in
                [None, Some(Value::Null), Some(json!({})), Some(json!([])), Some(json!(-1))]
            {
                let mut changed = vector.clone();
                if replace(changed.entry(), &path, value) {
                    // Some can be left out, such as a number that is zero; none panics.
                    let _ = changed.check(&[log]);
                }
            }
        }
    }
    for text in
        ["null", "[]", "{}", "1", "{\"tlogEntries\":{}}", "{\"tlogEntries\":[[[null]]]}", ""]
    {
        let vector = Vector::load("dsse-0.0.1");
        for proofs in [
            UntrustedProofs::from_bundle(text),
            UntrustedProofs::from_annotations(Some(text), Some(text)),
        ] {
            trusting(&[REKOR]).check(&proofs, &vector.signed()).unwrap_err();
        }
    }
}

#[test]
fn refuses_bodies_that_two_parsers_could_read_differently() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let body = vector.body().to_string();
        for changed in [
            body.replacen("{\"apiVersion\"", "{\"kind\":\"dsse\",\"apiVersion\"", 1),
            body.replacen("\"spec\":{", "\"spec\":{\"extra\":1,", 1),
            body.replacen("\"spec\":{", "\"Spec\":{", 1),
            format!("{body}{body}"),
            format!("[{body}]"),
        ] {
            let error = vector.clone().with_body(changed.as_bytes()).refused(&[log]);
            assert_eq!(error, EntryError::Malformed, "{name}: {changed}");
        }
        let other = body.replacen("\"kind\":\"", "\"kind\":\"x", 1);
        let mut other = vector.clone().with_body(other.as_bytes());
        let kind = other.body()["kind"].clone();
        other.entry()["kindVersion"]["kind"] = kind;
        assert!(matches!(other.refused(&[log]), EntryError::Kind { .. }), "{name}");
    }
}

#[test]
fn refuses_every_changed_byte_of_what_shows_that_an_entry_is_logged() {
    for (name, log, _) in VECTORS {
        let vector = Vector::load(name);
        let mut checked = 0;
        for path in [
            "/canonicalizedBody",
            "/inclusionPromise/signedEntryTimestamp",
            "/inclusionProof/rootHash",
            "/inclusionProof/hashes/0",
            "/inclusionProof/hashes/18",
            "/logId/keyId",
        ] {
            let original = vector.material["tlogEntries"][0].pointer(path).and_then(Value::as_str);
            let Some(original) = original else { continue };
            let bytes = STANDARD.decode(original).unwrap();
            for at in 0..bytes.len() {
                let mut mutated = bytes.clone();
                mutated[at] ^= 1;
                let mut changed = vector.clone();
                *changed.entry().pointer_mut(path).unwrap() = STANDARD.encode(mutated).into();
                changed.refused(&[log]);
                checked += 1;
            }
        }
        let path = "/inclusionProof/checkpoint/envelope";
        let note = vector.material["tlogEntries"][0].pointer(path).unwrap().as_str().unwrap();
        for (at, character) in note.char_indices() {
            for replacement in ['\n', 'A', 'B', '0', ' '] {
                if replacement != character {
                    let mut mutated = note.to_owned();
                    mutated.replace_range(at..at + character.len_utf8(), &replacement.to_string());
                    let mut changed = vector.clone();
                    *changed.entry().pointer_mut(path).unwrap() = mutated.clone().into();
                    changed.check(&[log]).expect_err(&mutated);
                    checked += 1;
                }
            }
        }
        assert!(checked > 500, "{name}: {checked}");
    }
}

#[test]
fn refuses_every_changed_byte_of_an_annotation() {
    let vector = Vector::load("hashedrekord-0.0.1");
    let good = vector.annotation();
    for path in ["/SignedEntryTimestamp", "/Payload/body"] {
        let bytes = STANDARD.decode(good.pointer(path).unwrap().as_str().unwrap()).unwrap();
        for at in 0..bytes.len() {
            let mut mutated = bytes.clone();
            mutated[at] ^= 1;
            let mut changed = good.clone();
            *changed.pointer_mut(path).unwrap() = STANDARD.encode(mutated).into();
            vector.check_annotation(&changed).unwrap_err();
        }
    }
}

#[test]
fn refuses_keys_of_logs_when_the_policy_is_loaded() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let key = |name: &str| fs::read_to_string(keys.join(name)).unwrap();
    let rekor = pem(REKOR);
    for (public_keys, expected) in [
        (vec![key("keys/rsa2048.pem")], "public key 1 of transparencyLog: logs sign with ECDSA"),
        (
            vec![rekor.clone(), key("refused-keys/private.pem")],
            "public key 2 of transparencyLog: this is a PRIVATE key",
        ),
        (
            vec![key("refused-keys/certificate.pem")],
            "public key 1 of transparencyLog: a certificate is no public key",
        ),
        (
            vec![format!("{rekor}{rekor}")],
            "public key 1 of transparencyLog: not a public key in PEM",
        ),
        (vec![String::new()], "public key 1 of transparencyLog: not a public key in PEM"),
        (
            vec![rekor.clone(), pem(REKOR_2), rekor],
            "public keys 1 and 3 of transparencyLog are the same key",
        ),
    ] {
        let requirements = Requirements {
            transparency_log: Some(TransparencyLog { public_keys }),
            timestamp_authority: None,
        };
        let error = Transparency::new(&requirements).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[cfg(not(feature = "timestamps"))]
#[test]
fn refuses_a_policy_that_asks_for_timestamps_if_they_are_not_built() {
    let requirements = Requirements {
        timestamp_authority: Some(civ_policy::transparency::TimestampAuthority {
            certificate_chains: vec!["PEM".to_owned()],
        }),
        ..requirements(&[REKOR])
    };
    let error = Transparency::new(&requirements).unwrap_err().to_string();
    assert!(error.starts_with("this build cannot check timestamps"), "{error}");
}

/// The paths of all values in `document`.
fn paths(document: &Value) -> Vec<String> {
    let below = |prefix: String, value: &Value| {
        let nested = paths(value).into_iter().map(|path| format!("{prefix}{path}"));
        std::iter::once(prefix.clone()).chain(nested).collect::<Vec<_>>()
    };
    match document {
        Value::Object(object) => {
            object.iter().flat_map(|(key, value)| below(format!("/{key}"), value)).collect()
        }
        Value::Array(array) => array
            .iter()
            .enumerate()
            .flat_map(|(at, value)| below(format!("/{at}"), value))
            .collect(),
        _ => Vec::new(),
    }
}

/// Replaces or removes what is at `path`. Was there anything to change?
fn replace(document: &mut Value, path: &str, value: Option<Value>) -> bool {
    let (parent, key) = path.rsplit_once('/').unwrap();
    match (document.pointer_mut(parent), value) {
        (Some(Value::Object(object)), None) => object.remove(key).is_some(),
        (Some(Value::Array(array)), None) => {
            array.remove(key.parse().unwrap());
            true
        }
        (_, None) => false,
        (_, Some(value)) => {
            let place = document.pointer_mut(path).unwrap();
            let differs = *place != value;
            *place = value;
            differs
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), json in r#"[\[\]{}":,a-zA-Z0-9]{0,60}"#) {
        let vector = Vector::load("dsse-0.0.1");
        for text in [text, json] {
            for proofs in [
                UntrustedProofs::from_bundle(&text),
                UntrustedProofs::from_annotations(Some(&text), Some(&text)),
            ] {
                prop_assert!(trusting(&[REKOR]).check(&proofs, &vector.signed()).is_err());
            }
        }
    }

    #[test]
    fn no_body_makes_the_parser_panic(body in any::<Vec<u8>>(), spec in r#"[\[\]{}":,a-zA-Z0-9]{0,60}"#) {
        let kinds = [("hashedrekord", "0.0.1"), ("hashedrekord", "0.0.2"), ("dsse", "0.0.1")];
        let typed = kinds.map(|(kind, version)| {
            format!(r#"{{"apiVersion":"{version}","kind":"{kind}","spec":{spec}}}"#).into_bytes()
        });
        let vector = Vector::load("dsse-0.0.1");
        for body in typed.into_iter().chain([body]) {
            prop_assert!(entry::check_body(&body, None, &vector.signed()).is_err());
        }
    }
}
