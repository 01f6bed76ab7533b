//! `civ` as its user sees it: what it prints, where, and how it ends.

use std::process::{Command, Output, Stdio};

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use serde_json::Value;

pub(crate) const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/p256.pem");
pub(crate) const OTHER_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/rsa.pem");

/// `civ` without anything of the user's around it.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_civ"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn civ(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The one line that says why, and the exit code.
pub(crate) fn refusal(args: &[&str]) -> (i32, String) {
    let output = civ(args);
    let line = stderr(&output);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("civ: "), "{line}");
    assert_eq!(stdout(&output), "");
    (output.status.code().unwrap(), line)
}

pub(crate) struct Fleet {
    pub(crate) registry: Registry,
    pub(crate) source: String,
    pub(crate) destination: String,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let registry = Registry::start().unwrap();
        SmallIndex::new("cli").seed_into(&registry, "team/app", "v1");
        let source = format!("{}/team/app:v1", registry.host());
        let destination = format!("{}/prod/app:1.0", registry.host());
        Self { registry, source, destination }
    }

    pub(crate) fn promote(&self, more: &[&str]) -> Output {
        let args = [&["promote", &self.source, &self.destination, "--key", KEY], more].concat();
        civ(&args)
    }
}

pub(crate) fn policy(key: &str, annotations: &Value) -> tempfile::NamedTempFile {
    let public_key = stdout(&civ(&["public-key", "--key", key]));
    let document = serde_json::json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "production",
            "registryScopes": ["*"],
            "signatureVerification": { "level": "strict" },
            "keys": [{ "name": "release", "publicKey": public_key }],
            "annotations": annotations,
        }],
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), document.to_string()).unwrap();
    file
}

#[test]
fn promotes_and_verifies() {
    let fleet = Fleet::new();
    let promoted = fleet.promote(&["-a", "tested=True", "--recursive"]);
    assert!(promoted.status.success(), "{}", stderr(&promoted));
    let text = stdout(&promoted);
    assert!(text.contains(&format!("tagged   {}", fleet.destination)), "{text}");
    assert_eq!(text.matches("signed   ").count(), 3, "{text}");

    let trusted = policy(KEY, &serde_json::json!({ "tested": "True" }));
    let path = trusted.path().to_str().unwrap();
    let verified = civ(&["verify", &fleet.destination, "--policy", path]);
    assert!(verified.status.success(), "{}", stderr(&verified));
    let digest = SmallIndex::new("cli").digest();
    let lines = stdout(&verified);
    assert!(lines.starts_with(&format!("{} is ", fleet.destination)), "{lines}");
    assert!(
        lines.contains(&format!("allowed {}/prod/app@{digest}: signed by", fleet.registry.host()))
    );

    let again = fleet.promote(&["-a", "tested=True", "--recursive", "--output", "json"]);
    let report: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(stderr(&again), "");
    assert_eq!(report["tagSet"], false);
    assert_eq!(report["signed"].as_array().unwrap().len(), 0);
    assert_eq!(report["signedBefore"].as_array().unwrap().len(), 3);
    assert_eq!(report["bytes"], 0);
}

