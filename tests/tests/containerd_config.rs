//! The doctor's reading of containerd's configuration against containerd's own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use civ_doctor::config::{Config, Files, Node, Value};
use civ_doctor::settings::{self, BINDIR, CRI_IMAGES};
use civ_doctor::{Code, Finding, Severity};
use civ_tests::{containerd, scratch};

/// A directory of configuration files, of which `config.toml` is the first.
struct Configured(tempfile::TempDir);

impl Configured {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = scratch::directory();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("config.toml")
    }

    fn load(&self) -> Config {
        Config::load(&OnDisk, &self.path())
    }
}

struct OnDisk;

impl Files for OnDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// The settings that decide, and containerd's defaults for them.
const DECIDING: [(&str, &str, Value); 6] = [
    (CRI_IMAGES, "use_local_image_pull", Value::Bool(false)),
    (CRI_IMAGES, "disable_snapshot_annotations", Value::Bool(true)),
    (CRI_IMAGES, "discard_unpacked_layers", Value::Bool(false)),
    (CRI_IMAGES, "image_pull_with_sync_fs", Value::Bool(false)),
    (CRI_IMAGES, "max_concurrent_downloads", Value::Integer(3)),
    (BINDIR, "max_verifiers", Value::Integer(10)),
];

/// Our reading of some files, and containerd's own.
#[track_caller]
fn assert_read_as_by_containerd(files: &[(&str, &str)], is_old: bool) {
    let configured = Configured::new(files);
    let ours = configured.load();
    let dump = containerd::dump(&configured.path()).expect_success("containerd config dump");
    let theirs = Configured::new(&[("config.toml", &dump.stdout)]).load();
    for (plugin, name, default) in DECIDING {
        let is = ours.setting(plugin, name).map_or(default, |node| node.value.clone());
        let theirs = &theirs.setting(plugin, name).expect("containerd dumps it").value;
        // Before version 2 the doctor does not commit itself.
        let mut doubted = ours.doubtful.iter().filter_map(|table| table.get(name));
        let may_be = is_old && doubted.any(|node| node.value == *theirs);
        assert!(is == *theirs || may_be, "{name} is {theirs:?}, not {is:?}: {files:#?}");
    }
    assert_eq!(disabled(&ours), disabled(&theirs), "{files:#?}");
}

fn disabled(config: &Config) -> Vec<&str> {
    let mut names: Vec<_> = config.disabled.iter().filter_map(Node::text).collect();
    names.sort_unstable();
    names
}

/// All pairs of a file and one that it imports, made of these parts, which override, undo, repeat and
/// contradict each other.
#[test]
fn files_are_merged_as_containerd_merges_them() {
    const LEGACY: &str = "[plugins.\"io.containerd.grpc.v1.cri\"]\nmax_concurrent_downloads = 7\n\
        [plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndiscard_unpacked_layers = true\n";
    const RUNTIMES: &str =
        "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"x\"\n";
    const PRESENT: &str = "[plugins.\"io.containerd.cri.v1.images\"]\ndiscard_unpacked_layers = false\n\
        max_concurrent_downloads = 0\nuse_local_image_pull = true\n";
    const OTHER: &str = "disabled_plugins = [\"io.containerd.nri.v1.nri\"]\n[plugins.\"io.containerd.cri.v1.images\"]\n\
        Discard_Unpacked_Layers = true\nuse_local_image_pull = false\ndisable_snapshot_annotations = false\n\
        [plugins.\"io.containerd.image-verifier.v1.bindir\"]\nmax_verifiers = 0\n";
    let bodies = [
        String::new(),
        LEGACY.to_owned(),
        format!("{LEGACY}{RUNTIMES}"),
        format!("{LEGACY}{RUNTIMES}{PRESENT}"),
        OTHER.to_owned(),
    ];
    for (version, imported) in [(3, 3), (3, 2), (2, 3), (2, 2), (2, 1), (1, 1)] {
        for body in &bodies {
            for other in &bodies {
                let first = format!("version = {version}\nimports = [\"import*\"]\n{body}");
                let second = format!("version = {imported}\n{other}");
                let files = [("config.toml", &*first), ("imported.toml", &*second)];
                assert_read_as_by_containerd(&files, imported < 2);
            }
        }
    }
}

