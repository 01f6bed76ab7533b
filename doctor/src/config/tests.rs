use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::settings::{BINDIR, CRI, CRI_IMAGES};

/// Files by their path.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let inside =
            self.0.keys().filter_map(|path| path.strip_prefix(directory).ok()?.iter().next());
        let names: BTreeSet<_> = inside.map(|name| name.to_string_lossy().into_owned()).collect();
        names.into_iter().rev().collect()
    }
}

fn load(files: &[(&str, &str)]) -> Config {
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()));
    Config::load(&Memory(files.collect()), Path::new("/etc/c.toml"))
}

fn images(config: &Config, name: &str) -> Option<(Value, String)> {
    config.setting(CRI_IMAGES, name).map(|node| (node.value.clone(), node.at.to_string()))
}

const IMAGES: &str = "[plugins.\"io.containerd.cri.v1.images\"]\n";

#[test]
fn the_last_file_wins_and_siblings_come_before_what_they_import() {
    let config = load(&[
        (
            "/etc/c.toml",
            &format!(
                "version = 3\nimports = ['d/2.toml', '/etc/d/1*.toml']\n{IMAGES}a = 0\nkept = 0"
            ),
        ),
        ("/etc/d/1.toml", &format!("version = 3\n{IMAGES}a = 1")),
        ("/etc/d/10.toml", &format!("version = 3\n{IMAGES}\na = 10")),
        (
            "/etc/d/2.toml",
            &format!("version = 3\nimports = ['../n.toml', '2.toml']\n{IMAGES}a = 2"),
        ),
        ("/etc/n.toml", &format!("version = 3\n{IMAGES}n = true\n\n\na = 7")),
    ]);
    let files: Vec<_> = config.files.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(
        files,
        ["/etc/c.toml", "/etc/d/2.toml", "/etc/d/1.toml", "/etc/d/10.toml", "/etc/n.toml"]
    );
    assert_eq!(images(&config, "a"), Some((Value::Integer(7), "/etc/n.toml:6".to_owned())));
    assert_eq!(images(&config, "kept"), Some((Value::Integer(0), "/etc/c.toml:5".to_owned())));
    assert_eq!(config.findings, []);
}

/// As containerd 2.1.9 merges them (`containerd config dump`).
#[test]
fn tables_of_plugins_are_merged_with_empty_values_and_lists_of_disabled_plugins_add_up() {
    let config = load(&[
        (
            "/etc/c.toml",
            "version = 3\nimports = ['a.toml']\ndisabled_plugins = ['io.a.v1.x']\n[grpc]\naddress = '/s'\n\
             [plugins.'io.containerd.image-verifier.v1.bindir']\nbin_dir = '/a'\nmax_verifiers = 5",
        ),
        (
            "/etc/a.toml",
            "version = 3\ndisabled_plugins = ['io.b.v1.y', 'io.a.v1.x']\n[grpc]\naddress = ''\n\
             [plugins.'io.containerd.image-verifier.v1.bindir']\nbin_dir = ''",
        ),
    ]);
    assert_eq!(config.setting(BINDIR, "bin_dir").unwrap().text(), Some(""));
    assert_eq!(config.setting(BINDIR, "max_verifiers").unwrap().integer(), Some(5));
    let disabled: Vec<_> = config.disabled.iter().filter_map(Node::text).collect();
    assert_eq!(disabled, ["io.a.v1.x", "io.b.v1.y"]);
    assert_eq!(config.address.unwrap().text(), Some("/s"));
}

#[test]
fn version_2_is_migrated_as_containerd_migrates_it() {
    let legacy = |version: i64, rest: &str| {
        let text = format!(
            "version = {version}\n[plugins.'io.containerd.grpc.v1.cri']\nmax_concurrent_downloads = 7\n\
             [plugins.'io.containerd.grpc.v1.cri'.containerd]\ndiscard_unpacked_layers = true\n{rest}"
        );
        load(&[("/etc/c.toml", &text)])
    };
    let seven = Some((Value::Integer(7), "/etc/c.toml:3".to_owned()));
    let yes = Some((Value::Bool(true), "/etc/c.toml:5".to_owned()));
    let runtimes = "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\n";

    let whole = legacy(2, runtimes);
    assert_eq!(images(&whole, "max_concurrent_downloads"), seven);
    assert_eq!(images(&whole, "discard_unpacked_layers"), yes);
    assert!(whole.doubtful.is_empty());

    let without_runtimes = legacy(2, "");
    assert_eq!(images(&without_runtimes, "max_concurrent_downloads"), seven);
    assert_eq!(images(&without_runtimes, "discard_unpacked_layers"), None);
    assert!(without_runtimes.doubtful[0].contains_key("discard_unpacked_layers"));

    for version in [1, 3] {
        let config = legacy(version, runtimes);
        assert_eq!(images(&config, "max_concurrent_downloads"), None, "{version}");
        assert_eq!(config.doubtful[0].len(), 2, "{version}");
    }

    // 2.1 goes by the version of the last file, later releases by that of each.
    let text =
        format!("version = 3\nimports = ['b']\n[plugins.'{CRI}']\nmax_concurrent_downloads = 7");
    let mixed = load(&[("/etc/c.toml", &text), ("/etc/b", "version = 2")]);
    assert_eq!(images(&mixed, "max_concurrent_downloads").unwrap().0, Value::Integer(7));
    let text =
        format!("version = 2\nimports = ['b']\n[plugins.'{CRI}']\nmax_concurrent_downloads = 7");
    let mixed = load(&[("/etc/c.toml", &text), ("/etc/b", "version = 3")]);
    assert_eq!(images(&mixed, "max_concurrent_downloads"), None);
    assert!(mixed.doubtful.iter().any(|table| table.contains_key("max_concurrent_downloads")));

    // The old name wins over the new one in the same file.
    let both = load(&[(
        "/etc/c.toml",
        &format!(
            "version = 2\n{IMAGES}max_concurrent_downloads = 3\n[plugins.'io.containerd.grpc.v1.cri']\nmax_concurrent_downloads = 7"
        ),
    )]);
    assert_eq!(images(&both, "max_concurrent_downloads").unwrap().0, Value::Integer(7));
}

