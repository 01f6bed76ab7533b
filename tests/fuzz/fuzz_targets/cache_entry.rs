//! What is kept of KMS: an entry is about one reference, and old ones and those from the future are
//! not used.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use civ_aws::cache::Kept;
use civ_policy::{KmsCache, KmsKeyRef};

const KEY: &str = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let now = UNIX_EPOCH + Duration::from_secs(1_763_800_000);
    let [ours, theirs] = ["", "kms.example"].map(|endpoint| {
        let key: KmsKeyRef = format!("awskms://{endpoint}/{KEY}").parse().expect("a reference");
        Kept::parse(bytes, &key, now)
    });
    assert!(ours.is_err() || theirs.is_err(), "one entry for two keys");
    if let Ok(Some(kept)) = ours {
        assert!(kept.age <= KmsCache::OLDEST);
        let key: KmsKeyRef = format!("awskms:///{KEY}").parse().expect("a reference");
        assert_eq!(Kept::parse(bytes, &key, UNIX_EPOCH).ok(), Some(None));
    }
});