#[test]
fn a_dry_run_writes_nothing_and_says_so() {
    let fleet = Fleet::new();
    let dry = fleet.promote(&["--dry-run"]);
    assert!(dry.status.success(), "{}", stderr(&dry));
    let text = stdout(&dry);
    for part in ["would copy", "would sign", "would tag", "nothing was written"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(fleet.registry.tags("prod/app").is_empty());
    assert!(fleet.registry.blobs("prod/app").is_empty());
}

#[test]
fn verify_refuses_with_the_reason_and_exit_code_1() {
    let fleet = Fleet::new();
    fleet.promote(&[]);
    let release = policy(KEY, &serde_json::json!({}));
    let strangers = policy(OTHER_KEY, &serde_json::json!({}));
    let demanding = policy(KEY, &serde_json::json!({ "tested": "True" }));
    for (image, policy, reason) in [
        (&fleet.source, &release, "unsigned"),
        (&fleet.destination, &strangers, "signature invalid"),
        (&fleet.destination, &demanding, "annotation missing"),
    ] {
        let path = policy.path().to_str().unwrap();
        let (exit, line) = refusal(&["verify", image, "--policy", path]);
        assert_eq!(exit, 1, "{line}");
        assert!(line.contains(reason) && line.contains(image.as_str()), "{line}");
        let json = civ(&["verify", image, "--policy", path, "--output", "json"]);
        let report: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((json.status.code(), &report["verdict"]), (Some(1), &"refused".into()));
    }
}

#[test]
fn signs_in_place_once() {
    let fleet = Fleet::new();
    for expected in ["signed ", "(before)"] {
        let signed = civ(&["sign", &fleet.source, "--key", KEY]);
        assert!(signed.status.success(), "{}", stderr(&signed));
        assert!(stdout(&signed).contains(expected), "{}", stdout(&signed));
    }
}

#[test]
fn bad_input_is_one_line_and_the_documented_exit_code() {
    let fleet = Fleet::new();
    let absent = format!("{}/team/app:absent", fleet.registry.host());
    let repository = format!("{}/team/app", fleet.registry.host());
    let digest = format!("{repository}@{}", SmallIndex::new("cli").digest());
    let gone = format!("{repository}@sha256:{}", "0".repeat(64));
    let policy = policy(KEY, &serde_json::json!({}));
    let policy = policy.path().to_str().unwrap();
    let public = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(public.path(), civ(&["public-key", "--key", KEY]).stdout).unwrap();
    let public = public.path().to_str().unwrap();
    let (source, to) = (fleet.source.as_str(), fleet.destination.as_str());
    for (args, exit, part) in [
        (vec!["promote", "A//b:1", to, "--key", KEY], 2, "not an image reference"),
        (
            vec!["promote", "https://ghcr.io/a:1", to, "--key", KEY],
            2,
            "leave out what ends with ://",
        ),
        (vec!["prmote", source, to], 2, "similar subcommand exists: 'promote'"),
        (vec!["promote", source, "b:\u{1b}[1m", "--key", KEY], 2, "not an image reference"),
        (vec!["promote", source, to], 2, "--key"),
        (vec!["promote", source, &repository, "--key", KEY], 2, "needs a tag"),
        (vec!["promote", source, &digest, "--key", KEY], 2, "needs a tag"),
        (vec!["promote", &repository, to, "--key", KEY], 2, "neither a tag nor a digest"),
        (vec!["promote", source, to, "--key", KEY, "--jobs", "0"], 2, "--jobs"),
        (vec!["promote", source, to, "--key", KEY, "--jobs", "17"], 2, "1..=16"),
        (vec!["promote", source, to, "--key", KEY, "-a", "x"], 2, "no '='"),
        (vec!["promote", source, to, "--key", KEY, "-a", "x=1", "-a", "x=2"], 2, "twice"),
        (vec!["promote", source, to, "--key", KEY, "-a", "timestamp=1"], 2, "podman"),
        (vec!["promote", source, to, "--key", "/nonexistent.pem"], 3, "/nonexistent.pem"),
        (vec!["promote", source, to, "--key", public], 3, "public key"),
        (vec!["promote", source, to, "--key", "awskms://x"], 3, "awskms:///KEY"),
        (vec!["promote", source, to, "--key", "gcpkms://x"], 3, "gcpkms"),
        (vec!["promote", &absent, to, "--key", KEY], 4, "team/app:absent"),
        (vec!["sign", "127.0.0.1:1/a:1", "--key", KEY], 4, "no connection"),
        (
            vec!["verify", &gone, "--policy", policy],
            4,
            "check the repository and the tag or digest",
        ),
        (vec!["verify", source, "--policy", "/nonexistent.json"], 3, "/nonexistent.json"),
        (vec!["verify", source, "--policy", KEY], 3, "policy"),
        (vec!["no-such-verb"], 2, "no-such-verb"),
    ] {
        let (found, line) = refusal(&args);
        assert_eq!(found, exit, "{args:?}: {line}");
        assert!(line.contains(part), "{args:?}: {line}");
        assert!(!line.contains('\u{1b}'), "{args:?}: {line}");
        // A registry that fails is never the end of the matter.
        assert!(exit != 4 || line.contains("; "), "{args:?}: {line}");
    }
    assert!(fleet.registry.tags("prod/app").is_empty());
}

#[test]
fn help_completions_and_manual_pages_are_there() {
    let help = civ(&["promote", "--help"]);
    assert!(help.status.success() && stdout(&help).contains("Examples:"));
    assert!(stdout(&help).contains("Exit codes:") && stdout(&help).contains("docker login"));
    assert!(stdout(&civ(&["--help"])).contains("Exit codes:"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&civ(&["completions", shell])).contains("promote"));
    }
    let directory = tempfile::tempdir().unwrap();
    assert!(civ(&["man", directory.path().to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(directory.path().join("civ-promote.1")).unwrap();
    assert!(page.contains("Examples"));
    let (exit, _) = refusal(&["man", "/nonexistent"]);
    assert_eq!(exit, 2);
}

#[test]
fn an_image_is_promoted_by_digest_too() {
    let fleet = Fleet::new();
    let image = SmallImage::new("digest", "linux/amd64");
    let digest = image.seed_into(&fleet.registry, "team/other", "v1");
    let source = format!("{}/team/other@{digest}", fleet.registry.host());
    let output = civ(&["promote", &source, &fleet.destination, "--key", KEY]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fleet.registry.manifest("prod/app", "1.0").unwrap().digest, digest);
}

#[test]
fn credentials_are_those_of_the_docker_configuration() {
    let registry = Registry::builder().bearer("user", "canary").start().unwrap();
    SmallIndex::new("login").seed_into(&registry, "team/app", "v1");
    let directory = tempfile::tempdir().unwrap();
    // user:canary
    let config =
        serde_json::json!({ "auths": { registry.host(): { "auth": "dXNlcjpjYW5hcnk=" } } });
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let source = format!("{}/team/app:v1", registry.host());
    let destination = format!("{}/prod/app:1.0", registry.host());
    let args = ["promote", &source, &destination, "--key", KEY];
    let (exit, line) = refusal(&args);
    assert_eq!(exit, 4, "{line}");
    assert!(line.contains("docker login"), "{line}");
    let output = command(&args).env("DOCKER_CONFIG", directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!format!("{output:?}").contains("canary"));
}
