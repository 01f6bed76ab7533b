//! `civ demo` with the real containerd: the same pulls through it, and what goes wrong with it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use civ_tests::demo::{Demo, Running, WRONG};
use civ_tests::programs::{self, Finished};
use rustix::process::Signal;

const GOOD: &str = "\nEvery verdict is the expected one.\n";

/// The reasons of the seven that are refused.
const REASONS: [&str; 7] = [
    "unsigned: no signature",
    "signature invalid",
    "signature invalid",
    "signature is for another repository",
    "annotation missing",
    "digest not listed",
    "annotation \"team\" missing",
];

/// Where containerd and ctr are.
fn programs() -> PathBuf {
    assert!(rustix::process::geteuid().is_root(), "containerd needs root: run these tests as root");
    programs::find("ctr");
    programs::find("containerd").parent().unwrap().to_owned()
}

fn run(demo: &Demo) -> Finished {
    programs::run(&mut demo.command(&programs(), &[]))
}

fn start(demo: &Demo) -> Running {
    demo.start(&mut demo.command(&programs(), &[]))
}

/// The second table is there, and all in it is as it should be.
#[track_caller]
fn assert_pulled(finished: &Finished) {
    let said = format!("{finished:#?}");
    assert!(finished.success() && finished.stdout.ends_with(GOOD), "{said}");
    let (_, table) = finished.stdout.split_once("\nThe same through containerd 2.").expect(&said);
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("  ")).skip(1).collect();
    let (allowed, refused) = rows.split_first().expect(&said);
    assert!(allowed.contains("  allowed     0  ") && allowed.ends_with("  pulled"), "{said}");
    assert_eq!(refused.len(), REASONS.len(), "{said}");
    for (row, reason) in refused.iter().zip(REASONS) {
        assert!(row.contains("  refused     1  ") && row.contains(reason), "{reason}: {row}");
        assert!(row.contains("-image-verifier rejected image (exit code 1): "), "{row}");
    }
}

/// The first table counts, and why there is no second one is said.
#[track_caller]
fn assert_left_out(finished: &Finished, why: &str) {
    let said = format!("{finished:#?}");
    assert!(finished.success() && finished.stdout.ends_with(GOOD), "{said}");
    let line = format!("\nThe same through containerd: left out, because {why}");
    assert!(finished.stdout.contains(&line), "{said}");
}

#[track_caller]
fn assert_stopped(finished: &Finished, code: i32) {
    assert_eq!(finished.code, Some(code), "{finished:#?}");
    assert!(!finished.stdout.contains(GOOD), "{finished:#?}");
}

#[test]
fn the_same_images_are_refused_for_the_same_reasons_whatever_the_umask() {
    let demo = Demo::new();
    let shell = ["sh", "-c", "umask 002; exec \"$@\"", "sh"];
    assert_pulled(&programs::run(&mut demo.command_below(&shell, &programs(), &[])));
    demo.assert_nothing_left();
}

#[test]
fn an_odd_temporary_directory_is_used_or_passed_over() {
    let demo = Demo::new();
    let make = |name: &str, mode| {
        let path = demo.temporary().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    };
    let (quoted, long) = (make(r#"a"b,c\ d"#, 0o700), make(&"x".repeat(100), 0o700));
    let (open, noexec) = (make("open", 0o777), make("noexec", 0o700));
    let run = tempfile::tempdir_in("/run").unwrap();
    for directory in [quoted, long, open, run.path().to_owned()] {
        let mut command = demo.command(&programs(), &[]);
        assert_pulled(&programs::run(command.env("TMPDIR", &directory)));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
    let mount = r#"mount -t tmpfs -o noexec tmpfs "$TMPDIR"; exec "$@""#;
    let outer = ["unshare", "--mount", "sh", "-euc", mount, "sh"];
    let mut command = demo.command_below(&outer, &programs(), &[]);
    assert_pulled(&programs::run(command.env("TMPDIR", noexec)));
}

#[test]
fn fails_with_verifiers_that_do_not_do_what_they_should() {
    for (what, script) in WRONG {
        let demo = Demo::with_script(script);
        let finished = run(&demo);
        assert_eq!(finished.code, Some(1), "{what}: {finished:#?}");
        let (_, table) = finished.stdout.split_once("\nThe same through containerd 2.").unwrap();
        let complaints = table.lines().filter(|line| line.starts_with("Not as expected: "));
        let of_containerd = complaints.filter(|line| line.contains(" by containerd"));
        assert!(of_containerd.count() > 0, "{what}: {finished:#?}");
        demo.assert_nothing_left();
    }
}

#[test]
fn a_containerd_that_dies_is_no_verdict() {
    let demo = Demo::with_script(r#"sleep 0.3; exec "$real" "$@""#);
    let mut running = start(&demo);
    running.wait_for("  containerd   allowed");
    demo.kill_containerd();
    let finished = running.finish();
    assert_eq!(finished.code, Some(4), "{finished:#?}");
    assert!(finished.stderr.starts_with("civ: containerd gave no verdict on "), "{finished:#?}");
    assert!(!finished.stdout.contains(GOOD), "{finished:#?}");
    demo.assert_nothing_left();
}

#[test]
fn what_is_stopped_at_any_time_leaves_nothing() {
    let demo = Demo::with_script(r#"sleep 0.3; exec "$real" "$@""#);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        // As a terminal does, and as `kill` does.
        let early = start(&demo);
        demo.wait_for_directory(|name| !name.starts_with("civ-demo-"));
        early.signal_all(signal);
        assert_stopped(&early.finish(), code);
        demo.assert_nothing_left();

        let mut amid = start(&demo);
        amid.wait_for("  containerd   allowed");
        amid.signal(signal);
        assert_stopped(&amid.finish(), code);
        demo.assert_nothing_left();
    }
}

#[test]
fn what_is_killed_leaves_no_containerd() {
    let demo = Demo::with_script(r#"sleep 0.3; exec "$real" "$@""#);
    let mut running = start(&demo);
    running.wait_for("  containerd   allowed");
    running.signal(Signal::KILL);
    running.finish();
    demo.wait_until_no_process();
}

#[test]
fn a_containerd_that_cannot_be_used_is_left_out() {
    let demo = Demo::new();
    let outer = ["setpriv", "--bounding-set", "-sys_admin"];
    let mut in_a_container = demo.command_below(&outer, &programs(), &[]);
    let why = "containerd did not start; it said: unshare: unshare failed: Operation not permitted";
    assert_left_out(&programs::run(&mut in_a_container), why);

    let version = "echo containerd github.com/containerd/containerd/v2";
    for (script, why) in [
        (format!("{version} 1.7.24"), "containerd 1.7.24 asks no verifiers"),
        ("echo no such library >&2; exit 127".into(), "containerd cannot be run; it said: no such"),
        (
            format!("case $1 in --version) {version} 2.1.4;; *) echo no luck >&2; exit 1;; esac"),
            "containerd did not start; it said: no luck",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        for program in ["containerd", "ctr"] {
            write_script(&directory.path().join(program), &script);
        }
        let mut command: Command = demo.command(directory.path(), &[]);
        assert_left_out(&programs::run(&mut command), why);
        demo.assert_nothing_left();
    }
}

fn write_script(path: &Path, body: &str) {
    // By a shell: what this process has open for writing, another thread's child cannot execute.
    let mut shell = Command::new("sh");
    shell.args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\"", "sh"]).arg(path).arg(body);
    programs::run(&mut shell).expect_success("sh");
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
