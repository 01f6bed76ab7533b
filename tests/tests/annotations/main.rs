//! What an image must say of itself for the gate to allow a pull. The executable answers each, as
//! containerd would call it, and the library must say the same.
//!
//! | module | what it is about |
//! |---|---|
//! | this one | each matcher, each place, and the contract: levels, policies, requests |
//! | [`attacks`] | what an attacker has: the registry, the image, patience |

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod attacks;

use std::env;
use std::time::{Duration, SystemTime};

use civ_oci::{Digest, ImageId};
use civ_policy::UtcTime;
use civ_tests::bundling::descriptor;
use civ_tests::image::{INDEX, MANIFEST};
use civ_tests::stage::{Stage, Verdict};
use serde_json::{Value, json};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const REPOSITORY: &str = "team/app";

/// A platform of this machine.
fn here() -> Value {
    let architecture = if env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    json!({ "os": "linux", "architecture": architecture })
}

/// One that no machine of ours is.
fn elsewhere() -> Value {
    json!({ "os": "linux", "architecture": "s390x" })
}

fn attestation() -> Value {
    json!({ "os": "unknown", "architecture": "unknown" })
}

/// A statement of these rules on every image of the registry.
fn asking(stage: &Stage, rules: &Value) -> Value {
    json!({
        "name": "owned",
        "registryScopes": [format!("{}/**", stage.registry.host())],
        "rules": rules,
    })
}

/// Puts a document of this type into the registry, and returns its descriptor.
fn put(stage: &Stage, media_type: &str, document: impl Into<Vec<u8>>) -> Value {
    let bytes = document.into();
    let described = descriptor(media_type, &bytes);
    stage.registry.put_manifest(REPOSITORY, None, media_type, bytes);
    described
}

/// Puts a configuration into the registry, and returns its descriptor.
fn config(stage: &Stage, document: &str) -> Value {
    stage.registry.put_blob(REPOSITORY, document);
    descriptor(CONFIG, document.as_bytes())
}

/// The text of a manifest, with `annotations` as they are written.
fn manifest_text(config: &Value, annotations: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[],"annotations":{annotations}}}"#
    )
}

/// Puts a manifest with these annotations and labels into the registry.
fn manifest(stage: &Stage, annotations: &Value, labels: &Value) -> Value {
    let config = config(stage, &json!({ "config": { "Labels": labels } }).to_string());
    put(stage, MANIFEST, manifest_text(&config, &annotations.to_string()))
}

/// Puts an index of these into the registry.
fn index(stage: &Stage, manifests: &[Value], annotations: &Value) -> Value {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": annotations,
    });
    put(stage, INDEX, index.to_string())
}

/// The entry of an index for `platform`.
fn listed(mut described: Value, platform: Value) -> Value {
    described["platform"] = platform;
    described
}

fn digest(described: &Value) -> Digest {
    described["digest"].as_str().unwrap().parse().unwrap()
}

fn image(stage: &Stage, described: &Value) -> ImageId {
    stage.repository(REPOSITORY).image(digest(described))
}

#[track_caller]
fn ask(stage: &Stage, described: &Value, rules: &Value) -> Verdict {
    stage.ask_annotations(&image(stage, described), &asking(stage, rules))
}

fn days_ago(days: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UtcTime::from_unix(now.checked_sub(Duration::from_hours(days * 24)).unwrap())
        .unwrap()
        .to_string()
}

