//! `civ doctor` on a directory that stands in for a node. On nodes with containerd: `tests/tests/doctor/`.

use std::fs;

use serde_json::Value;

use crate::verbs::{civ, command, refusal, stdout};

/// The root of a node whose configuration holds one bypass, in a file that is imported.
fn node() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc/containerd");
    fs::create_dir_all(etc.join("config.d")).unwrap();
    fs::create_dir_all(root.path().join("opt/civ/bin")).unwrap();
    let config = "version = 3\nimports = [\"/etc/containerd/config.d/*.toml\"]\n";
    fs::write(etc.join("config.toml"), config).unwrap();
    let bypass = "version = 3\n\n[plugins.\"io.containerd.cri.v1.images\"]\ndiscard_unpacked_layers = true\n";
    fs::write(etc.join("config.d/001.toml"), bypass).unwrap();
    let verifiers = "version = 3\n[plugins.\"io.containerd.image-verifier.v1.bindir\"]\nbin_dir = \"/opt/civ/bin\"\n";
    fs::write(etc.join("config.d/002.toml"), verifiers).unwrap();
    root
}

#[test]
fn another_root_is_examined_and_each_failure_says_where_it_is() {
    let node = node();
    let root = node.path().to_str().unwrap();
    let arguments = ["doctor", "--root", root, "--containerd-version", "2.2.1", "--offline"];
    let text = civ(&arguments);
    assert_eq!(text.status.code(), Some(1));
    let text = stdout(&text);
    for words in [
        "failure  cri.discard-unpacked-layers",
        "at /etc/containerd/config.d/001.toml:4\n",
        "failure  directory.empty",
        "at /etc/containerd/config.d/002.toml:3\n",
        "the gate is open: ",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");

    let json = civ(&[&arguments[..], &["--output", "json"]].concat());
    assert_eq!(json.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["gate"], "open");
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|f| f["code"] == "cri.discard-unpacked-layers").unwrap();
    assert_eq!(found["at"]["file"], "/etc/containerd/config.d/001.toml");
    assert_eq!((&found["at"]["line"], &found["severity"]), (&4.into(), &"failure".into()));
}

#[test]
fn without_containerd_and_its_version_the_gate_is_not_called_shut() {
    let node = node();
    let root = node.path().to_str().unwrap();
    let output = command(&["doctor", "--root", root, "--offline"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("unknown  containerd.unreachable"), "{output:?}");
}

#[test]
fn refuses_a_version_that_is_none() {
    let (code, line) = refusal(&["doctor", "--containerd-version", "new"]);
    assert_eq!(code, 2);
    assert!(line.contains("not a version of containerd"), "{line}");
}
