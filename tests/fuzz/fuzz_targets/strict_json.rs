//! Strict JSON: what is accepted is JSON to everybody else.
#![no_main]

use civ_oci::strict_json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if strict_json::check(bytes).is_ok() {
        serde_json::from_slice::<serde_json::Value>(bytes).expect("it is JSON");
    }
});
