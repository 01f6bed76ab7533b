//! Signatures as the user of `civ` sees them: both forms, what is attached, and deleting it.

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use serde_json::Value;

use crate::verbs::{Fleet, KEY, OTHER_KEY, civ, command, policy, refusal, stderr, stdout};

#[test]
fn both_formats_are_planned_written_and_reported() {
    let fleet = Fleet::new();
    let state = |more: &[&str]| {
        let args = [&["sign", &fleet.source, "--key", KEY, "-o", "json"], more].concat();
        let output = civ(&args);
        assert!(output.status.success(), "{}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let formats = report["signatures"][0]["formats"].as_array().unwrap().clone();
        let of = |one: &Value| format!("{} {}", one["format"], one["state"]).replace('"', "");
        formats.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(state(&["--dry-run"]), ["legacy missing", "bundle missing"]);
    assert_eq!(state(&["--format", "bundle"]), ["bundle added"]);
    assert_eq!(state(&["--dry-run"]), ["legacy missing", "bundle present"]);
    assert_eq!(state(&["--format", "legacy,bundle"]), ["legacy added", "bundle present"]);
    assert_eq!(state(&["--format", "legacy", "--format", "bundle"]).len(), 2);
    let text = stdout(&civ(&["sign", &fleet.source, "--key", KEY]));
    assert!(text.contains("(before) as legacy and bundle"), "{text}");
    let (exit, line) = refusal(&["sign", &fleet.source, "--key", KEY, "--format", "x"]);
    assert_eq!(exit, 2, "{line}");
}

#[test]
fn a_form_that_is_left_out_is_said() {
    let registry = Registry::builder().immutable_tags(true).start().unwrap();
    SmallImage::new("immutable", "linux/amd64").seed_into(&registry, "team/app", "v1");
    let source = format!("{}/team/app:v1", registry.host());
    assert!(civ(&["sign", &source, "--key", OTHER_KEY]).status.success());
    let output = civ(&["sign", &source, "--key", KEY]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("bundle") && text.contains("left out legacy of "), "{text}");
    assert!(text.contains("does not let tags change"), "{text}");
    let (exit, line) = refusal(&["sign", &source, "--key", KEY, "--format", "legacy"]);
    assert_eq!(exit, 4, "{line}");
}

#[test]
fn bundles_are_dated_as_the_environment_says() {
    let fleet = Fleet::new();
    let sign = |epoch: &str| {
        let args = ["sign", &fleet.source, "--key", KEY, "--format", "bundle"];
        command(&args).env("SOURCE_DATE_EPOCH", epoch).output().unwrap()
    };
    assert_eq!(sign("yesterday").status.code(), Some(2));
    assert!(sign("1795248001").status.success());
    let digest = SmallIndex::new("cli").digest();
    let list = fleet.registry.referrers("team/app", &digest).unwrap();
    assert!(String::from_utf8(list).unwrap().contains("2026-11-21T08:00:01Z"));
}

#[test]
fn tree_tells_what_is_verified_from_what_is_claimed() {
    let fleet = Fleet::new();
    let source = fleet.source.as_str();
    let nothing = stdout(&civ(&["tree", source]));
    assert!(nothing.contains("nothing is attached"), "{nothing}");
    let escape = "a=\u{1b}[2J\nsigned by \"release\"";
    civ(&["sign", source, "--key", KEY, "-a", "tested=True"]);
    civ(&["sign", source, "--key", OTHER_KEY, "-a", escape, "--recursive"]);
    let trusted = policy(KEY, &serde_json::json!({}));
    let path = trusted.path().to_str().unwrap();
    let text = stdout(&civ(&["tree", source, "--policy", path, "--recursive"]));
    assert_eq!(text.matches("signed by \"release\"; says").count(), 2, "{text}");
    assert_eq!(text.matches("UNVERIFIED").count(), 6, "{text}");
    assert!(text.contains("tested=True") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(text.matches("sha256-").count(), 3, "{text}");

    let public = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(public.path(), civ(&["public-key", "--key", OTHER_KEY]).stdout).unwrap();
    let path = public.path().to_str().unwrap();
    let json = civ(&["tree", source, "--key", path, "-o", "json"]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let attached = report["images"][0]["attached"].as_array().unwrap();
    let signatures = attached.iter().flat_map(|one| one["signatures"].as_array().unwrap());
    let (verified, others): (Vec<_>, Vec<_>) = signatures.partition(|one| one["verified"] == true);
    assert_eq!((verified.len(), others.len()), (2, 2));
    assert!(
        verified.iter().all(|one| one["key"] == path && one["claims"]["repository"].is_string())
    );
    assert!(others.iter().all(|one| one.get("key").is_none()));
    let unverified = stdout(&civ(&["tree", source]));
    assert!(unverified.contains("nothing is verified without keys"), "{unverified}");
}

#[test]
fn clean_deletes_only_when_it_is_confirmed_and_never_the_image() {
    let fleet = Fleet::new();
    let source = fleet.source.as_str();
    civ(&["sign", source, "--key", KEY]);
    let before = fleet.registry.manifests("team/app").len();
    let dry = civ(&["clean", source]);
    assert!(dry.status.success(), "{}", stderr(&dry));
    let text = stdout(&dry);
    assert_eq!(text.matches("would delete signature").count(), 2, "{text}");
    assert!(text.contains("nothing was deleted"), "{text}");
    assert_eq!(fleet.registry.manifests("team/app").len(), before);
    assert_eq!(fleet.registry.count_requests("DELETE", ""), 0);
    for (what, deleted) in [("attestation", 0), ("signature", 2), ("all", 0)] {
        let output = civ(&["clean", source, "--type", what, "--confirm", "-o", "json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["deleted"].as_array().unwrap().len(), deleted, "{what}");
    }
    assert!(stdout(&civ(&["tree", source])).contains("nothing is attached"));
    assert!(fleet.registry.manifest("team/app", "v1").is_some());
}

#[test]
fn triangulate_names_the_tags() {
    let fleet = Fleet::new();
    let digest = SmallIndex::new("cli").digest();
    let repository = format!("{}/team/app", fleet.registry.host());
    let stem = format!("{repository}:{}", digest.as_tag_stem());
    for (wanted, expected) in [
        ("signature", format!("{stem}.sig\n")),
        ("attestation", format!("{stem}.att\n")),
        ("sbom", format!("{stem}.sbom\n")),
        ("referrers", format!("{stem}\n")),
        ("digest", format!("{repository}@{digest}\n")),
    ] {
        let output = civ(&["triangulate", &fleet.source, "--type", wanted]);
        assert_eq!(stdout(&output), expected, "{wanted}: {}", stderr(&output));
    }
    let by_digest = format!("{repository}@{digest}");
    fleet.registry.clear_requests();
    assert_eq!(stdout(&civ(&["triangulate", &by_digest])), format!("{stem}.sig\n"));
    assert!(fleet.registry.requests().is_empty());
}
