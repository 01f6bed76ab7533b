//! Manifests and indexes: a document is one of them under at most one kind of type.
#![no_main]

use civ_oci::{Document, media_type};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let is_manifest = Document::parse(bytes, media_type::OCI_MANIFEST).is_ok();
    let is_index = Document::parse(bytes, media_type::OCI_INDEX).is_ok();
    assert!(!(is_manifest && is_index));
});
