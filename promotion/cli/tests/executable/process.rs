//! `civ` as the system sees it: signals, memory, exit codes of what is around it, proxies.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use civ_embedded_registry::image::{Fixture as _, LargeImage};
use civ_embedded_registry::{Action, Fault, Registry};
use rustix::process::{Pid, Signal, kill_process};

use crate::verbs::{Fleet, KEY, command, refusal, stderr};

/// A promotion that waits for an answer that never comes.
fn waiting(fleet: &Fleet, mut command: Command) -> Child {
    fleet.registry.clear_requests();
    fleet.registry.fault(Fault::new(Action::Silence).method("PUT").path_contains("/manifests/"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while fleet.registry.count_requests("PUT", "/manifests/") == 0 {
        sleep(Duration::from_millis(5));
    }
    child
}

/// `civ` as a shell starts it, whatever this process was told to ignore.
fn heeding(args: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=INT,TERM,HUP", env!("CARGO_BIN_EXE_civ")]).args(args);
    command.env_clear();
    command
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn stopped_by_any_signal_nothing_is_tagged_and_the_same_command_goes_on() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let fleet = Fleet::new();
        let args = ["promote", &fleet.source, &fleet.destination, "--key", KEY];
        let child = waiting(&fleet, heeding(&args));
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{signal:?}");
        let line = stderr(&output);
        assert!(line.ends_with("run the same command again to go on\n"), "{line}");
        assert!(fleet.registry.tags("prod/app").is_empty());
        fleet.registry.clear_faults();
        assert!(fleet.promote(&[]).status.success());
    }
}

#[test]
fn a_signal_that_nohup_ignores_stays_ignored() {
    let fleet = Fleet::new();
    let civ = env!("CARGO_BIN_EXE_civ");
    let mut shell = Command::new("sh");
    let script = "trap '' HUP; exec \"$0\" promote \"$1\" \"$2\" --key \"$3\"";
    shell.args(["-c", script, civ, &fleet.source, &fleet.destination, KEY]);
    let child = waiting(&fleet, shell);
    send(&child, Signal::HUP);
    sleep(Duration::from_millis(300));
    send(&child, Signal::TERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
}

#[test]
fn a_verb_that_reads_is_stopped_as_well() {
    for args in [&["log", "-"][..], &["policy", "lint", "-"], &["policy", "digests", "-f", "-"]] {
        let mut child = command(args);
        let mut child = child
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _stdin = child.stdin.take();
        // Until it listens: the default for the signal is to end the process, without a line.
        while !catches(&child, Signal::TERM) {
            assert!(child.try_wait().unwrap().is_none(), "{args:?}");
            sleep(Duration::from_millis(5));
        }
        send(&child, Signal::TERM);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{args:?}");
        assert_eq!(stderr(&output), "civ: stopped\n", "{args:?}");
    }
}

fn catches(child: &Child, signal: Signal) -> bool {
    let mask = status(child, "SigCgt:").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

/// A field of the process's status.
fn status(child: &Child, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(value.trim().trim_end_matches(" kB").to_owned())
}

#[test]
fn memory_stays_within_bounds_whatever_the_layers_and_the_jobs() {
    for (layers, mebibytes, jobs) in [(8, 16, "8"), (16, 8, "16")] {
        // More than the process may have, all at once.
        let registry = Registry::start().unwrap();
        let image = LargeImage::new("flat", layers, mebibytes << 20);
        image.seed_into(&registry, "team/app", "v1");
        let target = Registry::start().unwrap();
        let source = format!("{}/team/app:v1", registry.host());
        let destination = format!("{}/prod/app:1.0", target.host());
        let args = ["promote", &source, &destination, "--key", KEY, "-o", "json", "--jobs", jobs];
        let mut child = command(&args).stdout(Stdio::null()).spawn().unwrap();
        // What the process asked for: the rest is its own file, which in a debug build is large.
        let mut peak_kib = 0;
        while child.try_wait().unwrap().is_none() {
            let kib = status(&child, "RssAnon:").and_then(|kib| kib.parse::<u64>().ok());
            peak_kib = peak_kib.max(kib.unwrap_or_default());
            sleep(Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        assert!((1..20 * 1024).contains(&peak_kib), "{jobs} jobs: {peak_kib} KiB");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_no_defect_of_civ() {
    let fleet = Fleet::new();
    let args = ["promote", &fleet.source, &fleet.destination, "--key", KEY];
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command(&args).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("the result cannot be written"));
}

#[test]
fn a_kms_that_cannot_be_asked_is_a_failure_of_the_network_and_not_of_the_key() {
    let registry = Registry::start().unwrap();
    for (endpoint, words) in
        [("http://127.0.0.1:1", "cannot be reached"), (registry.url(), "not as AWS KMS answers")]
    {
        let mut civ = command(&["public-key", "--key", "awskms:///alias/release"]);
        civ.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "eu-west-1");
        civ.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
        let output = civ.output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        let line = stderr(&output);
        assert!(line.contains(words) && line.contains("; check the"), "{line}");
    }
    // Whereas this is for the user to mend.
    let (exit, line) = refusal(&["public-key", "--key", "awskms:///alias/release"]);
    assert_eq!(exit, 3, "{line}");
}

#[test]
fn a_proxy_of_the_environment_sees_nothing_of_loopback() {
    let proxy = Registry::start().unwrap();
    let fleet = Fleet::new();
    let output = command(&["promote", &fleet.source, &fleet.destination, "--key", KEY])
        .env("http_proxy", proxy.url())
        .env("HTTP_PROXY", proxy.url())
        .env("ALL_PROXY", proxy.url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(proxy.connections(), 0);
}

/// The gate's own client goes no way of the environment's, on a node. Where an operator asks, there may
/// be no other.
#[test]
fn what_a_node_would_say_is_found_out_through_the_proxy_of_the_environment() {
    let proxy = Registry::start().unwrap();
    let image = format!("registry.invalid/team/app@sha256:{}", "0".repeat(64));
    let home = tempfile::tempdir().unwrap();
    let policy = home.path().join("policy");
    let rules = r#""rules": [{ "annotation": "team", "present": true }]"#;
    let statement = format!(r#"{{ "name": "all", "registryScopes": ["*"], {rules} }}"#);
    fs::write(&policy, format!(r#"{{ "version": "1.0", "trustPolicies": [{statement}] }}"#))
        .unwrap();
    let policy = policy.to_str().unwrap();
    let other = Registry::start().unwrap();
    let at = |registry: &Registry| format!("http://localhost:{}", registry.addr().port());
    for (environment, is_asked) in [
        (&[("HTTPS_PROXY", at(&proxy))][..], true),
        (&[("ALL_PROXY", at(&proxy))], true),
        (&[("HTTPS_PROXY", at(&proxy)), ("ALL_PROXY", at(&other))], true),
        // For http, of which there is none elsewhere than on loopback.
        (&[("HTTP_PROXY", at(&proxy))], false),
        (&[("HTTPS_PROXY", at(&proxy)), ("NO_PROXY", "a.test, invalid".to_owned())], false),
        (&[("HTTPS_PROXY", at(&proxy)), ("NO_PROXY", "example".to_owned())], true),
    ] {
        let before = proxy.connections();
        let mut civ = command(&["policy", "explain", &image, "--policy", policy, "--live"]);
        let output = civ.envs(environment.iter().cloned()).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{environment:?}: {output:?}");
        assert_eq!(proxy.connections() > before, is_asked, "{environment:?}: {output:?}");
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_proxy_named_localhost_is_gone_through_to_where_a_registry_leads() {
    let proxy = Registry::start().unwrap();
    let fleet = Fleet::new();
    let away = Action::Redirect("https://blobs.invalid/x".to_owned());
    fleet.registry.fault(Fault::new(away).method("GET").path_contains("/team/app/blobs/"));
    let other = Registry::start().unwrap();
    let destination = format!("{}/prod/app:1.0", other.host());
    let port = proxy.addr().port();
    let promote = |proxied: &str| {
        let mut civ = command(&["promote", &fleet.source, &destination, "--key", KEY]);
        civ.env("HTTPS_PROXY", format!("http://{proxied}:{port}")).output().unwrap()
    };
    // It takes no CONNECT, so the blob does not come; but it was asked.
    assert_eq!(promote("localhost").status.code(), Some(4));
    assert!(proxy.connections() > 0);

    // A registry cannot lead to the proxy's own name.
    fleet.registry.clear_faults();
    let here = Action::Redirect(format!("https://localhost:{port}/x"));
    fleet.registry.fault(Fault::new(here).method("GET").path_contains("/team/app/blobs/"));
    let before = proxy.connections();
    let refused = promote("localhost");
    assert!(stderr(&refused).contains("leads to localhost, which is refused"), "{refused:?}");
    assert_eq!(proxy.connections(), before);
}
