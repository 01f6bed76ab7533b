//! Bundles and the statements in them: what parses claims nothing about an image that it does not name.
#![no_main]

use civ_cosign::{ImageStatement, UntrustedBundle};
use civ_oci::Digest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let bundled = UntrustedBundle::parse(bytes).map(|bundle| bundle.payload);
    let statements = [Some(bytes.to_vec()), bundled.ok()].into_iter().flatten();
    for statement in statements.filter_map(|bytes| ImageStatement::parse(&bytes).ok()) {
        assert!(!statement.claims_about(&Digest::sha256(bytes)).is_about_image);
    }
});
