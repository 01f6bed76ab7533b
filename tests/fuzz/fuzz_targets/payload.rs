//! Simple-signing payloads: what parses can be written, and then says the same. Only numbers may come
//! back as a neighbour; annotations that count are text.
#![no_main]

use std::collections::BTreeMap;

use civ_cosign::SimpleSigning;
use civ_oci::Digest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(payload) = SimpleSigning::parse(bytes) else { return };
    let again = SimpleSigning::parse(&payload.to_bytes()).expect("it is a payload");
    let digest = Digest::sha256(bytes);
    let (said, again) = (payload.claims_about(&digest), again.claims_about(&digest));
    assert!(!said.is_about_image && !again.is_about_image);
    assert_eq!((&said.digest, said.repository), (&again.digest, again.repository));
    let keys = |claims: &civ_cosign::Claims<'_>| claims.annotations.map(BTreeMap::len);
    assert_eq!(keys(&said), keys(&again));
    for (key, value) in said.annotations.into_iter().flatten() {
        let found = again.annotation(key).expect("it was written");
        assert_eq!(value.as_str(), found.as_str());
    }
});
