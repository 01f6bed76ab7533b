//! What a `.sig` image must be for the gate to allow a pull, told by the attacks on it. The
//! executable answers each, as containerd would call it, and the library must say the same.
//!
//! | module | what the attacker has |
//! |---|---|
//! | this one | the registry: nothing signed, something else in the slot, another image |
//! | [`bundles`] | bundles attached to the image |
//! | [`claims`] | a real signature that is about something else |
//! | [`keys`] | keys of other kinds, too few keys, one key twice |
//! | [`limits`] | patience: floods and large payloads |
//! | [`places`] | everything around a good signature |
//! | [`tampering`] | bytes that look like a signature |

#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod bundles;
mod claims;
mod keys;
mod limits;
mod places;
mod tampering;

use std::sync::LazyLock;

use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use civ_tests::image;
use civ_tests::signing::{Key, Kind, Layer, payload, signature_manifest};
use civ_tests::stage::Stage;
use serde_json::{Value, json};

/// The key that policies trust.
static RELEASE: LazyLock<Key> = LazyLock::new(|| Key::generate(Kind::P256));
/// A key that nobody trusts.
static ATTACKER: LazyLock<Key> = LazyLock::new(|| Key::generate(Kind::P256));

const UNREADABLE: &str = "signatures unreadable";
const INVALID: &str = "signature invalid: not made by \"release\"";

/// The statement that trusts the release key.
fn trusting(stage: &Stage) -> Value {
    stage.statement(&[("release", &RELEASE)])
}

/// The same with one more field.
fn trusting_with(stage: &Stage, field: &str, value: Value) -> Value {
    let mut statement = trusting(stage);
    statement[field] = value;
    statement
}

#[test]
fn allows_what_a_trusted_key_of_each_kind_signed() {
    let stage = Stage::default();
    for kind in [
        Kind::P256,
        Kind::P384,
        Kind::P384Sha256,
        Kind::P521,
        Kind::P521Sha256,
        Kind::Ed25519,
        Kind::Rsa2048,
        Kind::Rsa2048Pss,
        Kind::Rsa3072PssSha512,
    ] {
        let key = Key::generate(kind);
        let statement = stage.statement(&[("release", &key)]);
        for layer in [stage.honest(&key), stage.honest(&key).inline()] {
            stage.publish(&[layer]);
            let words = "signed by \"release\" as statement \"production\" asks";
            stage.ask(&statement).expect(&format!("{kind:?}"), 0, words);
        }
    }
}

#[test]
fn refuses_an_image_without_signatures() {
    let stage = Stage::default();
    let words = format!("unsigned: no signature for {}", stage.image.digest);
    stage.ask(&trusting(&stage)).expect("no tag", 1, &words);
    stage.publish(&[]);
    stage.ask(&trusting(&stage)).expect("no layers", 1, &words);
}

#[test]
fn asks_for_the_signatures_once_and_never_for_the_tag_that_is_pulled() {
    let stage = Stage::default();
    let tag = format!("/v2/team/app/manifests/sha256-{}.sig", stage.image.digest.hex());
    let layer = stage.honest(&RELEASE);
    let blob = format!("/v2/team/app/blobs/{}", layer.descriptor["digest"].as_str().unwrap());
    for (layer, expected) in [(layer.clone().inline(), vec![&tag]), (layer, vec![&tag, &blob])] {
        stage.publish(&[layer]);
        stage.registry.clear_requests();
        stage.ask(&trusting(&stage)).expect("signed", 0, "signed by");
        let expected: Vec<_> = expected.iter().map(|path| format!("GET {path} 200")).collect();
        assert_eq!(stage.registry.request_lines(), expected);
    }
}

#[test]
fn refuses_something_else_in_the_place_of_signatures() {
    let stage = Stage::default();
    let layers = [stage.honest(&RELEASE).inline()];
    let good = signature_manifest(&layers);
    let changed = |path: &str, value: Value| {
        let mut manifest = good.clone();
        manifest[path] = value;
        manifest.to_string()
    };
    let ordinary = SmallImage::new("other", "linux/amd64").manifest();
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let good_text = good.to_string();
    let with_parameter = format!("{}; charset=utf-8", image::MANIFEST);
    let untyped = {
        let mut manifest = good.clone();
        manifest.as_object_mut().unwrap().remove("mediaType");
        manifest.to_string()
    };
    for (what, media_type, body, code, words) in [
        ("signatures", image::MANIFEST, good_text.clone(), 0, "signed by"),
        ("a parameter", &with_parameter, good_text.clone(), 0, "signed by"),
        ("signatures of Docker's type", docker, untyped.clone(), 0, "signed by"),
        ("an ordinary image", image::MANIFEST, String::from_utf8(ordinary).unwrap(), 1, "unsigned"),
        (
            "an index",
            image::INDEX,
            String::from_utf8(SmallIndex::new("i").index()).unwrap(),
            1,
            UNREADABLE,
        ),
        ("signatures called an index", image::INDEX, untyped.clone(), 1, UNREADABLE),
        ("signatures called JSON", "application/json", untyped.clone(), 1, UNREADABLE),
        ("signatures without a type", "", untyped, 1, UNREADABLE),
        ("another type inside", docker, good_text.clone(), 1, UNREADABLE),
        (
            "both an index and an image",
            image::MANIFEST,
            changed("manifests", json!([])),
            1,
            UNREADABLE,
        ),
        ("schema 1", image::MANIFEST, changed("schemaVersion", json!(1)), 1, UNREADABLE),
        ("schema \"2\"", image::MANIFEST, changed("schemaVersion", json!("2")), 1, UNREADABLE),
        ("layers in an object", image::MANIFEST, changed("layers", json!({})), 1, UNREADABLE),
        ("no layers", image::MANIFEST, changed("layers", Value::Null), 1, UNREADABLE),
        ("HTML", "text/html", "<!DOCTYPE html><p>Sign in".to_owned(), 1, UNREADABLE),
        ("HTML called a manifest", image::MANIFEST, "<!DOCTYPE html>".to_owned(), 1, UNREADABLE),
        ("nothing", image::MANIFEST, String::new(), 1, UNREADABLE),
        ("null", image::MANIFEST, "null".to_owned(), 1, UNREADABLE),
        ("a manifest twice", image::MANIFEST, good_text.repeat(2), 1, UNREADABLE),
        (
            "layers twice",
            image::MANIFEST,
            good_text.replacen('{', "{\"layers\":[],", 1),
            1,
            UNREADABLE,
        ),
        (
            "a nest too deep",
            image::MANIFEST,
            changed(
                "x",
                serde_json::from_str(&format!("{}{}", "[".repeat(40), "]".repeat(40))).unwrap(),
            ),
            1,
            UNREADABLE,
        ),
    ] {
        stage.publish_bytes(&stage.image, media_type, body);
        stage.ask(&trusting(&stage)).expect(what, code, words);
    }
}

