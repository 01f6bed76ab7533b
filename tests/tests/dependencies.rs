//! What must not depend on what. The rules are those of ARCHITECTURE.md; here they cannot be broken
//! by accident.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::names::Names;

#[path = "dependencies/names.rs"]
mod names;

/// A second HTTP stack, an SDK, an argument parser: none of it on a node.
const NOT_ON_A_NODE: [&str; 7] = [
    "aws-config",
    "aws-sdk-kms",
    "aws-smithy-http-client",
    "aws-smithy-runtime",
    "clap",
    "hyper",
    "reqwest",
];
/// What `aws-sigv4` names in its signatures, and nothing but that may bring along: types to share
/// between tasks (tokio's `sync`), and a log that nobody reads.
const WITH_SIGV4: [&str; 2] = ["tokio", "tracing"];
const NETWORK: [&str; 5] = ["civ-aws", "civ-registry", "rustls", "ureq", "webpki"];

/// What of the standard library neither asks the machine nor tells it anything. All else of it does,
/// until it is listed here.
const WITHOUT_EFFECT: [&str; 20] = [
    "std::borrow",
    "std::cell",
    "std::cmp",
    "std::collections",
    "std::convert",
    "std::error::Error",
    "std::fmt",
    "std::hash",
    "std::iter",
    "std::mem",
    "std::net::IpAddr",
    "std::net::Ipv6Addr",
    "std::num",
    "std::ops",
    "std::rc",
    "std::slice",
    "std::str",
    "std::string",
    "std::sync",
    "std::time::Duration",
];
/// What the one module that opens a policy has besides.
const OPENING: [&str; 5] = ["rustix", "std::fs", "std::io", "std::os", "std::path"];
/// Macros that read the environment of the compiler or write to somewhere.
const MACROS_WITH_EFFECT: [&str; 7] =
    ["dbg", "env", "eprint", "eprintln", "option_env", "print", "println"];

