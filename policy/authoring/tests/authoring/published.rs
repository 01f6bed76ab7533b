//! What Bottlerocket's and the Notary Project's users have been shown goes through decode, lint and
//! encode unchanged. Where each file is from: `tests/published/README.md`.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use civ_authoring::Kind;
use civ_authoring::lint::{Finding, Severity, Written, lint};
use civ_authoring::settings::{DecodeError, Form, PluginName, decode, encode};

fn published(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published").join(name);
    fs::read_to_string(path).unwrap()
}

fn errors(kind: Kind, bytes: &[u8]) -> Vec<Finding> {
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let report = lint(&[Written { kind, bytes }], now).remove(0);
    report.findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect()
}

fn codes(kind: Kind, bytes: &[u8]) -> Vec<&'static str> {
    errors(kind, bytes).iter().map(|finding| finding.code).collect()
}

/// In every form, `document` comes back byte for byte, and as base64 it is what was published.
fn assert_unchanged(plugin: &str, document: &[u8], published: &str) {
    let plugin: PluginName = plugin.parse().unwrap();
    for form in Form::ALL {
        let settings = encode(&[(plugin.clone(), document)], form).unwrap();
        assert!(settings.contains(published), "{form:?}: {settings}");
        let decoded = decode(&settings).unwrap();
        assert_eq!(decoded.len(), 1);
        assert_eq!(
            (&decoded[0].plugin, decoded[0].document.as_slice()),
            (&Some(plugin.clone()), document)
        );
    }
}

/// The plugins of a file, each with the errors of its document.
type Plugins = &'static [(&'static str, &'static [&'static str])];

/// Each file, its plugins, and the errors that lint has about their documents: none where the document
/// says whom or what it trusts.
#[test]
fn settings_go_through_decode_lint_and_encode() {
    let files: [(&str, Plugins); 6] = [
        ("bottlerocket-docs-notation.txt", &[("notation", &["no-statements"])]),
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
        let text = published(file);
        let mut decoded = decode(&text).unwrap();
        decoded.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        assert_eq!(decoded.len(), plugins.len(), "{file}");
        for (one, (plugin, expected)) in decoded.iter().zip(plugins) {
            assert!(one.plugin.as_ref().is_none_or(|name| name.as_str() == *plugin), "{file}");
            if let Some(kind) = Kind::of_plugin(plugin) {
                assert_eq!(codes(kind, &one.document), *expected, "{file} {plugin}");
            }
            let base64 = base64::engine::general_purpose::STANDARD.encode(&one.document);
            assert!(text.contains(&base64), "{file}");
            assert_unchanged(plugin, &one.document, &base64);
        }
    }
}

#[test]
fn documents_go_through_encode_decode_and_lint() {
    for file in [
        "aws-otel-notation.json",
        "notaryproject-docs-notation.json",
        "notaryproject-specification-notation.json",
        "rolesanywhere-notation.json",
        "rolesanywhere-notation-skip-revocation.json",
    ] {
        let document = published(file);
        assert_eq!(Kind::of_document(document.as_bytes()), Some(Kind::Notation), "{file}");
        assert_eq!(errors(Kind::Notation, document.as_bytes()), [], "{file}");
        assert_unchanged("notation", document.as_bytes(), "");
    }
}

#[test]
fn the_form_that_bottlerocket_documents_and_refuses_is_named() {
    let error = decode(&published("bottlerocket-docs-notation.toml")).unwrap_err();
    assert!(
        matches!(&error, DecodeError::NotNested { setting } if setting == "notation-trustpolicy")
    );
    assert!(error.to_string().contains("[settings.image-verifier-plugins.NAME]"), "{error}");
}
