//! The attacker adds more than the gate looks at. What is not looked at is never called untrusted:
//! the reason is the limit, so that an operator finds the flood.

use std::collections::HashMap;
use std::iter;
use std::sync::Mutex;

use civ_embedded_registry::{Action, Fault, Registry, Response};
use civ_oci::Digest;
use civ_tests::bundling::{SIGNATURE_ARTIFACT, signature_artifact, signed_bundle, statement};
use civ_tests::image;
use civ_tests::signing::{Key, Kind, Layer, signature_manifest};
use civ_tests::stage::{Stage, Verdict};
use serde_json::json;

use crate::{ATTACKER, INVALID, RELEASE, trusting, trusting_with};

/// Signatures over the one payload that is there already, none of them good.
fn junk(stage: &Stage, count: usize) -> impl Iterator<Item = Layer> {
    iter::repeat_n(Layer::new(stage.payload(), b"junk"), count)
}

/// Signatures over as many payloads.
fn scattered_junk(count: usize) -> impl Iterator<Item = Layer> {
    (0..count).map(|number| Layer::signed(&ATTACKER, format!("junk {number}")))
}

#[test]
fn the_hundred_newest_signatures_are_looked_at() {
    let stage = Stage::default();
    let good = || iter::once(stage.honest(&RELEASE));
    let limit = "limit reached: 100 signatures do not suffice, and 1 more were not looked at";
    let cases: [(&str, Vec<Layer>, i32, &str); 5] = [
        ("newest of 101", junk(&stage, 100).chain(good()).collect(), 0, "signed by"),
        ("oldest of 100", good().chain(junk(&stage, 99)).collect(), 0, "signed by"),
        ("oldest of 101", good().chain(junk(&stage, 100)).collect(), 1, limit),
        (
            "second of 101",
            junk(&stage, 1).chain(good()).chain(junk(&stage, 99)).collect(),
            0,
            "signed by",
        ),
        ("none of 100", junk(&stage, 100).collect(), 1, INVALID),
    ];
    for (what, layers, code, words) in cases {
        stage.publish(&layers);
        stage.ask(&trusting(&stage)).expect(what, code, words);
    }
}

#[test]
fn what_is_no_signature_does_not_use_up_the_limit() {
    let stage = Stage::default();
    let odd = stage.honest(&RELEASE).with_signature_text("*");
    let layers: Vec<_> =
        iter::once(stage.honest(&RELEASE)).chain(iter::repeat_n(odd, 500)).collect();
    stage.publish(&layers);
    stage.ask(&trusting(&stage)).expect("behind 500 odd layers", 0, "signed by");
}

#[test]
fn a_flood_of_ten_thousand_signatures_ends_in_the_limit() {
    let stage = Stage::default();
    let layers: Vec<_> = iter::once(stage.honest(&RELEASE)).chain(junk(&stage, 9_999)).collect();
    stage.publish(&layers[..1]);
    let manifest = signature_manifest(&layers).to_string();
    assert!(manifest.len() < 4 << 20);
    stage.publish_bytes(&stage.image, image::MANIFEST, manifest);
    stage.ask(&trusting(&stage)).expect(
        "flood",
        1,
        "limit reached: 100 signatures do not suffice, and 9900 more",
    );
}

#[test]
fn sixteen_payloads_are_fetched_and_no_more() {
    let stage = Stage::default();
    let good = || iter::once(stage.honest(&RELEASE));
    let inline = |count| scattered_junk(count).map(Layer::inline);
    let limit = "limit reached: 16 signatures do not suffice, and 1 more were not looked at";
    let cases: [(&str, Vec<Layer>, i32, &str); 5] = [
        ("the sixteenth", good().chain(scattered_junk(15)).collect(), 0, "signed by"),
        ("the seventeenth", good().chain(scattered_junk(16)).collect(), 1, limit),
        ("none of seventeen", scattered_junk(17).collect(), 1, limit),
        ("none of sixteen", scattered_junk(16).collect(), 1, INVALID),
        ("behind 90 inline", good().chain(inline(90)).collect(), 0, "signed by"),
    ];
    for (what, layers, code, words) in cases {
        stage.publish(&layers);
        stage.registry.clear_requests();
        stage.ask(&trusting(&stage)).expect(what, code, words);
        // The tag, the payloads, and two where there might be referrers.
        assert!(stage.registry.requests().len() <= 19, "{:?}", stage.registry.request_lines());
    }
}

