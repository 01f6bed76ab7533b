//! `WWW-Authenticate`, and the address of a token made from it.
#![no_main]

use civ_registry::Challenge;

libfuzzer_sys::fuzz_target!(|header: &str| {
    if let Some(url) = Challenge::parse(header).and_then(|c| c.token_url("repository:a:pull")) {
        assert!(url.ends_with("scope=repository:a:pull"));
    }
});
