//! The verdict on stdout, and the record of it on stderr and in the system log.

use std::io::{PipeReader, PipeWriter, Write as _};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::*;

#[test]
fn an_allow_that_cannot_be_said_is_a_refusal_and_a_log_that_cannot_be_written_is_none() {
    let full = || -> Stdio {
        File::options().write(true).open("/dev/full").expect("a Linux system has it").into()
    };
    let no_reader = || -> Stdio { pipe().expect("a pipe").1.into() };
    let code = |command: &mut Command, stdout, stderr| {
        let status = command.stdout(stdout).stderr(stderr).status().expect("it runs");
        status.code()
    };
    for verifier in verifiers() {
        let mut allowed = allowed_call(&verifier);
        let mut refused = allowed_call(&verifier);
        // A second media type.
        refused.args(["-stdin-media-type", DESCRIPTOR]);
        let mut help = Command::new(&verifier.executable);
        help.arg("--help");
        for broken in [&full as &dyn Fn() -> Stdio, &no_reader] {
            assert_eq!(code(&mut allowed, broken(), Stdio::null()), Some(70));
            assert_eq!(code(&mut allowed, broken(), broken()), Some(70));
            assert_eq!(code(&mut allowed, Stdio::null(), broken()), Some(0));
            assert_eq!(code(&mut refused, broken(), broken()), Some(2));
            assert_eq!(code(&mut refused, Stdio::null(), broken()), Some(2));
            assert_eq!(code(&mut help, broken(), broken()), Some(70));
        }
        for redirection in [">&-", "1</dev/null", ">/dev/full"] {
            let outcome = redirected(&verifier, redirection).run();
            assert_eq!(outcome.code, Some(70), "{redirection}: {outcome:?}");
            let words = r#"verdict=refuse exit=70 reason="stdout cannot be written: "#;
            assert!(outcome.stderr.contains(words), "{redirection}: {outcome:?}");
            assert!(outcome.stderr.contains("; would have said: "), "{redirection}: {outcome:?}");
        }
        assert_eq!(redirected(&verifier, ">/dev/null").run().code, Some(0));
    }
}

#[test]
fn each_verdict_is_in_the_system_log_and_a_log_that_nobody_reads_delays_none() {
    let root = elsewhere::new_root(&["dev"]);
    let log = UnixDatagram::bind(root.path().join("dev/log")).expect("a socket of ours");
    for verifier in verifiers() {
        let command = argv(&allowed_call(&verifier));
        let allowed = elsewhere::call(root.path(), command.clone());
        let refused = elsewhere::call(root.path(), [command, vec!["-name".into()]].concat());

        for (call, code, priority, verdict) in
            [(&allowed, 0, "<30>", "allow"), (&refused, 2, "<28>", "refuse")]
        {
            let outcome = assert_ends(call, code, "");
            log.set_nonblocking(true).expect("a socket of ours");
            let mut line = [0; 4096];
            let length = log.recv(&mut line).expect("a line of the log");
            let line = String::from_utf8_lossy(&line[..length]).into_owned();
            let (head, entry) = line.split_once(": ").expect("a head and an entry");
            let name = verifier.executable.file_name().and_then(OsStr::to_str).unwrap_or_default();
            assert!(head.starts_with(&format!("{priority}{name}[")), "{line}");
            let entry: Value = serde_json::from_str(entry).expect("one JSON object");
            assert_eq!(entry["verdict"], verdict, "{line}");
            assert_eq!(entry["exit"], code, "{line}");
            assert_eq!(entry["reason"], outcome.stdout.trim_end(), "{line}");
            assert!(entry["ms"].is_u64(), "{line}");
            let time: UtcTime = entry["time"].as_str().expect("a time").parse().expect("RFC 3339");
            assert!(time.unix_seconds() > 1_700_000_000, "{line}");
        }

        let flood = UnixDatagram::unbound().expect("a socket");
        flood.set_nonblocking(true).expect("a socket of ours");
        while flood.send_to(b"x", root.path().join("dev/log")).is_ok() {}
        assert_ends(&allowed, 0, "");
        assert_ends(&refused, 2, "");
        while log.recv(&mut [0; 1]).is_ok() {}
    }
}

/// A pipe that takes nothing more, and its end that nobody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    let flags = fcntl_getfl(&writer).expect("a pipe of ours");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("a pipe of ours");
    while writer.write(&[0; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).expect("a pipe of ours");
    (reader, writer)
}

#[test]
fn a_pipe_that_nobody_empties_neither_keeps_a_verdict_waiting_nor_passes_for_said() {
    // Its exit code is 124 when the verifier has not ended by itself.
    let in_time = |command: &Command| {
        let mut timeout = Command::new("timeout");
        timeout.args(["--signal=KILL", "9"]).args(argv(command)).stdin(Stdio::null());
        timeout
    };
    for verifier in verifiers() {
        let (_reader, writer) = full_pipe();
        let mut refused = allowed_call(&verifier);
        refused.args(["-name", NAME]);
        for (call, code) in [(&allowed_call(&verifier), 0), (&refused, 2)] {
            let writer = writer.try_clone().expect("a pipe of ours");
            let outcome = in_time(call).stderr(writer).output().expect("it runs");
            assert_eq!(outcome.status.code(), Some(code), "{outcome:?}");
            assert_eq!(outcome.stdout.split_inclusive(|byte| *byte == b'\n').count(), 1);
        }
    }
    let [digestion, ..] = verifiers();
    let (_reader, writer) = full_pipe();
    let outcome = in_time(&allowed_call(&digestion)).stdout(writer).output().expect("it runs");
    assert_eq!(outcome.status.code(), Some(70), "{outcome:?}");
}

/// Without memory for a stack there is no thread to resolve a name with, and the library that wants one
/// panics.
#[test]
fn a_panic_refuses_at_every_level_and_says_what_it_was() {
    let directory = civ_tests::scratch::directory();
    let policy = directory.path().join("policy");
    let cosign = gate::executable("cosign-image-verifier");
    for level in ["strict", "audit"] {
        let mut document = signed_by_key();
        document["trustPolicies"][0]["signatureVerification"]["level"] = json!(level);
        write_policy(&policy, &document);
        let call = ["-name", "127.0.0.1:1/a:1", "-digest", DIGEST, "-policy"].map(OsString::from);
        let limited = [OsString::from("--data=1048576"), cosign.clone().into()];
        let arguments = limited.into_iter().chain(call).chain([policy.clone().into()]);
        let outcome =
            assert_ends(&Call::raw("prlimit", arguments, Stdin::Null), 70, "internal error: ");
        assert!(outcome.stdout.contains(" (at ") && !outcome.stdout.contains('/'), "{outcome:?}");
        assert!(outcome.stderr.contains("step=panic "), "{outcome:?}");
        assert!(outcome.stderr.contains(" panic="), "{outcome:?}");
    }
}
