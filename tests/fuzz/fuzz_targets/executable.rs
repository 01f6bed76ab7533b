//! The header of an executable, and what kind of verifier it is.
#![no_main]

use civ_doctor::elf;
use civ_doctor::verifiers::Content;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let is_executable = elf::read(bytes).is_ok();
    assert_eq!(is_executable, matches!(Content::of(bytes), Content::Executable(..)));
});
