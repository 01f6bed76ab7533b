//! The attacker holds the registry, or builds the image, and wants what it says to be misread.

use std::{iter, thread};

use civ_oci::Digest;
use civ_tests::image::{INDEX, MANIFEST};
use civ_tests::stage::{Stage, Verdict};
use serde_json::{Value, json};

use crate::{
    REPOSITORY, ask, asking, attestation, config, digest, elsewhere, here, image, index, listed,
    manifest, manifest_text, put,
};

fn owned_by(from: &str) -> Value {
    json!([{ "annotation": "owner", "from": from, "equals": "a" }])
}

#[test]
fn annotations_of_an_entry_in_the_index_do_not_count() {
    let stage = Stage::default();
    let bare = manifest(&stage, &json!(null), &json!(null));
    let mut entry = listed(bare, here());
    entry["annotations"] = json!({ "owner": "a" });
    entry["platform"]["annotations"] = json!({ "owner": "a" });
    let pulled = index(&stage, &[entry], &json!(null));
    let anywhere = json!([{ "annotation": "owner", "equals": "a" }]);
    for rules in [anywhere, owned_by("index"), owned_by("manifest"), owned_by("labels")] {
        ask(&stage, &pulled, &rules).expect("on the entry", 1, "\"owner\" missing from ");
    }
    let forbidden = json!([{ "annotation": "owner", "from": "index", "absent": true }]);
    ask(&stage, &pulled, &forbidden).expect("absent from the index itself", 0, "described");
}

#[test]
fn what_a_registry_sends_in_place_of_what_was_asked_for_does_not_count() {
    let stage = Stage::default();
    let label = json!({ "owner": "a" });
    let good = manifest(&stage, &label, &label);
    let text = stage.registry.manifest(REPOSITORY, good["digest"].as_str().unwrap()).unwrap();
    let bad = manifest(&stage, &json!(null), &json!(null));
    assert!(stage.registry.tamper(REPOSITORY, &digest(&bad), text.bytes.to_vec()));
    for (pulled, what) in [
        (bad.clone(), "the manifest"),
        (index(&stage, &[listed(bad, here())], &json!(null)), "a manifest of the index"),
    ] {
        let verdict = ask(&stage, &pulled, &owned_by("manifest"));
        verdict.expect(what, 4, "registry sent other content");
    }
    let configuration = config(&stage, "{}");
    let described = put(&stage, MANIFEST, manifest_text(&configuration, "{}"));
    let other = json!({ "config": { "Labels": label } }).to_string();
    assert!(stage.registry.tamper(REPOSITORY, &digest(&configuration), other));
    let verdict = ask(&stage, &described, &owned_by("labels"));
    verdict.expect("the configuration", 4, "registry sent other content");

    // The body says what it is, whatever the registry says.
    let pulled = index(&stage, &[listed(good, here())], &label);
    let stored = stage.registry.manifest(REPOSITORY, pulled["digest"].as_str().unwrap()).unwrap();
    stage.registry.put_manifest(REPOSITORY, None, MANIFEST, stored.bytes.to_vec());
    let verdict = ask(&stage, &pulled, &owned_by("manifest"));
    verdict.expect("an index called a manifest", 1, "states another media type");
}

#[test]
fn what_a_registry_does_not_have_is_the_registrys_failure() {
    let stage = Stage::default();
    let good = manifest(&stage, &json!({ "owner": "a" }), &json!({ "owner": "a" }));
    let pulled = index(&stage, &[listed(good.clone(), here())], &json!(null));
    let either = json!([{ "anyOf": [
        { "annotation": "other", "equals": "a" },
        { "annotation": "owner", "from": "labels", "equals": "a" },
    ] }]);
    ask(&stage, &pulled, &either).expect("complete", 0, "described");
    for blob in stage.registry.blobs(REPOSITORY) {
        assert!(stage.registry.delete(REPOSITORY, &blob));
    }
    // The label might have been what was asked for.
    ask(&stage, &pulled, &either).expect("no configuration", 4, "registry answered 404");
    assert!(stage.registry.delete(REPOSITORY, &digest(&good)));
    ask(&stage, &pulled, &owned_by("manifest")).expect("no manifest", 4, "registry has no ");
    assert!(stage.registry.delete(REPOSITORY, &digest(&pulled)));
    ask(&stage, &pulled, &owned_by("index")).expect("no index", 4, "registry has no ");
}

