//! `civ key generate`, and signing with what it wrote.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallIndex};

use crate::verbs::{command, stderr, stdout};

fn civ(directory: &Path, password: Option<&str>, args: &[&str]) -> Output {
    let mut command = command(args);
    command.current_dir(directory);
    if let Some(password) = password {
        command.env("COSIGN_PASSWORD", password);
    }
    command.output().unwrap()
}

#[test]
fn makes_a_pair_of_each_kind_that_signs_with_its_password_only() {
    let registry = Registry::start().unwrap();
    SmallIndex::new("key").seed_into(&registry, "team/app", "v1");
    let image = format!("{}/team/app:v1", registry.host());
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for (kind, name) in [
        ("ecdsa-p256", "ECDSA P-256"),
        ("ecdsa-p384", "ECDSA P-384"),
        ("ecdsa-p521", "ECDSA P-521"),
        ("ed25519", "Ed25519"),
        ("rsa-4096", "RSA 4096"),
    ] {
        let generate = ["key", "generate", "--output-key-prefix", kind, "--kind", kind];
        let made = civ(home, Some("canary"), &generate);
        assert!(made.status.success(), "{}", stderr(&made));
        assert!(stdout(&made).contains(name), "{}", stdout(&made));
        let (private, public) = (format!("{kind}.key"), format!("{kind}.pub"));
        let permissions =
            |file: &str| fs::metadata(home.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(permissions(&private), 0o600);
        assert_ne!(permissions(&public) & 0o400, 0);
        let printed = civ(home, Some("canary"), &["public-key", "--key", &private]);
        assert_eq!(stdout(&printed), fs::read_to_string(home.join(&public)).unwrap());

        let sign = ["sign", &image, "--key", &private];
        let signed = civ(home, Some("canary"), &sign);
        assert!(signed.status.success(), "{}", stderr(&signed));
        for (password, part) in [
            (None, "set COSIGN_PASSWORD"),
            (Some(""), "password does not open"),
            (Some("Canary"), "password does not open"),
        ] {
            let refused = civ(home, password, &sign);
            assert_eq!(refused.status.code(), Some(3), "{refused:?}");
            assert!(stderr(&refused).contains(part), "{refused:?}");
            assert_eq!(stderr(&refused).lines().count(), 1, "{refused:?}");
            assert!(!format!("{refused:?}").contains("anary"), "{refused:?}");
        }
    }
    let leftovers = fs::read_dir(home).unwrap().count();
    assert_eq!(leftovers, 5 * 2);
}

#[test]
fn overwrites_nothing_and_leaves_nothing_when_it_fails() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::write(home.join("one.key"), "theirs").unwrap();
    fs::write(home.join("two.pub"), "theirs").unwrap();
    symlink("nowhere", home.join("three.key")).unwrap();
    let before = fs::read_dir(home).unwrap().count();
    for (prefix, password, part) in [
        ("one", Some("x"), "one.key is there already"),
        ("two", Some("x"), "two.pub is there already"),
        ("three", Some("x"), "three.key is there already"),
        ("absent/four", Some("x"), "cannot write absent/four.key"),
        ("five", None, "set COSIGN_PASSWORD"),
    ] {
        let refused = civ(home, password, &["key", "generate", "--output-key-prefix", prefix]);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        assert!(stderr(&refused).contains(part), "{refused:?}");
        assert_eq!(stdout(&refused), "");
    }
    assert_eq!(fs::read_dir(home).unwrap().count(), before);
    assert_eq!(fs::read_to_string(home.join("one.key")).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(home.join("two.pub")).unwrap(), "theirs");
}