#[test]
fn a_signature_of_an_index_is_none_of_its_children_and_the_other_way_round() {
    let stage = Stage::default();
    let index = SmallIndex::new("multi");
    let repository = stage.repository("team/app");
    let top = repository.image(index.seed_into(&stage.registry, "team/app", "multi"));
    let child = repository.image(index.children()[0].digest());
    let signed = |digest| Layer::signed(&RELEASE, payload(&repository.to_string(), digest, "null"));

    stage.publish_for(&top, &[signed(&top.digest)]);
    stage.ask_about(&top, &trusting(&stage)).expect("index signed, index pulled", 0, "signed by");
    stage.ask_about(&child, &trusting(&stage)).expect("index signed, child pulled", 1, "unsigned");
    stage.publish_for(&child, &[signed(&top.digest)]);
    stage.ask_about(&child, &trusting(&stage)).expect("signature copied", 1, "another digest");

    stage.publish_for(&top, &[signed(&child.digest)]);
    stage.publish_for(&child, &[signed(&child.digest)]);
    stage.ask_about(&child, &trusting(&stage)).expect("child signed, child pulled", 0, "signed by");
    stage.ask_about(&top, &trusting(&stage)).expect(
        "child signed, index pulled",
        1,
        "another digest",
    );
}

#[test]
fn audit_allows_and_says_what_it_would_have_refused() {
    let stage = Stage::default();
    let audit = trusting_with(&stage, "signatureVerification", json!({ "level": "audit" }));
    let outcome = stage.call(&audit);
    assert!(outcome.stdout.starts_with("audit only, would refuse: unsigned: "), "{outcome:?}");
    assert!(outcome.stderr.contains("verdict=audit"), "{outcome:?}");
    assert!(outcome.stderr.contains("audited_exit=1"), "{outcome:?}");
    stage.ask(&audit).expect("unsigned", 0, "audit only, would refuse: unsigned");
    stage.publish(&[stage.honest(&ATTACKER)]);
    stage.ask(&audit).expect("an attacker's", 0, &format!("audit only, would refuse: {INVALID}"));
    stage.publish(&[stage.honest(&RELEASE)]);
    stage.ask(&audit).expect("signed", 0, "signed by \"release\"");
    stage.registry.stop();
    stage.ask(&audit).expect("down", 0, "audit only, would refuse: registry unreachable");
    let broken = trusting_with(&stage, "keys", json!([{ "name": "release", "publicKey": "" }]));
    stage.ask(&broken).expect("a broken policy has no level", 3, "not a public key");
}

#[test]
fn skip_allows_without_a_single_connection() {
    let stage = Stage::default();
    let mut skip = trusting(&stage);
    skip["signatureVerification"]["level"] = json!("skip");
    stage.ask(&skip).expect("skip that lists keys", 3, "yet lists what to check");
    skip.as_object_mut().unwrap().remove("keys");
    stage.ask(&skip).expect("skip", 0, "not checked: statement \"production\" skips");
    assert_eq!(stage.registry.connections(), 0);
}

#[test]
fn signatures_kept_elsewhere_are_looked_for_only_there() {
    let stage = Stage::default();
    let elsewhere = stage.repository("signatures/all");
    let statement = trusting_with(&stage, "signatureRepository", json!(elsewhere.to_string()));
    stage.publish(&[stage.honest(&RELEASE)]);
    let words = format!("unsigned: no signature for {} in {elsewhere}", stage.image.digest);
    stage.ask(&statement).expect("only beside the image", 1, &words);
    let there = elsewhere.image(stage.image.digest.clone());
    stage.publish_for(&there, &[stage.honest(&RELEASE)]);
    stage.registry.clear_requests();
    stage.ask(&statement).expect("there", 0, "signed by");
    assert_eq!(stage.registry.count_requests("GET", "/v2/team/app/"), 0);
    let about_there = payload(&elsewhere.to_string(), &stage.image.digest, "null");
    stage.publish_for(&there, &[Layer::signed(&RELEASE, about_there)]);
    stage.ask(&statement).expect("for that repository", 1, "another repository");
}