#[test]
fn a_document_that_two_readers_would_read_differently_is_not_read() {
    let stage = Stage::default();
    let empty = config(&stage, "{}");
    let text = |annotations: &str| manifest_text(&empty, annotations);
    for (what, document) in [
        ("one annotation twice", text(r#"{"owner":"b","owner":"a"}"#)),
        ("spelt otherwise", text(r#"{"owner":"b","own\u0065r":"a"}"#)),
        ("annotations twice", text(r#"{"owner":"b"},"annotations":{"owner":"a"}"#)),
        ("a list", text(r#"{"owner":["a"]}"#)),
        ("a number", text(r#"{"owner":"a","n":1}"#)),
        ("an index as well", text(r#"{"owner":"a"},"manifests":[]"#)),
        ("and more", text(r#"{"owner":"a"}"#) + "{}"),
        ("for Go other annotations", text(r#"{"owner":"a"},"Annotations":{"owner":"b"}"#)),
        ("for Go others yet", text(r#"{"owner":"a"},"annotation\u017f":null"#)),
        ("for Go another type", text(r#"{"owner":"a"},"MediaType":"x""#)),
        ("for Go an index as well", text(r#"{"owner":"a"},"Manifests":[]"#)),
    ] {
        let pulled = put(&stage, MANIFEST, document.clone());
        ask(&stage, &pulled, &owned_by("manifest")).expect(what, 1, "image unreadable: ");
        let pulled = index(&stage, &[listed(pulled, here())], &json!(null));
        ask(&stage, &pulled, &owned_by("manifest")).expect(what, 1, "unreadable: ");
    }
    for (what, document) in [
        ("one label twice", r#"{"config":{"Labels":{"owner":"b","owner":"a"}}}"#),
        ("labels twice", r#"{"config":{"Labels":{},"Labels":{"owner":"a"}}}"#),
        ("config twice", r#"{"config":{},"config":{"Labels":{"owner":"a"}}}"#),
        ("for Go other labels", r#"{"config":{"Labels":{"owner":"a"},"labels":{"owner":"b"}}}"#),
        ("for Go others yet", r#"{"config":{"Labels":{"owner":"a"},"Label\u017f":null}}"#),
        ("for Go another config", r#"{"config":{"Labels":{"owner":"a"}},"Config":{}}"#),
        ("a struct as an array", r#"{"config":[{"owner":"a"}]}"#),
        ("a list", r#"{"config":{"Labels":{"owner":["a"]}}}"#),
        ("and more", r#"{"config":{"Labels":{"owner":"a"}}}{}"#),
        ("not JSON", "<!DOCTYPE html>"),
        ("nothing", ""),
    ] {
        let configuration = config(&stage, document);
        let pulled = put(&stage, MANIFEST, manifest_text(&configuration, "null"));
        ask(&stage, &pulled, &owned_by("labels")).expect(what, 1, "configuration of the manifest");
    }
    for document in ["{}", r#"{"config":null}"#, r#"{"config":{"Labels":null}}"#] {
        let pulled = put(&stage, MANIFEST, manifest_text(&config(&stage, document), "null"));
        ask(&stage, &pulled, &owned_by("labels")).expect(document, 1, "label \"owner\" missing");
    }
}

/// containerd is written in Go, which reads `Manifests` as `manifests`: the last one counts. Found by
/// running what civ had not looked at.
#[test]
fn an_index_that_go_reads_differently_is_not_read() {
    let stage = Stage::default();
    let (yes, no) = (json!({ "owner": "a" }), json!({ "owner": "b" }));
    let good = listed(manifest(&stage, &yes, &yes), here());
    let bad = listed(manifest(&stage, &no, &no), here());
    let entry = |more: &str| good.to_string().replace(r#""size":"#, &format!(r#"{more},"size":"#));
    let platform = |more: &str| good.to_string().replace(r#""os":"#, &format!(r#"{more},"os":"#));
    let digest = format!(r#""Digest":{}"#, bad["digest"]);
    for (what, entries, more) in [
        ("as it should be", good.to_string(), String::new()),
        ("other manifests", good.to_string(), format!(r#","Manifests":[{bad}]"#)),
        ("with a long s", good.to_string(), format!(",\"manife\u{17f}ts\":[{bad}]")),
        ("escaped", good.to_string(), format!(r#","MANIFE\u017fTS":[{bad}]"#)),
        ("first", good.to_string(), format!(r#","Manifests":[{good}]"#)),
        ("another digest", format!("{good},{}", entry(&digest)), String::new()),
        ("another platform", entry(r#""PLATFORM":{"os":"x","architecture":"y"}"#), String::new()),
        ("another system", platform(r#""OS":"linux""#), String::new()),
        ("another variant", platform(r#""vaRiant":"v9""#), String::new()),
    ] {
        let is_plain = what == "as it should be";
        let document =
            format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{entries}]{more}}}"#);
        let pulled = put(&stage, INDEX, document);
        for from in ["manifest", "labels"] {
            let (code, words) = if is_plain { (0, "described") } else { (1, " by some") };
            ask(&stage, &pulled, &owned_by(from)).expect(what, code, words);
        }
    }
}

#[test]
fn an_index_within_the_index_is_not_looked_into() {
    let stage = Stage::default();
    let good = manifest(&stage, &json!({ "owner": "a" }), &json!(null));
    let inner = index(&stage, &[listed(good.clone(), here())], &json!({ "owner": "a" }));
    let mut disguised = listed(inner.clone(), here());
    disguised["mediaType"] = json!(MANIFEST);
    for (entry, words) in [
        (listed(inner, here()), "index within the index: manifest sha256:"),
        (disguised, "states another media type"),
    ] {
        let pulled = index(&stage, &[listed(good.clone(), here()), entry], &json!(null));
        ask(&stage, &pulled, &owned_by("manifest")).expect("nested", 1, words);
    }
}

#[test]
fn sixteen_manifests_are_looked_at_and_no_more() {
    let stage = Stage::default();
    let number = |n: usize| {
        let annotations = json!({ "owner": "a", "n": n.to_string() });
        listed(manifest(&stage, &annotations, &annotations), elsewhere())
    };
    let manifests: Vec<Value> = (0..17).map(number).collect();
    let words = "limit reached: the index lists 17 manifests to look at, more than 16";
    for (count, code, words) in [(16, 0, "described"), (17, 1, words)] {
        let pulled = index(&stage, &manifests[..count], &json!(null));
        stage.registry.clear_requests();
        for from in ["labels", "manifest"] {
            ask(&stage, &pulled, &owned_by(from)).expect(&format!("{count} {from}"), code, words);
        }
        assert!(stage.registry.requests().len() <= 33 + 17);
    }
    // However often one is listed, it is one.
    let flood: Vec<Value> = iter::repeat_n(manifests[0].clone(), 5_000).collect();
    let pulled = index(&stage, &flood, &json!(null));
    ask(&stage, &pulled, &owned_by("manifest")).expect("one of them, 5000 times", 0, "described");
}

fn padded(text: String, size: usize) -> String {
    let spaces = " ".repeat(size - text.len());
    text + &spaces
}

#[test]
fn documents_have_at_most_two_mebibytes() {
    const LIMIT: usize = 2 << 20;
    let stage = Stage::default();
    let label = json!({ "config": { "Labels": { "owner": "a" } } }).to_string();
    let empty = config(&stage, "{}");
    let text = manifest_text(&empty, r#"{"owner":"a"}"#);
    let limit = "has 2097153 bytes, more than 2097152";
    for (size, code, words) in [(LIMIT, 0, "described"), (LIMIT + 1, 1, limit)] {
        let pulled = put(&stage, MANIFEST, padded(text.clone(), size));
        ask(&stage, &pulled, &owned_by("manifest")).expect("manifest", code, words);
        let mut entry = listed(pulled, here());
        for understated in [false, true] {
            if understated {
                entry["size"] = json!(100);
            }
            let pulled = index(&stage, &[entry.clone()], &json!(null));
            ask(&stage, &pulled, &owned_by("manifest")).expect("in an index", code, words);
        }
    }
    let huge = put(&stage, MANIFEST, padded(text, (4 << 20) + 1));
    ask(&stage, &huge, &owned_by("manifest")).expect("more is not read", 4, "limit reached: ");
    let stated = format!("limit reached: configuration of the manifest {limit}");
    for (size, understated, code, words) in [
        (LIMIT, false, 0, "described"),
        (LIMIT + 1, false, 1, &*stated),
        (LIMIT + 1, true, 4, "limit reached: blob"),
    ] {
        let mut configuration = config(&stage, &padded(label.clone(), size));
        if understated {
            configuration["size"] = json!(100);
        }
        let pulled = put(&stage, MANIFEST, manifest_text(&configuration, "null"));
        ask(&stage, &pulled, &owned_by("labels")).expect("configuration", code, words);
    }
}

/// Each document may be as large as it is. Together they would take all memory there is for fifty
/// verifiers.
#[test]
fn documents_have_at_most_eight_mebibytes_together() {
    const SIZE: usize = (2 << 20) - 4096;
    let stage = Stage::default();
    let words = "the documents to look at have more than 8388608 bytes together";
    let entries: Vec<Value> = (0..5)
        .map(|n| {
            let label = json!({ "n": n, "config": { "Labels": { "owner": "a" } } }).to_string();
            let configuration = config(&stage, &padded(label, SIZE));
            let text = manifest_text(&configuration, r#"{"owner":"a"}"#);
            listed(put(&stage, MANIFEST, text), here())
        })
        .collect();
    for (count, code, words) in [(4, 0, "described"), (5, 1, words)] {
        let pulled = index(&stage, &entries[..count], &json!(null));
        ask(&stage, &pulled, &owned_by("manifest")).expect("small manifests", 0, "described");
        stage.registry.clear_requests();
        ask(&stage, &pulled, &owned_by("labels")).expect(&format!("{count}"), code, words);
        assert_eq!(stage.registry.count_requests("GET", "/blobs/"), 4, "{count}");
    }
}

#[test]
fn what_failed_is_not_asked_for_again() {
    let stage = Stage::default();
    let configuration = config(&stage, "not JSON");
    let malformed = put(&stage, MANIFEST, manifest_text(&configuration, "null"));
    let lost = json!({ "mediaType": "x/y", "size": 2, "digest": Digest::sha256(b"lost") });
    let missing = put(&stage, MANIFEST, manifest_text(&lost, "null"));
    let rule = |n: usize| json!({ "annotation": format!("a{n}"), "from": "labels", "equals": "" });
    let rules: Vec<Value> = (0..200).map(rule).collect();
    for (pulled, code, words) in [
        (missing, 4, "registry answered 404 for blob"),
        (malformed, 1, "none of 200 alternatives holds; the first: configuration of the manifest"),
    ] {
        stage.registry.clear_requests();
        ask(&stage, &pulled, &json!([{ "anyOf": rules }])).expect("either", code, words);
        assert_eq!(stage.registry.requests().len(), 2, "{:?}", stage.registry.request_lines());
    }
}

#[test]
fn what_an_index_lists_beside_images_is_named_and_not_asked_for() {
    let stage = Stage::default();
    let good = listed(manifest(&stage, &json!({ "owner": "a" }), &json!(null)), here());
    let other = "application/vnd.example.sbom+json";
    let sbom = json!({ "mediaType": other, "size": 3, "digest": Digest::sha256(b"sbom") });
    let words = format!("with media type \"{other}\"");
    for (entry, code, words) in [
        (sbom.clone(), 1, &*words),
        (listed(sbom.clone(), here()), 1, &words),
        (listed(sbom, attestation()), 0, "described"),
    ] {
        let pulled = index(&stage, &[good.clone(), entry], &json!(null));
        stage.registry.clear_requests();
        ask(&stage, &pulled, &owned_by("manifest")).expect("beside", code, words);
        assert_eq!(stage.registry.requests().len(), 2 - usize::try_from(code).unwrap());
    }
}

#[test]
fn what_may_not_be_said_is_looked_for_where_builders_say_it() {
    let stage = Stage::default();
    let secret = json!({ "do-not-run": "secret" });
    let pulled = index(&stage, &[listed(manifest(&stage, &secret, &secret), here())], &json!(null));
    let absent = |from: &str| json!([{ "annotation": "do-not-run", "from": from, "absent": true }]);
    for (from, code, words) in [
        ("manifest", 1, "annotation \"do-not-run\" is set in manifest sha256:"),
        ("labels", 1, "label \"do-not-run\" is set in manifest sha256:"),
        ("index", 0, "described"),
    ] {
        let verdict = ask(&stage, &pulled, &absent(from));
        verdict.expect(from, code, words);
        assert!(!verdict.reason.contains("secret"), "{verdict:?}");
    }
    let nowhere = json!([{ "annotation": "do-not-run", "absent": true }]);
    ask(&stage, &pulled, &nowhere).expect("nowhere", 3, "absent has no \"from\"");
}

/// A hundred expressions, each of which holds, but only after many looks at every byte of sixteen
/// values: more than a minute of work.
#[test]
fn what_takes_too_long_is_refused_unless_its_level_is_audit() {
    let stage = Stage::default();
    let value = "a".repeat(4096);
    let number = |n: usize| {
        let annotations = json!({ "x": value, "n": n.to_string() });
        listed(manifest(&stage, &annotations, &json!(null)), here())
    };
    let pulled = index(&stage, &(0..16).map(number).collect::<Vec<_>>(), &json!(null));
    let rule = json!({ "annotation": "x", "from": "manifest", "matches": "(?:a*){500}" });
    let statement = asking(&stage, &json!(vec![rule; 100]));
    let image = image(&stage, &pulled);
    let call = |level: &str, code: i32, words: &str, fields: &str| {
        let mut statement = statement.clone();
        statement["level"] = json!(level);
        let outcome = stage.call_verifier("annotations-image-verifier", &image, &statement);
        Verdict::of(&outcome).unwrap().expect(level, code, words);
        assert!(outcome.stderr.contains(fields), "{outcome:?}");
    };
    let late = "no verdict within 8 s";
    let audited = format!("audit only, would refuse: {late}");
    thread::scope(|scope| {
        scope.spawn(|| call("strict", 5, late, " verdict=refuse exit=5 "));
        scope.spawn(|| call("audit", 0, &audited, " audited_exit=5 verdict=audit exit=0 "));
    });
}

#[test]
fn a_value_made_to_take_forever_is_refused_at_once() {
    let stage = Stage::default();
    let matches = |pattern: &str| json!([{ "annotation": "x", "matches": pattern }]);
    for length in [4096, 4097, 1 << 20] {
        let value = format!("{}!", "a".repeat(length - 1));
        let pulled = manifest(&stage, &json!({ "x": value }), &json!(null));
        for pattern in ["(a+)+", "(a|a)*", "(.*a){20}", "(a?){40}a{40}"] {
            let verdict = ask(&stage, &pulled, &matches(pattern));
            let words = if length > 4096 { "limit reached: annotation \"x\"" } else { "aaa…" };
            verdict.expect(&format!("{pattern} {length}"), 1, words);
        }
    }
}

#[test]
fn text_of_the_image_stays_on_its_line_and_shows_what_is_invisible() {
    let stage = Stage::default();
    let rules = json!([{ "annotation": "owner", "equals": "a" }]);
    for (value, shown) in [
        ("b\nallowed\r\u{1b}[2J", r#"is "b\u{a}allowed\u{d}\u{1b}[2J""#),
        ("a\u{200b}", r#"is "a\u{200b}""#),
        ("a\u{3164}", r#"is "a\u{3164}""#),
        ("\u{a0}a", r#"is "\u{a0}a""#),
        ("\u{202e}a", r#"is "\u{202e}a""#),
        ("а", "is \"а\""),
        (r#"b"; statement "owned" asks for "b"#, r#"is "b\"; statement \"owned\" asks"#),
        (r"\u{200b}", r#"is "\\u{200b}""#),
    ] {
        let pulled = manifest(&stage, &json!({ "owner": value }), &json!(null));
        ask(&stage, &pulled, &rules).expect(&format!("{value:?}"), 1, shown);
    }
    let long = "\u{202e}é\"\\\n".repeat(300);
    let platform = json!({ "os": &long, "architecture": &long, "variant": &long });
    let bad = manifest(&stage, &json!({ "owner": &long }), &json!(null));
    let pulled = index(&stage, &[listed(bad, platform)], &json!(null));
    let rules =
        json!([{ "annotation": "owner", "from": "manifest", "oneOf": [&long, &long, "a"] }]);
    ask(&stage, &pulled, &rules).expect("long", 0, "described");
    let rules = json!([{ "annotation": "owner", "from": "manifest", "oneOf": ["a".repeat(999)] }]);
    ask(&stage, &pulled, &rules).expect("long", 1, "annotation \"owner\" of manifest sha256:");
    let nested = put(&stage, INDEX, "{}");
    let words = "image unreadable: manifest is malformed: line 1, column 2: missing field";
    ask(&stage, &nested, &rules).expect("nothing", 1, words);
}
