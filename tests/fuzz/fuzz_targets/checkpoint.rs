//! Checkpoints, in an entry that is good but for them: only the log's own is one.
#![no_main]

mod transparency;

libfuzzer_sys::fuzz_target!(|note: &str| {
    let mut entry = transparency::entry();
    let good = entry["inclusionProof"]["checkpoint"]["envelope"].take();
    if good != note {
        entry["inclusionProof"]["checkpoint"]["envelope"] = note.into();
        transparency::refuse(&transparency::bundle(&entry));
    }
});
