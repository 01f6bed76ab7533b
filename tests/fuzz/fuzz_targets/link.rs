//! `Link`: the next page is a part of the header as it stands, between `<` and `>`.
#![no_main]

use civ_registry::link;

libfuzzer_sys::fuzz_target!(|header: &str| {
    if let Some(next) = link::next_target(header) {
        assert!(header.contains(&format!("<{next}>")));
        assert!(header.to_ascii_lowercase().contains("next"));
    }
});