#[test]
fn each_matcher_allows_and_refuses() {
    let stage = Stage::default();
    let (recent, old) = (days_ago(89), days_ago(91));
    let future = "2999-01-01T00:00:00+02:00";
    let asks = |text: &str| format!("; statement \"owned\" asks for {text}");
    let newest = asks("a time at most 90d ago");
    for (matcher, value, code, words) in [
        (json!({ "equals": "a" }), "a", 0, "described as statement \"owned\" asks: x"),
        (json!({ "equals": "a" }), "b", 1, &*format!("is \"b\"{}", asks("\"a\""))),
        (json!({ "equals": "a" }), "A", 1, "is \"A\""),
        (json!({ "equals": "a" }), "a ", 1, "is \"a \""),
        (json!({ "oneOf": ["a", "b"] }), "b", 0, ""),
        (json!({ "oneOf": ["a", "b"] }), "c", 1, &asks("one of \"a\", \"b\"")),
        (json!({ "matches": "a+|b" }), "aaa", 0, ""),
        (json!({ "matches": "a+|b" }), "ab", 1, &asks("all of it to match \"a+|b\"")),
        (json!({ "maxAge": "90d" }), &recent, 0, ""),
        (json!({ "maxAge": "90d" }), &old, 1, ", too long ago"),
        (json!({ "maxAge": "90d" }), future, 1, ", which is still to come"),
        (json!({ "maxAge": "90d" }), "today", 1, &format!("no time as RFC 3339 writes it{newest}")),
        (json!({ "version": ">=1.2, <2" }), "v1.9.0", 0, ""),
        (json!({ "version": ">=1.2, <2" }), "2.0.0", 1, &asks("a version in >=1.2, <2")),
        (json!({ "version": ">=1.2, <2" }), "latest", 1, "\"latest\", no semantic version"),
        (json!({ "present": true }), "x", 0, ""),
        (json!({ "present": true }), " ", 1, "is blank"),
        (
            json!({ "absent": true, "from": "manifest" }),
            "secret",
            1,
            "annotation \"x\" is set in the manifest; statement \"owned\" asks for its absence; pull",
        ),
    ] {
        let pulled = manifest(&stage, &json!({ "x": value }), &json!(null));
        let mut rule = matcher.clone();
        rule["annotation"] = json!("x");
        let verdict = ask(&stage, &pulled, &json!([rule]));
        verdict.expect(&format!("{matcher} {value:?}"), code, words);
        // What is not there is as asked only if absence is.
        let nothing = manifest(&stage, &json!({ "X": value }), &json!({ "x": value }));
        let absent = matcher["absent"] == true;
        ask(&stage, &nothing, &json!([rule])).expect(
            &format!("{matcher} missing"),
            i32::from(!absent),
            if absent { "described" } else { "annotation \"x\" missing from the manifest" },
        );
    }
}

#[test]
fn all_rules_must_hold_and_of_a_group_one() {
    let stage = Stage::default();
    let rule = |name: &str| json!({ "annotation": name, "present": true });
    let group =
        json!({ "anyOf": [rule("b"), { "annotation": "c", "from": "labels", "equals": "1" }] });
    let rules = json!([rule("a"), group]);
    for (annotations, labels, code, words) in [
        (json!({ "a": "1", "b": "1" }), json!(null), 0, "asks: a, b"),
        (json!({ "a": "1" }), json!({ "c": "1" }), 0, "asks: a, c"),
        (json!({ "a": "1", "c": "1" }), json!({ "a": "1" }), 1, "none of 2 alternatives holds"),
        (json!({ "b": "1" }), json!({ "c": "1" }), 1, "annotation \"a\" missing"),
        (json!(null), json!(null), 1, "annotation \"a\" missing"),
    ] {
        let pulled = manifest(&stage, &annotations, &labels);
        ask(&stage, &pulled, &rules).expect(&format!("{annotations} {labels}"), code, words);
    }
}

