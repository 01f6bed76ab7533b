//! What `digestion-image-verifier` makes of lists with names and children: the executable as
//! `cargo gate` builds it, called as containerd calls it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a harness that cannot do its work fails the test"
)]

use std::fs;

use civ_tests::{
    gate::{self, Call},
    scratch,
    stage::assert_ends,
};
use serde_json::{Value, json};

const NAME: &str = "registry.example/prod/app:1.4";
const INDEX: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const CHILD: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// `list` for all repositories, and for those of one statement.
fn documents(list: &Value) -> [Value; 2] {
    let mut everywhere = list.clone();
    everywhere["version"] = json!("1.0");
    let mut statement = list.clone();
    statement["name"] = json!("prod");
    statement["registryScopes"] = json!(["registry.example/prod/**"]);
    [everywhere, json!({ "version": "1.0", "trustPolicies": [statement] })]
}

fn check(document: &Value, digest: &str, exit: i32, words: &str) -> String {
    let directory = scratch::directory();
    let policy = directory.path().join("policy");
    fs::write(&policy, document.to_string()).expect("a file in a directory of ours");
    let executable = gate::executable("digestion-image-verifier");
    assert_ends(&Call::pull(executable, NAME, digest).policy(&policy), exit, words).stderr
}

#[test]
fn a_child_of_a_listed_index_is_allowed_where_the_list_resolves_it() {
    let resolved = json!({
        "children": "resolve",
        "images": [{ "name": NAME, "digest": INDEX, "children": [CHILD] }],
    });
    let plain = json!({ "images": [{ "name": NAME, "digest": INDEX }] });
    for document in documents(&resolved) {
        check(&document, INDEX, 0, &format!("as {NAME:?}"));
        check(&document, CHILD, 0, &format!("as a child of {NAME:?}"));
        check(&document, OTHER, 1, "digest not listed");
    }
    for document in documents(&plain) {
        check(&document, INDEX, 0, &format!("as {NAME:?}"));
        check(&document, CHILD, 1, "digest not listed");
    }
}

#[test]
fn a_list_that_is_not_expanded_as_it_says_is_no_policy() {
    for (list, words) in [
        (
            json!({ "children": "resolve", "images": [{ "name": NAME, "digest": INDEX }] }),
            "let civ policy digests write the list",
        ),
        (
            json!({ "images": [{ "name": NAME, "digest": INDEX, "children": [CHILD] }] }),
            r#"does not say "children": "resolve""#,
        ),
        (json!({ "children": "resolve", "trustedDigests": [INDEX] }), "nothing to resolve"),
    ] {
        for document in documents(&list) {
            check(&document, INDEX, 3, words);
        }
    }
}

#[test]
fn a_name_cannot_forge_a_line_and_the_record_has_the_statement() {
    let name = "registry.example/a\nallowed\u{1b}[2J\u{202e}";
    let list = json!({ "images": [{ "name": name, "digest": INDEX }] });
    let [everywhere, scoped] = documents(&list);
    check(&everywhere, INDEX, 0, r#"as "registry.example/a\nallowed\u{1b}[2J\u{202e}""#);
    let stderr = check(&scoped, INDEX, 0, r#"in statement "prod""#);
    assert!(stderr.contains("step=statement ") && stderr.contains(" level=strict"), "{stderr}");
    assert!(stderr.contains(" statement=prod "), "{stderr}");
}
