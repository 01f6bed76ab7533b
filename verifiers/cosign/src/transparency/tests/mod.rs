//! Entries of real logs, and what attackers make of them.
//!
//! | module | what the attacker does |
//! |---|---|
//! | this one | nothing, or too much |
//! | [`advisories`] | what worked against others |
//! | [`mutation`] | a bit flip, a null, another spelling |

mod advisories;
mod mutation;

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_policy::transparency::{Requirements, TransparencyLog};
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
        let (message, signature, payload) = if let Some(envelope) = bundle.get("dsseEnvelope") {
            let payload = decode(&envelope["payload"]);
            let kind = envelope["payloadType"].as_str().unwrap();
            let mut message =
                format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
            message.extend(&payload);
            (message, decode(&envelope["signatures"][0]["sig"]), Some(payload))
        } else {
            let signature = decode(&bundle["messageSignature"]["signature"]);
            (read(&format!("{name}.message")), signature, None)
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
        let log_id = entry::hex(&log_id);
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
