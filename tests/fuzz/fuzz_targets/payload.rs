//! Simple-signing payloads: what parses can be written and parses again.
#![no_main]

use civ_cosign::SimpleSigning;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(payload) = SimpleSigning::parse(bytes) {
        assert_eq!(SimpleSigning::parse(&payload.to_bytes()).ok(), Some(payload));
    }
});
