//! Public keys in DER and PEM: what parses can be used, and verifies nothing by accident.
#![no_main]

use civ_cosign::PublicKey;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let pem = std::str::from_utf8(bytes).ok().and_then(|text| PublicKey::from_pem(text).ok());
    for key in PublicKey::from_spki_der(bytes).ok().into_iter().chain(pem) {
        assert!(key.verify_signature(b"message", bytes).is_err());
        assert_eq!(PublicKey::from_pem(&key.to_pem()), Ok(key));
    }
});
