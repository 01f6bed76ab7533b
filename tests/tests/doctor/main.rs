//! `civ doctor` on nodes with the real containerd: a good one, and one for each way round the gate. On
//! each of those an unsigned image is pulled first: what the doctor warns of is so.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use civ_tests::containerd::{Containerd, Setup};
use civ_tests::cosign::{Cosign, Signing};
use civ_tests::docker_registry::DockerRegistry;
use civ_tests::gate;
use civ_tests::image::{self, Pushed};
use civ_tests::programs::Finished;
use civ_tests::signing::{Key, Kind};
use serde_json::{Value, json};

mod bypasses;
mod probes;
mod running;

/// A node that trusts one key, and a registry with an unsigned image.
struct Node {
    registry: DockerRegistry,
    containerd: Containerd,
    unsigned: Pushed,
}

impl Node {
    /// With the usual configuration, edited, and more files beside it.
    fn start(edit: impl Fn(&str) -> String + 'static, files: &[(&str, &str)]) -> Self {
        Self::start_after("", edit, files)
    }

    /// The same, and these shell commands before containerd.
    fn start_after(
        before: &str,
        edit: impl Fn(&str) -> String + 'static,
        files: &[(&str, &str)],
    ) -> Self {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let containerd = Containerd::start_with(&Setup {
            before: before.to_owned(),
            config: Some(Box::new(edit)),
            files: files.iter().map(owned).collect(),
            ..Setup::default()
        });
        let registry = DockerRegistry::start();
        let unsigned = image::push(registry.address(), "team/unsigned", "1", "unsigned");
        let node = Self { registry, containerd, unsigned };
        node.install("cosign-image-verifier");
        node.set_policy("strict", &some_key(), &format!("{}/**", node.registry.address()));
        node
    }

    fn install(&self, name: &str) {
        self.containerd.install(&gate::executable("cosign-image-verifier"), name);
    }

    fn set_policy(&self, level: &str, key: &str, scope: &str) {
        let document = json!({ "version": "1.0", "trustPolicies": [{
            "name": "production", "registryScopes": [scope],
            "signatureVerification": { "level": level },
            "keys": [{ "name": "release", "publicKey": key }],
        }]});
        self.containerd.set_policy("cosign", &document.to_string());
    }

    /// Any policy of the verifier.
    fn set_statements(&self, statements: &Value) {
        let document = json!({ "version": "1.0", "trustPolicies": statements });
        self.containerd.set_policy("cosign", &document.to_string());
    }

    /// The unsigned image can be pulled, and leaves no trace.
    #[track_caller]
    fn assert_comes_in(&self, what: &str) {
        let pulled = self.containerd.cri_pull(&self.unsigned.tag);
        pulled.unwrap_or_else(|error| panic!("{what}: {error}"));
        self.containerd.cri_remove(&self.unsigned.tag);
    }

    fn doctor(&self, arguments: &[&str]) -> Examined {
        let arguments = [&["doctor", "--output", "json"], arguments].concat();
        Examined::of(&self.containerd.civ(arguments))
    }

    /// The unsigned image comes in, and the doctor says by which door.
    #[track_caller]
    fn assert_open(&self, code: &str, file: Option<&str>, line_with: &str) {
        self.assert_comes_in(code);
        let examined = self.doctor(&["--probe", &self.unsigned.tag]);
        assert_eq!(examined.code, Some(1), "{examined:#?}");
        let place = file.map(|file| self.place(file, line_with));
        examined.assert_finds("failure", code, place.as_ref());
        examined.assert_finds("failure", "probe.refused", None);
        assert_eq!(examined.report["gate"], "open", "{examined:#?}");
        assert_eq!(self.containerd.cri_images(), [""; 0], "the probe leaves nothing");
    }

    /// The file of this node, and the number of its line that holds `text`.
    fn place(&self, file: &str, text: &str) -> (PathBuf, u64) {
        let path = self.containerd.file(file);
        let content = fs::read_to_string(&path).unwrap();
        let line = content.lines().position(|line| line.contains(text));
        let line = line.unwrap_or_else(|| panic!("no {text:?} in\n{content}"));
        (path, u64::try_from(line).unwrap() + 1)
    }
}

/// What the doctor said.
#[derive(Debug)]
struct Examined {
    code: Option<i32>,
    report: Value,
}

impl Examined {
    #[track_caller]
    fn of(finished: &Finished) -> Self {
        let report = serde_json::from_str(&finished.stdout);
        let report = report.unwrap_or_else(|error| panic!("{error}: {finished:#?}"));
        Self { code: finished.code, report }
    }

