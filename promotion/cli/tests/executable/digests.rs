//! `civ policy digests`: every form of input and of output, and what the verifier's parser makes of it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture, SmallImage, SmallIndex};
use civ_oci::{Descriptor, Digest, ImageId, media_type};
use civ_policy::digestion::Policy;
use serde_json::{Value, json};

use crate::verbs::{civ, command, refusal, stderr, stdout};

/// A registry with an index, a manifest, and an index of indexes.
struct Shelf {
    registry: Registry,
    home: tempfile::TempDir,
}

impl Shelf {
    fn new() -> Self {
        let registry = Registry::start().unwrap();
        SmallIndex::new("app").seed_into(&registry, "prod/app", "1.4");
        SmallImage::new("db", "linux/amd64").seed_into(&registry, "prod/db", "16");
        let inner = SmallIndex::new("inner");
        inner.seed_into(&registry, "prod/nested", "inner");
        let outer = nested().to_string();
        registry.put_manifest("prod/nested", Some("1"), media_type::OCI_INDEX, outer);
        Self { registry, home: tempfile::tempdir().unwrap() }
    }

    fn at(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.host())
    }

    fn image(&self, path: &str, digest: &Digest) -> ImageId {
        ImageId { repository: self.at(path).parse().unwrap(), digest: digest.clone() }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content.replace("$HOST", &self.registry.host())).unwrap();
        path
    }
}

fn nested() -> Value {
    let inner = SmallIndex::new("inner").index();
    let inner = Descriptor::of(media_type::OCI_INDEX, &inner);
    json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [inner] })
}

/// An index and its two platforms.
fn family(seed: &str) -> Vec<Digest> {
    let index = SmallIndex::new(seed);
    index.children().iter().map(Fixture::digest).chain([index.digest()]).collect()
}

