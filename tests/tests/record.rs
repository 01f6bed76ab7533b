//! From a verdict on a node to the evidence for a stricter policy: what the verifiers write to the
//! system log, and what `civ log` makes of it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness that cannot do its work fails the test"
)]

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
};

use civ_tests::{civ::Civ, elsewhere, gate, programs::Finished, stage::assert_ends};
use serde_json::{Value, json};
use tempfile::TempDir;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const KEY: &str = include_str!("../../verifiers/cosign/testdata/keys/p256.pem");

/// A node whose system log is a socket of the test's.
struct Node {
    root: TempDir,
    log: UnixDatagram,
}

impl Node {
    fn new() -> Self {
        let root = elsewhere::new_root(&["dev"]);
        let log = UnixDatagram::bind(root.path().join("dev/log")).expect("a socket of ours");
        log.set_nonblocking(true).expect("a socket of ours");
        Self { root, log }
    }

    fn write_policy(&self, name: &str, statements: &Value) -> PathBuf {
        let path = self.root.path().join(name);
        let document = json!({ "version": "1.0", "trustPolicies": statements });
        fs::write(&path, document.to_string()).expect("a file in a directory of ours");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a file of ours");
        path
    }

    /// Pulls an image, and returns what is then in the log.
    fn pull(&self, policy: &Path, image: &str, code: i32) -> String {
        let verifier = gate::executable("cosign-image-verifier").into_os_string();
        let arguments = ["-name", image, "-digest", DIGEST, "-policy"].map(OsString::from);
        let command = [verifier].into_iter().chain(arguments).chain([policy.into()]);
        assert_ends(&elsewhere::call(self.root.path(), command), code, "");
        let mut line = [0; 8192];
        let length = self.log.recv(&mut line).expect("a line of the log");
        format!("Nov 22 05:00:00 node {}\n", String::from_utf8_lossy(&line[..length]))
    }
}

fn statement(name: &str, level: &str) -> Value {
    let scopes = [format!("127.0.0.1:1/{name}")];
    let mut statement = json!({ "name": name, "registryScopes": scopes,
        "signatureVerification": { "level": level } });
    if level != "skip" {
        statement["keys"] = json!([{ "name": "k", "publicKey": KEY }]);
    }
    statement
}

fn summary(civ: &Civ, arguments: &[&str]) -> Value {
    let finished = civ.run([&["log", "--output", "json"], arguments].concat());
    let finished = finished.expect_success("civ log");
    serde_json::from_str(&finished.stdout).expect("one JSON document")
}

#[test]
fn the_log_says_what_strict_would_have_refused_and_under_which_policy() {
    let node = Node::new();
    let [watched, enforced, free] =
        [statement("watched", "audit"), statement("enforced", "strict"), statement("free", "skip")];
    let policy = node.write_policy("policy", &json!([watched, enforced, free]));
    let before = node.write_policy("before", &json!([statement("watched", "skip")]));

    let log = [
        node.pull(&before, "127.0.0.1:1/watched:1", 0),
        node.pull(&policy, "127.0.0.1:1/watched:1", 0),
        node.pull(&policy, "127.0.0.1:1/watched:1", 0),
        node.pull(&policy, "127.0.0.1:1/enforced:1", 4),
        node.pull(&policy, "127.0.0.1:1/free:1", 0),
        node.pull(&policy, "127.0.0.1:1/unknown:1", 1),
        "Nov 22 05:00:00 node sshd[1]: {\"not\":\"ours\"}\n".to_owned(),
    ];
    let civ = Civ::new();
    civ.write("syslog", &log.concat());

    let all = summary(&civ, &["syslog"]);
    assert_eq!(
        (&all["verdicts"], &all["wouldBeRefused"], &all["refused"]),
        (&6.into(), &2.into(), &2.into())
    );
    let group = |name: &str, policy: &Path| {
        let groups = all["groups"].as_array().expect("groups");
        let found = groups.iter().find(|group| {
            group["statement"] == name && group["policy"] == policy.to_str().expect("UTF-8")
        });
        found.unwrap_or_else(|| panic!("no {name} in {all:#}")).clone()
    };
    let audited = group("watched", &policy);
    assert_eq!((&audited["level"], &audited["audited"]), (&"audit".into(), &2.into()));
    let finding = &audited["findings"][0];
    assert_eq!((&finding["count"], &finding["exit"]), (&2.into(), &4.into()), "{audited:#}");
    assert_eq!(
        (&finding["image"], &finding["digest"]),
        (&"127.0.0.1:1/watched:1".into(), &DIGEST.into())
    );
    assert_eq!(group("watched", &before)["allowed"], 1);
    assert_eq!(group("enforced", &policy)["refused"], 1);
    assert_eq!(
        (&group("free", &policy)["allowed"], &group("free", &policy)["level"]),
        (&1.into(), &"skip".into())
    );

    let path = |path: &Path| path.to_str().expect("a temporary path is UTF-8").to_owned();
    let check =
        |more: &[&str]| -> Finished { civ.run([&["log", "syslog", "--check"], more].concat()) };
    assert_eq!(check(&[]).code, Some(1));
    assert_eq!(check(&["--policy", &path(&policy)]).code, Some(1));
    assert_eq!(check(&["--policy", &path(&before)]).code, Some(0));
    assert_eq!(check(&["--plugin", "another"]).code, Some(1), "no verdict is no proof");
    let text = check(&[]).stdout;
    assert!(text.contains("2x would refuse 127.0.0.1:1/watched:1 (exit 4"), "{text}");
}
