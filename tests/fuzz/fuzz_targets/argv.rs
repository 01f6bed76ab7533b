//! The command line that containerd writes: never a help text for a call, never a panic.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use civ_bindir::Call;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let arguments: Vec<OsString> =
        bytes.split(|byte| *byte == 0).map(|part| OsString::from_vec(part.to_vec())).collect();
    let alone = arguments.len() == 1;
    if let Ok(Call::Help | Call::Version) = Call::parse(arguments) {
        assert!(alone);
    }
});
