//! Answers of KMS: none but one that names the ARN that was asked for has its key.
#![no_main]

use civ_aws::kms;
use civ_aws::network::Answer;
use civ_policy::KmsKeyRef;

const KEY: &str = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// The same key in another account: what is made up here may name it, and is not asked for it.
const OTHER: &str = "arn:aws:kms:eu-west-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab";

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let key = |arn: &str| format!("awskms:///{arn}").parse::<KmsKeyRef>().expect("a reference");
    let answers = [200, 400].map(|status| Answer { status, body: body.to_vec() });
    assert!(kms::public_key_in(&answers[1], &key(KEY)).is_err());
    let [ours, theirs] = [KEY, OTHER].map(|arn| kms::public_key_in(&answers[0], &key(arn)));
    assert!(ours.is_err() || theirs.is_err(), "one answer for two keys");
    for outcome in [ours, theirs] {
        match outcome {
            Ok(spki) => assert!(spki.len() <= 4 << 10),
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
});
