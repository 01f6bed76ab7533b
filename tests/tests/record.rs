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

    /// Calls a verifier, and returns what is then in the log.
    fn call(&self, plugin: &str, arguments: &[&str], code: i32) -> Value {
        let line = self.line(plugin, arguments, code);
        let (head, entry) = line.split_once(": ").expect("a head and an entry");
        assert!(head.contains(&format!("{plugin}-image-verifier[")), "{line}");
        serde_json::from_str(entry).expect("one JSON object")
    }

    fn line(&self, plugin: &str, arguments: &[&str], code: i32) -> String {
        let verifier = gate::executable(&format!("{plugin}-image-verifier")).into_os_string();
        let arguments = arguments.iter().map(OsString::from);
        let command = [verifier].into_iter().chain(arguments);
        assert_ends(&elsewhere::call(self.root.path(), command), code, "");
        let mut line = [0; 8192];
        let length = self.log.recv(&mut line).expect("a line of the log");
        String::from_utf8_lossy(&line[..length]).into_owned()
    }

    /// Pulls an image, and returns the line of a syslog file.
    fn pull(&self, plugin: &str, policy: &Path, image: &str, code: i32) -> String {
        let call = ["-name", image, "-digest", DIGEST, "-policy", text(policy)];
        format!("Nov 22 05:00:00 node {}\n", self.line(plugin, &call, code))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
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
    let listed = node.write_policy(
        "listed",
        &json!([{ "name": "digests", "registryScopes": ["*"], "level": "audit", "trustedDigests": [DIGEST] }]),
    );

    let log = [
        node.pull("cosign", &before, "127.0.0.1:1/watched:1", 0),
        node.pull("cosign", &policy, "127.0.0.1:1/watched:1", 0),
        node.pull("cosign", &policy, "127.0.0.1:1/watched:1", 0),
        node.pull("cosign", &policy, "127.0.0.1:1/enforced:1", 4),
        node.pull("cosign", &policy, "127.0.0.1:1/free:1", 0),
        node.pull("cosign", &policy, "127.0.0.1:1/unknown:1", 1),
        node.pull("digestion", &listed, "127.0.0.1:1/watched:1", 0),
        "Nov 22 05:00:00 node sshd[1]: {\"not\":\"ours\"}\n".to_owned(),
    ];
    let civ = Civ::new();
    civ.write("syslog", &log.concat());

    let all = summary(&civ, &["syslog"]);
    assert_eq!(
        (&all["verdicts"], &all["wouldBeRefused"], &all["refused"]),
        (&7.into(), &2.into(), &2.into())
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
    assert_eq!(group("watched", &before)["skipped"], 1);
    assert_eq!(group("enforced", &policy)["refused"], 1);
    assert_eq!(
        (&group("free", &policy)["skipped"], &group("free", &policy)["level"]),
        (&1.into(), &"skip".into())
    );

    let check =
        |more: &[&str]| -> Finished { civ.run([&["log", "syslog", "--check"], more].concat()) };
    for (more, code, why) in [
        (&[][..], 1, "some would be refused"),
        (&["--policy", text(&policy)], 1, "some would be refused"),
        (&["--policy", text(&before)], 1, "nothing was checked"),
        (&["--statement", "free"], 1, "nothing was checked"),
        (&["--plugin", "another"], 1, "no verdict is no proof"),
        (&["--statement", "enforced"], 1, "a pull was refused"),
        (&["--policy", text(&listed)], 0, "checked, and nothing against it"),
        (&["--plugin", "digestion"], 0, "checked, and nothing against it"),
    ] {
        assert_eq!(check(more).code, Some(code), "{why}: {more:?}");
    }
    let text = check(&[]).stdout;
    assert!(text.contains("2x would refuse 127.0.0.1:1/watched:1 (exit 4"), "{text}");
}

#[test]
fn every_kind_of_verdict_is_on_record_with_all_that_is_known() {
    const ALWAYS: [&str; 8] =
        ["time", "verifier", "version", "plugin", "verdict", "exit", "reason", "ms"];
    let node = Node::new();
    let policy = |level: &str| node.write_policy(level, &json!([statement("app", level)]));
    let (strict, audit, skip) = (policy("strict"), policy("audit"), policy("skip"));
    let broken = node.write_policy("broken", &json!([]));
    let absent = node.root.path().join("absent");
    let app = "127.0.0.1:1/app:1";
    let call = |image, policy| ["-name", image, "-digest", DIGEST, "-policy", text(policy)];
    for (arguments, verdict, exit, fields) in [
        (
            &call(app, &strict)[..],
            "refuse",
            4,
            &["image", "digest", "policy", "policy_sha256", "statement", "level"][..],
        ),
        (
            &call(app, &audit),
            "audit",
            0,
            &["image", "policy_sha256", "statement", "level", "audited_exit"],
        ),
        (&call(app, &skip), "allow", 0, &["image", "policy_sha256", "statement", "level"]),
        (&call("127.0.0.1:1/other:1", &strict), "refuse", 1, &["image", "policy", "policy_sha256"]),
        (&call(app, &broken), "refuse", 3, &["image", "policy", "policy_sha256"]),
        (&call(app, &absent), "refuse", 3, &["image", "policy"]),
        (
            &["-name", app, "-digest", "sha256:00", "-policy", text(&strict)],
            "refuse",
            2,
            &["image", "digest"],
        ),
    ] {
        let entry = node.call("cosign", arguments, exit);
        assert_eq!((&entry["verdict"], &entry["exit"]), (&verdict.into(), &exit.into()));
        for field in ALWAYS.iter().chain(fields) {
            assert!(!entry[field].is_null(), "{arguments:?}: no {field} in {entry:#}");
        }
        assert!(entry["requests"].is_u64(), "{entry:#}");
        let requests = entry["requests"].as_u64() > Some(0);
        assert_eq!(requests, exit == 4 || verdict == "audit", "{entry:#}");
    }
    // What is listed for all repositories is to no statement's credit.
    let mut document = json!({ "version": "1.0", "trustedDigests": [DIGEST], "trustPolicies": [
        { "name": "watched", "registryScopes": ["*"], "level": "audit" }] });
    let everywhere = node.write_policy("everywhere", &json!([]));
    fs::write(&everywhere, document.to_string()).expect("a file of ours");
    let entry = node.call("digestion", &call(app, &everywhere), 0);
    assert_eq!((&entry["verdict"], &entry["statement"]), (&"allow".into(), &Value::Null));
    document["trustedDigests"] = json!([]);
    fs::write(&everywhere, document.to_string()).expect("a file of ours");
    let entry = node.call("digestion", &call(app, &everywhere), 0);
    assert_eq!((&entry["verdict"], &entry["statement"]), (&"audit".into(), &"watched".into()));
}