/// What a request that is no GET would be made with.
const WRITING: [&str; 8] =
    ["post", "put", "patch", "delete", "method", "run", "send_form", "send_json"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// The names of all crates that `package` links, itself included.
fn links(package: &str) -> BTreeSet<String> {
    links_with(package, &[])
}

/// The same for a build with other features.
fn links_with(package: &str, features: &[&str]) -> BTreeSet<String> {
    let arguments = [&["--edges", "normal", "--format", "{p}", "-p", package], features].concat();
    let tree = tree(&arguments);
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn tree(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none"])
        .args(arguments)
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn assert_free_of(package: &str, forbidden: &[&str]) {
    let links = links(package);
    assert!(links.contains(package), "cargo tree of {package} is empty");
    for forbidden in forbidden {
        assert!(!links.contains(*forbidden), "{package} links {forbidden}");
    }
}

/// What every module below `directory` names, except `main.rs` and tests.
fn sources(directory: &str) -> Vec<(PathBuf, Names)> {
    let mut found = Vec::new();
    let mut open = vec![workspace().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("the directory is there") {
            let path = entry.expect("it is readable").path();
            let name = path.file_name().unwrap_or_default().to_owned();
            if path.is_dir() {
                open.extend((name != "tests").then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && name != "main.rs"
                && name != "tests.rs"
            {
                let text = fs::read_to_string(&path).expect("it is text");
                found.push((path, Names::of(&text)));
            }
        }
    }
    assert!(!found.is_empty(), "no source below {directory}");
    found
}

/// Is `path` one of `these`, or in one of them?
fn is_in(path: &str, these: &[&str]) -> bool {
    let mut these = these.iter().filter_map(|one| path.strip_prefix(one));
    these.any(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn assert_never_names(directory: &str, forbidden: &[&str]) {
    for (file, names) in sources(directory) {
        for path in &names.paths {
            // `std` itself, under another name or not, is all of it.
            let is_hidden = path == "std" || path == "std::*";
            assert!(!is_hidden && !is_in(path, forbidden), "{} names {path}", file.display());
        }
    }
}

#[test]
fn the_libraries_that_decide_hold_no_socket_clock_or_environment() {
    for package in ["civ-oci", "civ-policy"] {
        assert_free_of(package, &NETWORK);
        assert_free_of(package, &NOT_ON_A_NODE);
        assert_free_of(package, &WITH_SIGV4);
    }
    let mut with_effect = Vec::new();
    for directory in ["oci/src", "policy/src", "verifiers/annotations/src", "verifiers/cosign/src"]
    {
        for (file, names) in sources(directory) {
            let opens = file.ends_with("policy/src/file.rs");
            for path in &names.paths {
                let is_known = is_in(path, &WITHOUT_EFFECT) || opens && is_in(path, &OPENING);
                let has_effect = is_in(path, &["std", "libc", "rustix"]) && !is_known;
                with_effect.extend(has_effect.then(|| format!("{}: {path}", file.display())));
            }
            let macros = MACROS_WITH_EFFECT.iter().filter(|name| names.macros.contains(**name));
            with_effect.extend(macros.map(|name| format!("{}: {name}!", file.display())));
        }
    }
    assert_eq!(with_effect, Vec::<String>::new());
    // The package of the library also holds the executable, so that cargo tree cannot tell.
    for directory in ["verifiers/annotations/src", "verifiers/cosign/src"] {
        assert_never_names(directory, &["civ_aws", "civ_registry", "civ_bindir"]);
    }
}

#[test]
fn a_node_runs_no_runtime_no_sdk_and_nothing_of_the_dispatcher() {
    for package in ["civ-annotations", "civ-cosign", "civ-digestion"] {
        assert_free_of(package, &NOT_ON_A_NODE);
        assert_free_of(package, &["civ-promotion", "civ"]);
        assert_free_of(package, &["civ-embedded-registry", "civ-private-node"]);
    }
    // A build that README offers.
    let with_timestamps = links_with("civ-cosign", &["--features", "timestamps"]);
    assert!(with_timestamps.contains("cms"), "{with_timestamps:?}");
    for forbidden in NOT_ON_A_NODE.into_iter().chain(["civ-promotion", "civ"]) {
        assert!(!with_timestamps.contains(forbidden), "it links {forbidden}");
    }
    assert_free_of("civ-annotations", &["civ-aws"]);
    assert_free_of("civ-annotations", &WITH_SIGV4);
    assert_free_of("civ-digestion", &WITH_SIGV4);
    assert_free_of("civ-registry", &WITH_SIGV4);
}

#[test]
fn what_the_signer_of_requests_brings_along_is_no_runtime() {
    let features = tree(&["--edges", "normal,features", "-p", "civ-aws"]);
    let of_tokio: BTreeSet<&str> = features
        .lines()
        .filter_map(|line| line.trim_end_matches(" (*)").strip_prefix("tokio feature "))
        .filter_map(|feature| feature.split(' ').next())
        .map(|feature| feature.trim_matches('"'))
        .collect();
    assert_eq!(of_tokio, BTreeSet::from(["default", "sync"]));
}

#[test]
fn a_node_only_reads() {
    for directory in [
        "registry/src",
        "verifiers/annotations/src",
        "verifiers/bindir/src",
        "verifiers/cosign/src",
    ] {
        for (file, names) in sources(directory) {
            let mut called = WRITING.iter().filter(|name| names.called.contains(**name));
            assert_eq!(called.next(), None, "{}", file.display());
            let mut methods = names.paths.iter().filter(|path| path.contains("Method"));
            assert_eq!(methods.next(), None, "{}", file.display());
        }
    }
}

/// The signed question to KMS, the one to STS for credentials, and the one to the metadata service for
/// a token are all that is not a GET, and all of them go through one function.
#[test]
fn aws_is_asked_three_questions_and_by_one_crate() {
    let (mut asking, mut calling) = (BTreeSet::new(), BTreeSet::new());
    for (path, names) in sources("aws/src") {
        let file = path.file_name().expect("a file").to_string_lossy().into_owned();
        let methods = names.paths.iter().filter_map(|path| path.rsplit_once("Method::"));
        let methods = methods.map(|(_, method)| method).filter(|method| *method != "GET");
        asking.extend(methods.map(|method| format!("{file} {method}")));
        let called = WRITING.iter().any(|name| names.called.contains(*name));
        calling.extend(called.then_some(file));
    }
    let asked = ["instance.rs PUT", "kms.rs POST", "web_identity.rs POST"];
    assert_eq!(asking, asked.map(str::to_owned).into());
    assert_eq!(calling, ["network.rs".to_owned()].into());
    for directory in ["registry/src", "policy/src", "oci/src", "verifiers"] {
        assert_never_names(directory, &["aws_sigv4"]);
    }
}

/// Variables come in as an argument, and from nowhere else.
#[test]
fn the_environment_is_read_in_one_place() {
    assert_never_names("aws/src", &["std::env"]);
}

#[test]
fn the_digest_list_is_decided_without_network_code() {
    assert_free_of("civ-digestion", &NETWORK);
}

#[test]
fn the_dispatcher_checks_with_the_gates_own_library() {
    let links = links("civ-promotion");
    assert!(links.contains("civ-cosign") && links.contains("civ-registry"));
}

/// What stands in the verifier directory may be anybody's, and the doctor is root.
#[test]
fn the_doctor_executes_nothing() {
    for (file, names) in sources("doctor/src") {
        for path in &names.paths {
            let is_process =
                is_in(path, &["std::process", "std::os::unix::process", "libc", "nix"])
                    || path.starts_with("std::os::") && path.ends_with('*')
                    || is_in(path, &["rustix::process", "rustix::runtime"])
                    || path == "std"
                    || path == "std::*";
            let is_harmless = ["std::process::id", "rustix::process::geteuid"].contains(&&**path);
            assert!(!is_process || is_harmless, "{} names {path}", file.display());
        }
    }
    assert_free_of("civ-doctor", &["civ-promotion", "reqwest", "aws-sdk-kms"]);
}