#[test]
fn an_annotation_counts_where_the_rule_looks_and_nowhere_else() {
    let stage = Stage::default();
    let (yes, no) = (json!({ "owner": "a" }), json!(null));
    let rule = |from: Option<&str>| {
        let mut rule = json!({ "annotation": "owner", "equals": "a" });
        if let Some(from) = from {
            rule["from"] = json!(from);
        }
        json!([rule])
    };
    let missing = "annotation \"owner\" missing from the index; statement \"owned\" asks for \"a\"; set it on the index, or see \"from\"";
    for (on_index, on_manifest, label, from, code, words) in [
        (&yes, &no, &no, None, 0, "described"),
        (&yes, &no, &no, Some("index"), 0, "described"),
        (&no, &yes, &yes, None, 1, missing),
        (&no, &yes, &yes, Some("index"), 1, missing),
        (&no, &yes, &no, Some("manifest"), 0, "described"),
        (&yes, &no, &yes, Some("manifest"), 1, "missing from manifest sha256:"),
        (&no, &no, &yes, Some("labels"), 0, "described"),
        (&yes, &yes, &no, Some("labels"), 1, "label \"owner\" missing from manifest sha256:"),
    ] {
        let child = manifest(&stage, on_manifest, label);
        let pulled = index(&stage, &[listed(child.clone(), here())], on_index);
        ask(&stage, &pulled, &rule(from)).expect(&format!("{from:?} of an index"), code, words);
        // The same manifest, pulled by its own digest.
        let (code, words) = match from {
            None | Some("manifest") if on_manifest == &yes => (0, "described"),
            Some("labels") if label == &yes => (0, "described"),
            Some("index") => (1, "no index: sha256:"),
            Some("labels") => (1, "label \"owner\" missing from the manifest"),
            _ => (1, "annotation \"owner\" missing from the manifest"),
        };
        ask(&stage, &child, &rule(from)).expect(&format!("{from:?} of a manifest"), code, words);
    }
}

#[test]
fn every_manifest_of_the_platforms_asked_for_must_be_as_asked() {
    let stage = Stage::default();
    let good = manifest(&stage, &json!({ "owner": "a" }), &json!({ "owner": "a" }));
    let bad = manifest(&stage, &json!({ "owner": "b" }), &json!({ "owner": "b" }));
    let old = json!({ "os": "linux", "architecture": here()["architecture"], "variant": "v1" });
    let odd = json!({ "os": "LINUX", "architecture": here()["architecture"] });
    let windows = json!({ "os": "windows", "architecture": here()["architecture"] });
    for (what, manifests, every, node) in [
        ("both good", vec![(&good, here()), (&good, elsewhere())], 0, 0),
        ("elsewhere bad", vec![(&good, here()), (&bad, elsewhere())], 1, 0),
        ("here bad", vec![(&bad, here()), (&good, elsewhere())], 1, 1),
        ("one of two here bad", vec![(&good, here()), (&bad, old)], 1, 1),
        ("spelt otherwise", vec![(&good, here()), (&bad, odd)], 1, 1),
        ("another system", vec![(&good, here()), (&bad, windows)], 1, 0),
        ("for no platform", vec![(&good, here()), (&bad, Value::Null)], 1, 1),
        ("none for here", vec![(&good, elsewhere())], 0, 1),
        ("beside attestations", vec![(&good, here()), (&bad, attestation())], 0, 0),
        ("attestations only", vec![(&good, attestation())], 1, 1),
        ("none at all", vec![], 1, 1),
        ("one of them twice", vec![(&good, here()), (&good, here())], 0, 0),
    ] {
        let manifests = manifests.into_iter().map(|(described, platform)| match platform {
            Value::Null => described.clone(),
            platform => listed(described.clone(), platform),
        });
        let pulled = index(&stage, &manifests.collect::<Vec<_>>(), &json!(null));
        for from in ["manifest", "labels"] {
            let rule = json!({ "annotation": "owner", "from": from, "equals": "a" });
            let words = |code| if code == 0 { "described" } else { "" };
            let verdict = ask(&stage, &pulled, &json!([rule]));
            verdict.expect(&format!("{what}, {from}, by default"), every, words(every));
            for (platforms, code) in [("every", every), ("node", node)] {
                let mut rule = rule.clone();
                rule["platforms"] = json!(platforms);
                let verdict = ask(&stage, &pulled, &json!([rule]));
                verdict.expect(&format!("{what}, {from}, {platforms}"), code, words(code));
            }
        }
    }
    let node = |described: &Value| {
        let rule =
            json!({ "annotation": "a", "from": "manifest", "platforms": "node", "present": true });
        ask(&stage, described, &json!([rule]))
    };
    let pulled = index(&stage, &[listed(good, elsewhere())], &json!(null));
    node(&pulled).expect("none for here", 1, "no manifest for this node: the index lists 1 others");
}

