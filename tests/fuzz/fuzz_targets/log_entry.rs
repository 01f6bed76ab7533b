//! Log entries and timestamps as they come with a signature: nothing made up here counts.
#![no_main]

mod transparency;

use civ_cosign::transparency::UntrustedProofs;

libfuzzer_sys::fuzz_target!(|text: &str| {
    transparency::refuse(&UntrustedProofs::from_bundle(text));
    transparency::refuse(&UntrustedProofs::from_annotations(Some(text), Some(text)));
    // The same as the body of an entry that is good but for it.
    let mut entry = transparency::entry();
    entry["canonicalizedBody"] = transparency::base64(text.as_bytes()).into();
    transparency::refuse(&transparency::bundle(&entry));
});