/// Which ways round the gate the doctor sees.
fn bypasses(config: &Config) -> BTreeSet<Code> {
    let (_, findings) = settings::judge(config, None);
    let failed = findings.iter().filter(|finding| finding.severity == Severity::Failure);
    failed.map(|finding| finding.code).collect()
}

/// Two spellings of one table are read one after the other, and so are those within.
#[test]
fn tables_in_several_spellings_are_merged_as_containerd_merges_them() {
    const TABLE: &str = "[plugins.\"io.containerd.cri.v1.images\"";
    let setting = |registry: &str, name: &str, setting: &str| match setting {
        "" => format!("{TABLE}.{registry}.{name}]\n"),
        setting => format!("{TABLE}.{registry}.{name}.\"r.example\"]\n{setting}\n"),
    };
    let kinds = [
        ("mirrors", "Mirrors", "endpoint = [\"https://m.example\"]", Code::CriRegistryMirrors),
        ("configs", "CONFIGS", "auth.username = \"u\"", Code::CriRegistryConfigs),
        ("auths", "Auths", "username = \"u\"", Code::CriRegistryAuths),
    ];
    for (name, spelled, full, code) in kinds {
        for (first, second) in [
            (setting("Registry", name, full), setting("registry", name, "")),
            (setting("Registry", name, ""), setting("registry", name, full)),
            (setting("registry", spelled, full), setting("registry", name, "")),
            (setting("registry", spelled, ""), setting("REGISTRY", name, full)),
            (setting("Registry", spelled, full), format!("{TABLE}.registry]\n")),
            (setting("Registry", spelled, ""), setting("registry", name, "")),
        ] {
            let configured =
                Configured::new(&[("config.toml", &format!("version = 3\n{first}{second}"))]);
            let dump =
                containerd::dump(&configured.path()).expect_success("containerd config dump");
            let theirs = Configured::new(&[("config.toml", &dump.stdout)]).load();
            let expected = if first.contains("r.example") || second.contains("r.example") {
                BTreeSet::from([code])
            } else {
                BTreeSet::new()
            };
            assert_eq!(bypasses(&theirs), expected, "{first}{second}: {}", dump.stdout);
            assert_eq!(bypasses(&configured.load()), expected, "{first}{second}");
        }
    }
}

#[test]
fn what_the_doctor_says_containerd_does_not_start_with_it_does_not_start_with() {
    for (text, code) in [
        ("imports = [\"absent.toml\"]", Code::ConfigImport),
        ("imports = [\"[*\"]", Code::ConfigImport),
        ("[plugins", Code::ConfigInvalid),
        ("plugins = 1", Code::ConfigInvalid),
        ("disabled_plugins = [\"bindir\"]", Code::ConfigInvalid),
        (
            "[plugins.\"io.containerd.cri.v1.images\"]\ndiscard_unpacked_layers = \"true\"",
            Code::ConfigInvalid,
        ),
        (
            "[plugins.\"io.containerd.image-verifier.v1.bindir\"]\nper_verifier_timeout = \"10\"",
            Code::ConfigInvalid,
        ),
        (
            "[plugins.\"io.containerd.image-verifier.v1.bindir\"]\nmax_verifiers = \"1\"",
            Code::ConfigInvalid,
        ),
    ] {
        let configured = Configured::new(&[("config.toml", &format!("version = 3\n{text}"))]);
        let config = configured.load();
        let (_, judged) = settings::judge(&config, None);
        let failed =
            |finding: &Finding| finding.severity == Severity::Failure && finding.code == code;
        assert!(config.findings.iter().chain(&judged).any(failed), "{text}: {judged:#?}");
        let started = containerd::start_fails(&configured.path());
        assert!(started.stderr.contains("containerd: "), "{text}: {started:#?}");
    }
}
