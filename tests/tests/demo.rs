//! `civ demo` where there is no containerd: what it shows, what it must not overlook, and that it
//! leaves nothing behind.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use civ_tests::demo::{Demo, WRONG};
use civ_tests::programs::{self, Finished};
use rustix::process::Signal;

const SYSTEM: &str = "/bin";
const GOOD: &str = "\nEvery verdict is the expected one.\n";

/// Image, who is asked, the verdict with its exit code, and words of the reason.
const ROWS: [(&str, &str, &str, &str); 10] = [
    ("signed", "cosign", "allowed 0", "signed by \"release\""),
    ("unsigned", "cosign", "refused 1", "no signature"),
    ("signature tampered with", "cosign", "refused 1", "signature invalid"),
    ("signed by another key", "cosign", "refused 1", "signature invalid"),
    ("signed for another repository", "cosign", "refused 1", "for another repository"),
    ("annotation missing", "cosign", "refused 1", "\"e2e-tests-passed\""),
    ("digest listed", "digestion", "allowed 0", "digest listed"),
    ("digest not listed", "digestion", "refused 1", "not among"),
    ("team stated", "annotations", "allowed 0", "\"owned\""),
    ("team not stated", "annotations", "refused 1", "\"team\" missing"),
];

/// It ended well, with every row in its place.
#[track_caller]
fn assert_shown(finished: &Finished) {
    let said = format!("{finished:#?}");
    assert!(finished.success() && finished.stdout.ends_with(GOOD), "{said}");
    assert_eq!(finished.stderr, "", "{said}");
    let lines = finished.stdout.lines().filter(|line| line.starts_with("  "));
    let rows: Vec<_> = lines.skip(1).take(ROWS.len()).collect();
    assert_eq!(rows.len(), ROWS.len(), "{said}");
    for (row, (image, asked, verdict, words)) in rows.iter().zip(ROWS) {
        let squeezed = row.split_whitespace().collect::<Vec<_>>().join(" ");
        let start = format!("{image} {asked} {verdict} ");
        assert!(squeezed.starts_with(&start) && squeezed.contains(words), "{start}: {row}");
    }
}

#[test]
fn shows_one_image_that_is_allowed_and_seven_that_are_refused_each_for_its_reason() {
    let demo = Demo::new();
    assert_shown(&demo.run());
    demo.assert_nothing_left();
}

#[test]
fn fails_with_verifiers_that_do_not_do_what_they_should() {
    for (what, script) in WRONG {
        let demo = Demo::with_script(script);
        let Finished { code, stdout, stderr } = demo.run();
        let said = format!("{what}: {stdout}{stderr}");
        assert_eq!(code, Some(1), "{said}");
        assert!(stdout.contains("\nNot as expected: \"") && !stdout.contains(GOOD), "{said}");
        demo.assert_nothing_left();
    }
}

#[test]
fn neither_the_umask_nor_an_open_directory_above_matters() {
    let demo = Demo::new();
    let shell = ["sh", "-c", "umask 002; exec \"$@\"", "sh"];
    let mut command = demo.command_below(&shell, Path::new(SYSTEM), &["--no-containerd"]);
    assert_shown(&programs::run(&mut command));

    fs::set_permissions(demo.temporary(), Permissions::from_mode(0o777)).unwrap();
    assert_shown(&demo.run());
    demo.assert_nothing_left();
}

#[test]
fn what_is_stopped_at_any_time_leaves_nothing() {
    let demo = Demo::with_script("while :; do sleep 1; done");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let start = || demo.start(&mut demo.command(Path::new(SYSTEM), &["--no-containerd"]));

        let early = start();
        demo.wait_for_directory(|_| true);
        early.signal(signal);
        assert_stopped(&early.finish(), code);
        demo.assert_nothing_left();

        let mut amid = start();
        amid.wait_for("verdict  exit");
        amid.signal(signal);
        assert_stopped(&amid.finish(), code);
        demo.assert_nothing_left();
    }
}

#[track_caller]
fn assert_stopped(finished: &Finished, code: i32) {
    assert_eq!(finished.code, Some(code), "{finished:#?}");
    assert_eq!(finished.stderr, "civ: stopped\n");
    assert!(!finished.stdout.contains(GOOD), "{finished:#?}");
}

#[test]
fn ends_as_every_verb_does_when_nobody_reads_it_or_the_disk_is_full() {
    let demo = Demo::new();
    let mut command = demo.command(Path::new(SYSTEM), &["--no-containerd"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(141));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.starts_with("civ: the result cannot be written: No space left"), "{stderr}");
    demo.assert_nothing_left();
}

#[test]
fn verifiers_that_are_not_there_are_asked_for() {
    let finished = Demo::with_no_verifiers().run();
    assert_eq!((finished.code, &*finished.stdout), (Some(3), ""));
    assert!(finished.stderr.ends_with("build them with `cargo gate`, or say --verifiers DIR\n"));
}