#[test]
fn each_of_twelve_stages_that_signed_is_found_in_either_format() {
    let annotated = |stage: &Stage, number: usize| {
        trusting_with(stage, "annotations", json!({ "stage": number.to_string() }))
    };
    let stages = || (0..12).map(|number| format!(r#"{{"stage":"{number}"}}"#));

    let tagged = Stage::default();
    let sign = |optional: String| Layer::signed(&RELEASE, tagged.payload_with(&optional));
    tagged.publish(&stages().map(sign).collect::<Vec<_>>());

    let bundled = Stage::default();
    for annotations in stages() {
        let text = statement(&bundled.image.digest, &annotations);
        bundled.attach(&signed_bundle(&RELEASE, &text));
    }
    for stage in [tagged, bundled] {
        for number in 0..12 {
            let what = format!("stage {number}");
            stage.ask(&annotated(&stage, number)).expect(&what, 0, "signed by");
        }
        let missing = "annotation differs: signature has \"stage\"";
        stage.ask(&annotated(&stage, 12)).expect("a stage that has not signed", 1, missing);
    }
}

/// Every address is `hops` redirects away from itself.
fn redirecting(hops: u32) -> Fault {
    let seen = Mutex::new(HashMap::<String, u32>::new());
    let to_itself =
        Action::edit(|request, _| Response::new(307).with_header("Location", request.target()));
    Fault::new(to_itself).when(move |request| {
        let mut seen = seen.lock().unwrap();
        let times = seen.entry(request.target()).or_default();
        *times += 1;
        *times <= hops
    })
}

#[test]
fn a_flood_in_one_place_hides_nothing_in_the_other_however_far_away_it_is_kept() {
    let paged = || Stage::open(Registry::builder().page_size(10).start().unwrap());
    let text = |stage: &Stage| statement(&stage.image.digest, "{}");
    let junk_bundles = |stage: &Stage, count: usize| {
        for number in 0..count {
            let text = statement(&stage.image.digest, &format!(r#"{{"n":"{number}"}}"#));
            stage.attach(&signed_bundle(&ATTACKER, &text));
        }
    };
    for hops in [0, 1, 3] {
        // Behind a full tag, the last of all bundles that are looked at.
        let stage = paged();
        stage.publish(&scattered_junk(100).collect::<Vec<_>>());
        stage.attach(&signed_bundle(&RELEASE, &text(&stage)));
        junk_bundles(&stage, 15);
        stage.registry.fault(redirecting(hops));
        let statement = trusting(&stage);
        let verdict = Verdict::of(&stage.call(&statement)).unwrap();
        verdict.expect(&format!("a bundle, {hops} hops"), 0, "signed by");

        let stage = paged();
        stage.publish(
            &iter::once(stage.honest(&RELEASE)).chain(scattered_junk(15)).collect::<Vec<_>>(),
        );
        junk_bundles(&stage, 100);
        stage.registry.fault(redirecting(hops));
        let verdict = Verdict::of(&stage.call(&trusting(&stage))).unwrap();
        verdict.expect(&format!("a payload, {hops} hops"), 0, "signed by");
    }
}

#[test]
fn requests_that_run_out_are_a_limit_and_no_fault_of_the_registrys() {
    let stage = Stage::open(Registry::builder().page_size(10).start().unwrap());
    stage.publish(&scattered_junk(100).collect::<Vec<_>>());
    for number in 0..30 {
        let text = statement(&stage.image.digest, &format!(r#"{{"n":"{number}"}}"#));
        stage.attach(&signed_bundle(&ATTACKER, &text));
    }
    // All that is asked for, three redirects away, takes every request; a repetition is one more.
    let at_the_end = Fault::new(Action::status(503)).path_contains("/blobs/").nth(4);
    stage.registry.fault(at_the_end);
    stage.registry.fault(redirecting(3));
    let verdict = Verdict::of(&stage.call(&trusting(&stage))).unwrap();
    verdict.expect("everything", 1, "limit reached: blob ");
    verdict.expect("everything", 1, "would take more than 208 requests");
    assert_eq!(stage.registry.requests().len(), 208);
}

#[test]
fn an_image_of_signatures_among_referrers_takes_no_blob_of_a_bundle() {
    let stage = Stage::default();
    stage.attach(&signed_bundle(&RELEASE, &statement(&stage.image.digest, "{}")));
    for number in 0..15 {
        let layers: Vec<_> = scattered_junk(20).chain(scattered_junk(number)).collect();
        for layer in &layers {
            stage.registry.put_blob("team/app", layer.payload.clone());
        }
        let mut manifest = signature_artifact(&stage.subject(), &layers);
        manifest["artifactType"] = json!(SIGNATURE_ARTIFACT);
        stage.attach_manifest(&manifest);
    }
    stage.ask(&trusting(&stage)).expect("fifteen of them", 0, "signed by");
}

#[test]
fn costly_keys_do_not_use_up_the_time() {
    let stage = Stage::default();
    let names = ["a", "b", "c"];
    for kind in [Kind::Rsa2048, Kind::P521] {
        let keys = names.map(|_| Key::generate(kind));
        let keys: Vec<_> = names.into_iter().zip(&keys).collect();
        let good = Layer::signed(keys[2].1, stage.payload());
        // Of the right form, so that it is worked on to the end.
        let wrong = Layer::signed(&Key::generate(kind), stage.payload());
        let layers: Vec<_> = iter::once(good).chain(iter::repeat_n(wrong, 24)).collect();
        stage.publish(&layers);
        let verdict = Verdict::of(&stage.call(&stage.statement(&keys))).unwrap();
        verdict.expect(&format!("the oldest of 25, {kind:?}"), 0, "signed by \"c\"");
    }
}

#[test]
fn payloads_have_at_most_64_kib() {
    let stage = Stage::default();
    let padded =
        |size: usize| format!("{}{}", stage.payload(), " ".repeat(size - stage.payload().len()));
    let signed = |size| Layer::signed(&RELEASE, padded(size));
    let limit = 64 << 10;
    let larger = "limit reached: payload of 65537 bytes is larger than 65536";
    let understated = "limit reached: blob";
    for (what, layer, code, words) in [
        ("as large as may be", signed(limit), 0, "signed by"),
        ("as large as may be, inline", signed(limit).inline(), 0, "signed by"),
        ("one byte more", signed(limit + 1), 1, larger),
        ("one byte more, inline", signed(limit + 1).inline(), 1, larger),
        ("one byte more, understated", signed(limit + 1).with("/size", 100), 4, understated),
        (
            "overstated",
            signed(300).with("/size", i64::MAX),
            1,
            "limit reached: payload of 9223372036854775807",
        ),
    ] {
        stage.publish(&[layer]);
        stage.ask(&trusting(&stage)).expect(what, code, words);
    }
}

#[test]
fn a_payload_that_could_not_be_read_is_not_called_untrusted() {
    let stage = Stage::default();
    let nowhere = Digest::sha256(b"nowhere").to_string();
    let lost = stage.honest(&RELEASE).with("/digest", nowhere);
    stage.publish(&[lost.clone(), stage.honest(&ATTACKER)]);
    stage.ask(&trusting(&stage)).expect("lost", 4, "registry answered 404");
    stage.publish(&[lost, stage.honest(&RELEASE)]);
    stage.ask(&trusting(&stage)).expect("lost beside a good one", 0, "signed by");
    let honest = stage.honest(&RELEASE);
    let digest: Digest = honest.descriptor["digest"].as_str().unwrap().parse().unwrap();
    stage.publish(&[honest]);
    assert!(stage.registry.tamper("team/app", &digest, stage.payload_with("{}")));
    stage.ask(&trusting(&stage)).expect("replaced", 4, "registry sent other content");
}