#[test]
fn asks_for_each_document_once_and_for_none_that_no_rule_needs() {
    let stage = Stage::default();
    let child = manifest(&stage, &json!({ "a": "1", "b": "1" }), &json!({ "a": "1", "b": "1" }));
    let pulled = index(
        &stage,
        &[listed(child.clone(), here()), listed(child.clone(), elsewhere())],
        &json!({ "a": "1", "b": "1" }),
    );
    let stored = stage.registry.manifest(REPOSITORY, child["digest"].as_str().unwrap()).unwrap();
    let stored: Value = serde_json::from_slice(&stored.bytes).unwrap();
    let [top, below, config] = [
        format!("manifests/{}", pulled["digest"].as_str().unwrap()),
        format!("manifests/{}", child["digest"].as_str().unwrap()),
        format!("blobs/{}", stored["config"]["digest"].as_str().unwrap()),
    ];
    for (from, expected) in [
        ("index", vec![&top]),
        ("manifest", vec![&top, &below]),
        ("labels", vec![&top, &below, &config]),
    ] {
        stage.registry.clear_requests();
        let rule = |name: &str| json!({ "annotation": name, "from": from, "equals": "1" });
        ask(&stage, &pulled, &json!([rule("a"), rule("b"), rule("a")])).expect(from, 0, "asks: a");
        let expected: Vec<_> =
            expected.iter().map(|path| format!("GET /v2/{REPOSITORY}/{path} 200")).collect();
        assert_eq!(stage.registry.request_lines(), expected);
    }
}

#[test]
fn the_level_decides_what_a_refusal_leads_to() {
    let stage = Stage::default();
    let pulled = manifest(&stage, &json!({ "owner": "b" }), &json!(null));
    let mut audit = asking(&stage, &json!([{ "annotation": "owner", "equals": "a" }]));
    audit["level"] = json!("audit");
    let would = "audit only, would refuse: ";
    let words = format!("{would}annotation \"owner\" of the manifest is \"b\"");
    let image = image(&stage, &pulled);
    stage.ask_annotations(&image, &audit).expect("audit", 0, &words);
    let outcome = stage.call_verifier("annotations-image-verifier", &image, &audit);
    for words in ["statement=owned", "requests=1", "audited_exit=1", "verdict=audit"] {
        assert!(outcome.stderr.contains(words), "{outcome:?}");
    }
    stage.registry.stop();
    let words = format!("{would}registry unreachable");
    stage.ask_annotations(&image, &audit).expect("audit of nothing", 0, &words);
    audit["level"] = json!("strict");
    stage.ask_annotations(&image, &audit).expect("down", 4, "registry unreachable");
    audit["level"] = json!("skip");
    stage.ask_annotations(&image, &audit).expect("skip with rules", 3, "yet lists what to check");
    audit.as_object_mut().unwrap().remove("rules");
    stage.ask_annotations(&image, &audit).expect("skip", 0, "not checked: statement \"owned\"");
    audit["level"] = json!("strict");
    stage.ask_annotations(&image, &audit).expect("no rules", 3, "has no rules");
}

#[test]
fn a_policy_that_does_not_speak_of_the_image_or_not_plainly_refuses() {
    let stage = Stage::default();
    let pulled = manifest(&stage, &json!({ "a": "a)" }), &json!(null));
    let rules = json!([{ "annotation": "a", "present": true }]);
    let mut elsewhere = asking(&stage, &rules);
    elsewhere["registryScopes"] = json!(["other.example/**"]);
    let image = image(&stage, &pulled);
    stage.ask_annotations(&image, &elsewhere).expect("no statement", 1, "no statement for ");
    for (rule, words) in [
        (json!({ "annotation": "a" }), "rules[0] of statement \"owned\": has no matcher"),
        (json!({ "annotation": "a", "matches": "a)|(?:b" }), "matches is not a regular expression"),
        (json!({ "annotation": "a", "matches": "(a{9}){9999}" }), "matches is not a regular"),
        (json!({ "annotation": "a", "present": true, "note": "x" }), "unknown field `note`"),
        (json!({ "annotation": "a\n\u{202e}", "maxAge": "x\ny" }), "is no maxAge"),
    ] {
        let statement = asking(&stage, &json!([rule]));
        stage.ask_annotations(&image, &statement).expect(&rule.to_string(), 3, words);
    }
    assert_eq!(stage.registry.connections(), 0);
}