    #[track_caller]
    fn assert_finds(&self, severity: &str, code: &str, place: Option<&(PathBuf, u64)>) {
        let findings = self.report["findings"].as_array().unwrap();
        let found = findings.iter().any(|finding| {
            let at = &finding["at"];
            let in_place = place.is_none_or(|(file, line)| {
                at["file"].as_str() == file.to_str() && at["line"] == *line
            });
            finding["severity"] == severity && finding["code"] == code && in_place
        });
        assert!(found, "no {severity} {code} at {place:?}: {:#}", self.report);
    }
}

/// A key that has signed nothing.
fn some_key() -> String {
    Key::generate(Kind::P256).public_pem()
}

const IMAGES: &str = "snapshotter = \"native\"\n  use_local_image_pull = false";
const CONFIG_PATH: &str = "config_path = \"/etc/containerd/certs.d\"";

/// A setting of CRI's, beside what the usual configuration says.
fn with_images(setting: &str) -> impl Fn(&str) -> String + 'static {
    let setting = setting.to_owned();
    move |config| replaced(config, IMAGES, &format!("snapshotter = \"native\"\n  {setting}"))
}

/// A setting of CRI's registries, instead of the directory that excludes it.
fn with_registry(setting: &str) -> impl Fn(&str) -> String + 'static {
    let setting = setting.to_owned();
    move |config| replaced(config, CONFIG_PATH, &setting)
}

fn replaced(config: &str, what: &str, with: &str) -> String {
    assert!(config.contains(what), "no {what:?} in\n{config}");
    config.replace(what, with)
}

#[test]
fn on_a_good_node_the_gate_is_shut_and_a_probe_shows_it() {
    let cosign = Cosign::new();
    let node = Node::start(str::to_owned, &[]);
    let signed = image::push(node.registry.address(), "team/signed", "1", "signed");
    let release = cosign.generate_key_pair("release");
    node.set_policy("strict", &release.public_pem, &format!("{}/**", node.registry.address()));
    cosign.sign(release.signing(), &signed.by_digest(), Signing::default());

    let error = node.containerd.cri_pull(&node.unsigned.tag).unwrap_err();
    assert!(error.contains("blocked pull"), "{error}");
    let probes = ["--probe", &node.unsigned.tag, "--probe-allowed", &signed.tag];
    let examined = node.doctor(&probes);
    assert_eq!(examined.code, Some(0), "{examined:#?}");
    assert_eq!(examined.report["gate"], "shut");
    for code in [
        "config.read",
        "containerd.version",
        "bindir.plugin",
        "bindir.timeout",
        "cri.transfer",
        "directory.present",
        "verifier.civ",
        "policy.valid",
        "registry.reachable",
        "probe.refused",
        "probe.allowed",
    ] {
        examined.assert_finds("ok", code, None);
    }
    examined.assert_finds("note", "clients", None);
    assert_eq!(node.containerd.cri_images(), [""; 0], "the probes leave nothing");

    // Each probe tells a wrong answer.
    let crossed = node.doctor(&["--probe", &signed.tag, "--probe-allowed", &node.unsigned.tag]);
    assert_eq!(crossed.code, Some(1));
    crossed.assert_finds("failure", "probe.refused", None);
    crossed.assert_finds("blocked", "probe.allowed", None);
    let absent = format!("{}/team/absent:1", node.registry.address());
    let inconclusive = node.doctor(&["--probe", &absent]);
    inconclusive.assert_finds("unknown", "probe.refused", None);
    assert_eq!((inconclusive.code, &inconclusive.report["gate"]), (Some(1), &json!("unknown")));

    // For people: no colour where nobody looks.
    let text = node.containerd.civ(["doctor", "--offline"]);
    assert!(
        text.stdout.ends_with("the gate is shut: 0 failures, 0 that block pulls, 0 warnings\n")
    );
    assert!(!text.stdout.contains('\u{1b}'), "{text:#?}");
}

#[test]
fn an_empty_verifier_directory_opens_the_gate() {
    let node = Node::start(str::to_owned, &[]);
    fs::remove_file(node.containerd.bin_dir().join("cosign-image-verifier")).unwrap();
    node.assert_open("directory.empty", Some("config.toml"), "bin_dir");
}

#[test]
fn a_verifier_beyond_the_limit_opens_the_gate() {
    let node =
        Node::start(|config| replaced(config, "max_verifiers = -1", "max_verifiers = 1"), &[]);
    node.containerd.install_script("allowing-image-verifier", "exit 0");
    node.assert_open("verifier.skipped", Some("config.toml"), "max_verifiers");
}

#[test]
fn a_policy_that_only_watches_opens_the_gate() {
    let node = Node::start(str::to_owned, &[]);
    node.set_policy("audit", &some_key(), "*");
    node.assert_open("policy.open", None, "");
    // Nor does it matter which images it watches, if it refuses none.
    let registry = format!("{}/**", node.registry.address());
    for level in ["audit", "skip"] {
        let mut statement = json!({ "name": "a", "registryScopes": [registry], "signatureVerification": { "level": level } });
        if level == "audit" {
            statement["keys"] = json!([{ "name": "release", "publicKey": some_key() }]);
        }
        node.set_statements(&json!([statement]));
        node.assert_open("policy.open", None, "");
    }
}

