//! Lists, lock files and manifests that images are read from.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = civ_authoring::images::read(bytes);
});
