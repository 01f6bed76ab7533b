//! Timestamps of an authority that the policy trusts: what counts is about the signature.
#![no_main]

mod transparency;

use civ_cosign::transparency::UntrustedProofs;
use serde_json::json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let annotation = json!({ "SignedRFC3161Timestamp": transparency::base64(bytes) });
    let proofs = UntrustedProofs::from_annotations(None, Some(&annotation.to_string()));
    transparency::refuse_timestamp(&proofs);
});
