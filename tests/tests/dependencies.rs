//! What must not depend on what. The rules are those of ARCHITECTURE.md; here they cannot be broken
//! by accident.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// What a request that is no GET would be written as.
const WRITING: [&str; 6] =
    [".post(", ".put(", ".patch(", ".delete(", "Method::P", "Method::DELETE"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// The names of all crates that `package` links, itself included.
fn links(package: &str) -> BTreeSet<String> {
    let tree = tree(&["--edges", "normal", "--format", "{p}", "-p", package]);
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn tree(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--prefix", "none"])
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

/// The source of every module below `directory` except `main.rs`.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![workspace().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("the directory is there") {
            let path = entry.expect("it is readable").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_name().is_some_and(|name| name != "main.rs")
            {
                let text = fs::read_to_string(&path).expect("it is text");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no source below {directory}");
    found
}

fn assert_never_says(directory: &str, forbidden: &[&str]) {
    for (path, text) in sources(directory) {
        for forbidden in forbidden {
            assert!(!text.contains(forbidden), "{} says {forbidden:?}", path.display());
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
    for directory in ["oci/src", "policy/src", "verifiers/annotations/src", "verifiers/cosign/src"]
    {
        assert_never_says(
            directory,
            &["TcpStream", "UdpSocket", "std::env", "Instant::now", "SystemTime", "std::process"],
        );
    }
    // The package of the library also holds the executable, so that cargo tree cannot tell.
    for directory in ["verifiers/annotations/src", "verifiers/cosign/src"] {
        assert_never_says(directory, &["civ_aws", "civ_registry", "civ_bindir"]);
    }
}

#[test]
fn a_node_runs_no_runtime_no_sdk_and_nothing_of_the_dispatcher() {
    for package in ["civ-annotations", "civ-cosign", "civ-digestion"] {
        assert_free_of(package, &NOT_ON_A_NODE);
        assert_free_of(package, &["civ-promotion", "civ"]);
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
    for directory in ["registry/src", "verifiers"] {
        assert_never_says(directory, &WRITING);
    }
}

/// The signed question to KMS, the one to STS for credentials, and the one to the metadata service for
/// a token are all that is not a GET, and all of them go through one function.
#[test]
fn aws_is_asked_three_questions_and_by_one_crate() {
    let mut asking = BTreeSet::new();
    for (path, text) in sources("aws/src") {
        for word in WRITING {
            if text.contains(word) {
                asking.insert((path.file_name().expect("a file").to_owned(), word));
            }
        }
    }
    let expected =
        [("instance.rs", "Method::P"), ("kms.rs", "Method::P"), ("web_identity.rs", "Method::P")];
    assert_eq!(asking, expected.map(|(file, word)| (file.into(), word)).into());
    for directory in ["registry/src", "policy/src", "oci/src", "verifiers"] {
        assert_never_says(directory, &["aws_sigv4", "x-amz-"]);
    }
}

/// Variables come in as an argument, and from nowhere else.
#[test]
fn the_environment_is_read_in_one_place() {
    assert_never_says("aws/src", &["std::env", "env::var"]);
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
    assert_never_says("doctor/src", &["process::Command", "process::{", "Command::new"]);
    assert_free_of("civ-doctor", &["civ-promotion", "reqwest", "aws-sdk-kms"]);
}