/// Before containerd 2.3 CRI does not work without the plugin, so nothing is pulled at all.
#[test]
fn a_disabled_plugin_is_found_and_the_probe_does_not_take_its_error_for_a_verdict() {
    let node = Node::start(
        |config| {
            let plugin =
                "\"io.containerd.image-verifier.v1.bindir\", \"io.containerd.internal.v1.opt\"";
            replaced(config, "\"io.containerd.internal.v1.opt\"", plugin)
        },
        &[],
    );
    let error = node.containerd.cri_pull(&node.unsigned.tag).unwrap_err();
    assert!(!error.contains("image verifier"), "{error}");
    let examined = node.doctor(&["--probe", &node.unsigned.tag]);
    assert_eq!(examined.code, Some(1));
    let place = node.place("config.toml", "disabled_plugins");
    examined.assert_finds("failure", "bindir.plugin", Some(&place));
    examined.assert_finds("unknown", "probe.refused", None);
}

#[test]
fn what_blocks_every_pull_is_told_from_what_lets_them_through() {
    let stray = |node: &Node| {
        let path = node.containerd.bin_dir().join("README");
        fs::write(&path, "not a verifier").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    let short = |config: &str| replaced(config, "\"10s\"", "\"1ms\"");
    let usual = |config: &str| config.to_owned();
    let node = Node::start(short, &[]);
    assert_blocked(&node, "bindir.timeout", Some(&node.place("config.toml", "1ms")));

    let noexec = "mount --bind \"$1/bin\" \"$1/bin\" && mount -o remount,bind,noexec \"$1/bin\"";
    let node = Node::start_after(noexec, usual, &[]);
    assert_blocked(&node, "verifier.not-executable", None);

    let node = Node::start(usual, &[]);
    stray(&node);
    assert_blocked(&node, "verifier.not-executable", None);
    fs::remove_file(node.containerd.bin_dir().join("README")).unwrap();
    node.install("stray-image-verifier");
    assert_eq!(node.doctor(&["--offline"]).report["gate"], "blocked", "it has no policy");
}

#[test]
fn what_others_may_change_is_a_failure() {
    let import = |config: &str| {
        let config = config.replace("/bin\"", "/home/bin\"");
        replaced(&config, "version = 3", "version = 3\nimports = [\"conf.d/*.toml\"]")
    };
    let node = Node::start_after(
        "mkdir -m 0755 \"$1/home\" \"$1/conf.d\" && ln -s ../bin \"$1/home/bin\"",
        import,
        &[],
    );
    assert_eq!(node.doctor(&["--offline"]).code, Some(0));
    let assert_writable = |path: &Path, code: &str| {
        let examined = node.doctor(&["--offline"]);
        assert_eq!(examined.code, Some(1), "{path:?}");
        examined.assert_finds("failure", code, None);
    };
    let file = |name: &str| node.containerd.file(name);
    for (name, code, usual, open) in [
        ("bin/cosign-image-verifier", "verifier.writable", 0o755, 0o775),
        ("bin", "directory.writable", 0o755, 0o777),
        // Modes of what containerd has read are changes as well, whence the order.
        ("conf.d", "config.writable", 0o755, 0o777),
        ("config.toml", "config.writable", 0o644, 0o666),
    ] {
        let mode =
            |mode| fs::set_permissions(file(name), fs::Permissions::from_mode(mode)).unwrap();
        mode(open);
        assert_writable(&file(name), code);
        mode(usual);
    }
    // Whose directory it is decides where a link in it leads.
    for (name, code) in [("home", "directory.writable"), ("home/bin", "directory.writable")] {
        lchown(file(name), Some(1000), None).unwrap();
        assert_writable(&file(name), code);
        lchown(file(name), Some(0), None).unwrap();
    }
    // No verifier reads what is below such a directory.
    lchown(file("etc/image-verifiers/cosign"), Some(1000), None).unwrap();
    let examined = node.doctor(&["--offline"]);
    assert_eq!(examined.code, Some(1));
    examined.assert_finds("blocked", "policy.unusable", None);
}

/// The pull fails, by no verdict; and the gate is not open for that.
#[track_caller]
fn assert_blocked(node: &Node, code: &str, place: Option<&(PathBuf, u64)>) {
    let error = node.containerd.cri_pull(&node.unsigned.tag).unwrap_err();
    assert!(error.contains("failed to call verifier") || error.contains("no signature"), "{error}");
    let examined = node.doctor(&["--offline"]);
    assert_eq!(examined.code, Some(1), "{examined:#?}");
    assert_eq!(examined.report["gate"], "blocked", "{examined:#?}");
    examined.assert_finds("blocked", code, place);
}