fn digests(args: &[&str]) -> Output {
    let output = civ(&[&["policy", "digests"], args].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

fn policy(output: &Output) -> Policy {
    Policy::parse(&output.stdout).unwrap()
}

#[test]
fn the_policy_admits_every_platform_of_what_was_named_and_nothing_else() {
    let shelf = Shelf::new();
    let (app, db) = (shelf.at("prod/app:1.4"), shelf.at("prod/db:16"));
    let db_digest = SmallImage::new("db", "linux/amd64").digest();
    for more in [&[][..], &["--flat"], &["--scoped"]] {
        // Twice, as a file may name it again.
        let output = digests(&[&[app.as_str(), &db, &app], more].concat());
        let policy = policy(&output);
        for digest in family("app") {
            assert!(policy.check_listed(&shelf.image("prod/app", &digest)).is_ok(), "{digest}");
            let elsewhere = policy.check_listed(&shelf.image("prod/db", &digest));
            assert_eq!(elsewhere.is_err(), more == ["--scoped"], "{more:?}");
        }
        assert!(policy.check_listed(&shelf.image("prod/db", &db_digest)).is_ok());
        assert!(policy.check_listed(&shelf.image("prod/app", &Digest::sha256(b"x"))).is_err());
        assert!(stderr(&output).starts_with("civ: 2 images, 4 digests: "), "{}", stderr(&output));
    }
    let document: Value = serde_json::from_slice(&digests(&[&db, &app]).stdout).unwrap();
    assert_eq!(document["children"], "resolve");
    assert_eq!(document["images"][0]["name"], app.as_str());
    assert_eq!(document["images"][0]["children"].as_array().unwrap().len(), 2);
    assert_eq!(document["images"][1]["children"], json!([]));
    let flat: Value = serde_json::from_slice(&digests(&[&db, &app, "--flat"]).stdout).unwrap();
    let keys: Vec<_> = flat.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["trustedDigests", "version"]);
    assert_eq!(digests(&[&db, &app]).stdout, digests(&[&app, &db]).stdout);
}

#[test]
fn nested_indexes_are_expanded_and_without_children_none_is() {
    let shelf = Shelf::new();
    let named = shelf.at("prod/nested:1");
    let top = Digest::sha256(nested().to_string().as_bytes());
    let by_digest = shelf.at(&format!("prod/nested@{top}"));
    for reference in [&named, &by_digest] {
        let expanded = policy(&digests(&[reference]));
        let alone = policy(&digests(&[reference, "--no-children"]));
        for digest in family("inner") {
            let image = shelf.image("prod/nested", &digest);
            assert!(expanded.check_listed(&image).is_ok(), "{digest}");
            assert!(alone.check_listed(&image).is_err(), "{digest}");
        }
        for policy in [expanded, alone] {
            assert!(policy.check_listed(&shelf.image("prod/nested", &top)).is_ok());
        }
    }
}

#[test]
fn files_of_every_form_name_the_same_images() {
    let shelf = Shelf::new();
    let index = SmallIndex::new("app").digest();
    let db = SmallImage::new("db", "linux/amd64").digest();
    let list = shelf.file("list", "# released\n$HOST/prod/app:1.4\n\n$HOST/prod/db:16\n");
    let lock = shelf.file(
        "images.yml",
        &format!(
            "---\napiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n\
             - image: $HOST/prod/app@{index}\n  annotations:\n    kbld.carvel.dev/id: $HOST/prod/app:1.4\n\
             - image: $HOST/prod/db@{db}\n  annotations:\n    kbld.carvel.dev/id: $HOST/prod/db:16\n"
        ),
    );
    let manifests = shelf.file(
        "rendered.yaml",
        "---\n# Source: chart/templates/none.yaml\n---\napiVersion: apps/v1\nkind: Deployment\n\
         spec:\n  template:\n    spec:\n      containers:\n      - image: $HOST/prod/app:1.4\n\
         ---\napiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: \
         {initContainers: [{image: \"$HOST/prod/db:16\"}]}}}}}\n",
    );
    let expected = digests(&[&shelf.at("prod/app:1.4"), &shelf.at("prod/db:16")]).stdout;
    for file in [&list, &lock, &manifests] {
        let output = digests(&["--file", file.to_str().unwrap()]);
        assert_eq!(stdout(&output), String::from_utf8_lossy(&expected), "{}", file.display());
    }
    let several = [&list, &lock].map(|file| file.to_str().unwrap());
    let output = digests(&["-f", several[0], "-f", several[1]]);
    assert_eq!(output.stdout, expected);

    let mut child = command(&["policy", "digests", "--file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&manifests).unwrap()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, expected);
}

#[test]
fn every_image_that_cannot_be_had_is_named_and_nothing_is_written() {
    let shelf = Shelf::new();
    let (absent, other) = (shelf.at("prod/app:absent"), shelf.at("prod/none:1"));
    let file = shelf.file("policy.json", "before");
    let path = file.to_str().unwrap();
    let app = shelf.at("prod/app:1.4");
    let output = civ(&["policy", "digests", &absent, &app, &other, "--output-file", path]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let lines = stderr(&output);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(lines.contains(&absent) && lines.contains(&other), "{lines}");
    assert!(lines.contains("2 of 3 images failed; nothing was written"), "{lines}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "before");

    let broken = shelf.file("broken", "$HOST/prod/app:1.4\nnot an image\n");
    let broken = broken.to_str().unwrap();
    for (args, exit, words) in [
        (&["policy", "digests", &absent][..], 4, "prod/app:absent"),
        (&["policy", "digests", &shelf.at("prod/app")], 2, "neither a tag nor a digest"),
        (&["policy", "digests", "--file", broken], 3, "line 2"),
        (&["policy", "digests", "--file", "/nowhere"], 3, "cannot read /nowhere"),
        (&["policy", "digests", "--file", "-", "--file", "-"], 2, "stdin"),
        (&["policy", "digests"], 2, "IMAGE"),
        (&["policy", "digests", &app, "--dry-run"], 2, "--output-file"),
    ] {
        let (code, line) = refusal(args);
        assert!(code == exit && line.contains(words), "{args:?}: {line}");
    }
}

#[test]
fn a_file_is_written_at_once_and_only_if_asked_for() {
    let shelf = Shelf::new();
    let app = shelf.at("prod/app:1.4");
    let expected = stdout(&digests(&[&app]));
    let new = shelf.home.path().join("new.json");
    let old = shelf.file("old.json", "before");
    for path in [&new, &old] {
        let before = fs::read_to_string(path).ok();
        let path_text = path.to_str().unwrap();
        let dry = digests(&[&app, "--output-file", path_text, "--dry-run"]);
        assert!(stderr(&dry).contains("would write"), "{}", stderr(&dry));
        assert_eq!(fs::read_to_string(path).ok(), before);
        let written = digests(&[&app, "--output-file", path_text]);
        assert_eq!(stdout(&written), "");
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }
    assert_eq!(entries(shelf.home.path()), 2);
}

#[test]
fn a_policy_that_user_data_cannot_hold_is_warned_of() {
    let shelf = Shelf::new();
    let app = SmallIndex::new("app").digest();
    for n in 0..60 {
        shelf.registry.tag("prod/app", &format!("v{n}"), &app);
    }
    let tags: Vec<_> = (0..60).map(|n| shelf.at(&format!("prod/app:v{n}"))).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    assert!(stderr(&digests(&tags)).contains("warning: "));
    assert!(!stderr(&digests(&[&tags[..], &["--flat"]].concat())).contains("warning: "));
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}