#[test]
fn a_name_counts_in_any_case_of_letters() {
    let text = format!(
        "Version = 3\nDisabled_Plugins = ['io.a.v1.x']\n{IMAGES}Discard_Unpacked_Layers = true"
    )
    .replace("[plugins", "[Plugins");
    let config = load(&[("/etc/c.toml", &text)]);
    assert_eq!(images(&config, "discard_unpacked_layers").unwrap().0, Value::Bool(true));
    assert_eq!(config.disabled.len(), 1);
    // containerd sorts the names before it reads them.
    for (lower, capital) in [(true, false), (false, true)] {
        let text = format!("version = 3\n{IMAGES}a_b = {lower}\nA_b = {capital}");
        assert_eq!(images(&load(&[("/etc/c.toml", &text)]), "a_b").unwrap().0, Value::Bool(lower));
    }
}

#[test]
fn what_containerd_does_not_start_with_is_found() {
    for (text, code, line) in [
        ("version = 3\nimports = ['no.toml']", Code::ConfigImport, Some(2)),
        ("version = 3\nimports = ['[*.toml']", Code::ConfigImport, Some(2)),
        ("version = 3\n[plugins\n", Code::ConfigInvalid, Some(2)),
        ("version = 9", Code::ConfigVersion, Some(1)),
        ("version = 3\nplugins = 1", Code::ConfigInvalid, Some(2)),
    ] {
        let findings = load(&[("/etc/c.toml", text)]).findings;
        let [finding] = &findings[..] else { panic!("{text}: {findings:#?}") };
        assert_eq!((finding.severity, finding.code), (Severity::Failure, code), "{text}");
        assert_eq!(finding.at.as_ref().unwrap().line, line, "{text}");
    }
    assert_eq!(load(&[]).findings[0].severity, Severity::Note);
    let higher =
        load(&[("/etc/c.toml", "version = 2\nimports = ['a']"), ("/etc/a", "version = 3")]);
    assert_eq!(higher.findings[0].severity, Severity::Warning);
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof!["[1-9][0-9]{0,2}", Just("true".to_owned()), Just("''".to_owned())];
    leaf.prop_recursive(3, 12, 3, |inner| {
        proptest::collection::btree_map("[ab]", inner, 0..3).prop_map(|table| {
            let entries: Vec<_> =
                table.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{{ {} }}", entries.join(", "))
        })
    })
}

/// The value at a path of names, without its place.
fn leaves(table: &Table, path: &str, found: &mut BTreeMap<String, Value>) {
    for (key, node) in table {
        let path = format!("{path}/{key}");
        match &node.value {
            Value::Table(table) if !table.is_empty() => leaves(table, &path, found),
            Value::Table(_) => {}
            value => {
                found.insert(path, value.clone());
            }
        }
    }
}

proptest! {
    #[test]
    fn every_value_of_the_later_file_survives_and_none_is_made_up(first in value(), second in value()) {
        let one = |value: &str| load(&[("/etc/c.toml", &format!("version = 3\nplugins.x = {value}"))]).plugins;
        let both = load(&[
            ("/etc/c.toml", &format!("version = 3\nimports = ['b']\nplugins.x = {first}")),
            ("/etc/b", &format!("version = 3\nplugins.x = {second}")),
        ]);
        let leaves = |table: &Table| {
            let mut found = BTreeMap::new();
            leaves(table, "", &mut found);
            found
        };
        let (first, second, merged) = (leaves(&one(&first)), leaves(&one(&second)), leaves(&both.plugins));
        for (path, value) in &second {
            prop_assert_eq!(merged.get(path), Some(value));
        }
        for (path, value) in &merged {
            prop_assert!(second.get(path) == Some(value) || first.get(path) == Some(value));
        }
    }

    #[test]
    fn any_file_is_read_or_refused(text in "(version = [0-4]\n)?(\\PC{0,20}\n|\\[plugins\\.(cri|\"io.containerd.grpc.v1.cri\")(\\.containerd)?\\]\n|[a-z_]{1,12} = [0-9tfa'\"\\[\\]{}]{0,6}\n){0,8}") {
        let _ = load(&[("/etc/c.toml", &text)]);
    }
}
