//! References to KMS keys: what parses is shown as itself, and leads to a host of AWS's or to the one
//! that it names.
#![no_main]

use civ_aws::kms;
use civ_policy::KmsKeyRef;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(key) = text.parse::<KmsKeyRef>() else { return };
    assert_eq!(key.to_string(), text);
    assert!(KmsKeyRef::is_meant_by(text));
    if let Ok(endpoint) = kms::endpoint(&key) {
        let authority = endpoint.authority();
        match key.endpoint() {
            Some(named) => assert_eq!(authority, named),
            None => assert!(authority.starts_with("kms.") && !authority.contains(['/', '@', ':'])),
        }
    }
});
