//! A policy that asks for a log entry or a timestamp, and a signature that has one.
#![allow(dead_code, reason = "each target needs a part")]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_cosign::PublicKey;
use civ_cosign::transparency::{Form, Signed, Transparency, UntrustedProofs};
use civ_policy::transparency::{Requirements, TimestampAuthority, TransparencyLog};
use serde_json::{Value, json};

macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("../../../../verifiers/cosign/testdata/transparency/", $name))
    };
}

static BUNDLE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(vector!("hashedrekord-0.0.1.json")).unwrap());
static KEY: LazyLock<PublicKey> =
    LazyLock::new(|| PublicKey::from_pem(vector!("hashedrekord-0.0.1.pem")).unwrap());
static LOG: LazyLock<Transparency> = LazyLock::new(|| {
    let public_keys = vec![vector!("logs/rekor.sigstore.dev.pem").to_owned()];
    Transparency::new(&Requirements {
        transparency_log: Some(TransparencyLog { public_keys }),
        timestamp_authority: None,
    })
    .unwrap()
});
static AUTHORITY: LazyLock<Transparency> = LazyLock::new(|| {
    let certificate_chains = vec![vector!("authorities/p256.pem").to_owned()];
    Transparency::new(&Requirements {
        transparency_log: None,
        timestamp_authority: Some(TimestampAuthority { certificate_chains }),
    })
    .unwrap()
});

/// The entry of the signature.
pub(crate) fn entry() -> Value {
    BUNDLE["verificationMaterial"]["tlogEntries"][0].clone()
}

/// A bundle's proofs with this entry alone.
pub(crate) fn bundle(entry: &Value) -> UntrustedProofs {
    UntrustedProofs::from_bundle(&json!({ "tlogEntries": [entry] }).to_string())
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The log's policy must refuse.
pub(crate) fn refuse(proofs: &UntrustedProofs) {
    let signature = BUNDLE["messageSignature"]["signature"].as_str().unwrap();
    check(&LOG, proofs, &STANDARD.decode(signature).unwrap());
}

/// The authority's policy must refuse: it never saw this signature.
pub(crate) fn refuse_timestamp(proofs: &UntrustedProofs) {
    check(&AUTHORITY, proofs, b"a signature that nobody stamped");
}

fn check(policy: &Transparency, proofs: &UntrustedProofs, signature: &[u8]) {
    let message = vector!("hashedrekord-0.0.1.message").as_bytes();
    let signed = Signed { key: &KEY, message, signature, form: Form::SimpleSigning };
    assert!(policy.check(proofs, &signed).is_err());
}
