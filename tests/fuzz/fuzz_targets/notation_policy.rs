//! Notary Project trust policies, and the distinguished names in them.
#![no_main]

use civ_policy::notation::{DistinguishedName, Policy};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Policy::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<DistinguishedName>();
    }
});
