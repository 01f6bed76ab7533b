//! Trust policies, keys included.
#![no_main]

use civ_cosign::TrustPolicy;
use civ_policy::{annotations, digestion};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = TrustPolicy::parse(bytes);
    let _ = annotations::Policy::parse(bytes);
    let _ = digestion::Policy::parse(bytes);
});
