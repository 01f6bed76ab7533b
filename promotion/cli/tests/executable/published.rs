//! What Bottlerocket's and the Notary Project's users have been shown goes through `civ policy decode`,
//! `lint` and `encode` unchanged. Where each file is from: its directory's `README.md`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::verbs::{civ, command, stderr, stdout};

const DIRECTORY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../policy/authoring/tests/published");
const FORMATS: [&str; 5] = ["apiclient", "json", "kubernetes-user-data", "toml", "user-data"];

fn published(name: &str) -> String {
    format!("{DIRECTORY}/{name}")
}

/// The errors that lint has about a document, by their codes; `None` if its exit code is of another.
fn errors(file: &Path, plugin: &str) -> Vec<String> {
    let file = file.to_str().unwrap();
    let output = civ(&["policy", "lint", file, "--kind", plugin, "--output", "json"]);
    civ_oci::strict_json::check(&output.stdout).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["files"][0]["findings"].as_array().unwrap().clone();
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(output.status.code(), Some(if errors.is_empty() { 0 } else { 3 }));
    errors
}

/// Encodes the document in every form, and decodes it again: the same bytes, and as base64 what
/// `published` has.
fn assert_unchanged(file: &Path, plugin: &str, published: Option<&str>, refused: bool) {
    let document = fs::read(file).unwrap();
    let argument = format!("{plugin}={}", file.display());
    for format in FORMATS {
        let args = ["policy", "encode", &argument, "--format", format];
        let checked = civ(&args);
        assert_eq!(checked.status.code(), Some(if refused { 3 } else { 0 }), "{argument}");
        assert_eq!(stderr(&checked).contains("--unchecked"), refused, "{argument}");
        let encoded = civ(&[&args[..], &["--unchecked"]].concat());
        assert_eq!(encoded.status.code(), Some(0), "{}", stderr(&encoded));
        assert_eq!(stderr(&encoded).contains("refuses every pull"), refused, "{argument}");
        let settings = format!("{}.as-{format}", file.display());
        fs::write(&settings, &encoded.stdout).unwrap();
        let decoded = civ(&["policy", "decode", &settings, "--plugin", plugin]);
        assert_eq!((decoded.status.code(), &decoded.stdout), (Some(0), &document), "{argument}");
        if let (Some(published), "toml") = (published, format) {
            let text = stdout(&encoded);
            let base64 = text.split('"').nth(1).unwrap();
            assert!(published.contains(base64), "{argument}: {base64}");
        }
    }
}

/// The plugins of a file, each with the errors of its document.
type Plugins = &'static [(&'static str, &'static [&'static str])];

/// Each file, its plugins, and the errors that lint has about their documents: none where the document
/// says whom or what it trusts.
#[test]
fn settings_go_through_decode_lint_and_encode() {
    let directory = tempfile::tempdir().unwrap();
    let files: [(&str, Plugins); 7] = [
        ("bottlerocket-docs-notation.txt", &[("notation", &["no-statements"])]),
        ("bottlerocket-docs-notation.toml", &[("notation", &["no-statements"])]),
        ("bottlerocket-docs-custom.txt", &[("custom-verifier", &[])]),
        ("bottlerocket-pull-4832-digestion.json", &[("digestion", &[])]),
        (
            "settings-sdk-several.json",
            &[("digestion", &["bad-form"]), ("notation", &["no-statements"])],
        ),
        ("settings-sdk-alias.json", &[("notation", &["no-statements"])]),
        ("settings-sdk-pull-114.txt", &[("digestion", &["bad-form"])]),
    ];
    for (file, plugins) in files {
        let text = fs::read_to_string(published(file)).unwrap();
        for (plugin, expected) in plugins {
            let decoded = civ(&["policy", "decode", &published(file), "--plugin", plugin]);
            assert_eq!(decoded.status.code(), Some(0), "{file}: {}", stderr(&decoded));
            // Bottlerocket documents this form, and refuses it.
            let warned = stderr(&decoded).contains("Bottlerocket refuses notation-trustpolicy");
            assert_eq!(warned, file == "bottlerocket-docs-notation.toml", "{file}");
            let document = directory.path().join(format!("{file}.{plugin}"));
            fs::write(&document, &decoded.stdout).unwrap();
            if *plugin != "custom-verifier" {
                assert_eq!(errors(&document, plugin), *expected, "{file} {plugin}");
            }
            assert_unchanged(&document, plugin, Some(&text), !expected.is_empty());
        }
    }
}

#[test]
fn documents_go_through_lint_encode_and_decode() {
    let directory = tempfile::tempdir().unwrap();
    for file in [
        "aws-otel-notation.json",
        "notaryproject-docs-notation.json",
        "notaryproject-specification-notation.json",
        "rolesanywhere-notation.json",
        "rolesanywhere-notation-skip-revocation.json",
    ] {
        let document = directory.path().join(file);
        fs::copy(published(file), &document).unwrap();
        let linted = command(&["policy", "lint", document.to_str().unwrap()]).output().unwrap();
        assert!(stdout(&linted).contains("a policy for notation-image-verifier"), "{file}");
        assert_eq!(errors(&document, "notation"), Vec::<String>::new(), "{file}");
        assert_unchanged(&document, "notation", None, false);
    }
}
