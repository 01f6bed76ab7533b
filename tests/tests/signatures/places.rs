//! A good signature in any place suffices, whatever the attacker puts beside it or in its way; and
//! what takes more than a verdict may cost ends in the limit.

use civ_embedded_registry::{Action, Fault, Registry, Response};
use civ_oci::Digest;
use civ_tests::bundling::{
    BUNDLE, SIGNATURE_ARTIFACT, bundle_manifest, descriptor, signature_artifact, signed_bundle,
    statement,
};
use civ_tests::image;
use civ_tests::signing::{Key, Kind, Layer, signature_manifest};
use civ_tests::stage::Stage;
use serde_json::json;

use crate::{ATTACKER, INVALID, RELEASE, trusting, trusting_with};

const PREDICATE: &str = "dev.sigstore.bundle.predicateType";

fn good_bundle(stage: &Stage) -> serde_json::Value {
    signed_bundle(&RELEASE, &statement(&stage.image.digest, "{}"))
}

fn without_api() -> Stage {
    Stage::open(Registry::builder().referrers(false).start().unwrap())
}

#[test]
fn one_request_for_a_signature_in_line_and_no_more_places_than_needed() {
    let stage = Stage::default();
    stage.attach(&good_bundle(&stage));
    let lines = |stage: &Stage| {
        stage.registry.clear_requests();
        stage.ask(&trusting(stage)).expect("signed", 0, "signed by");
        stage.registry.request_lines().len()
    };
    assert_eq!(lines(&stage), 4, "{:?}", stage.registry.request_lines());
    stage.publish(&[stage.honest(&RELEASE).inline()]);
    assert_eq!(lines(&stage), 1, "{:?}", stage.registry.request_lines());
}

#[test]
fn a_bundle_counts_whatever_is_wrong_with_the_signature_tag() {
    let stage = Stage::default();
    stage.attach(&good_bundle(&stage));
    let lost = stage.honest(&RELEASE).with("/digest", Digest::sha256(b"lost").to_string());
    let odd = stage.honest(&RELEASE).with_signature_text("*");
    for (what, layers) in [
        ("a forged one", vec![stage.honest(&ATTACKER)]),
        ("a lost payload", vec![lost]),
        ("an odd one", vec![odd]),
        ("a flood", vec![stage.honest(&ATTACKER).inline(); 300]),
        ("none", vec![]),
    ] {
        stage.publish(&layers);
        stage.ask(&trusting(&stage)).expect(what, 0, "signed by");
    }
    for (media_type, body) in [(image::INDEX, "{}"), ("text/html", "<p>"), (image::MANIFEST, "")] {
        stage.publish_bytes(&stage.image, media_type, body);
        stage.ask(&trusting(&stage)).expect(body, 0, "signed by");
    }
    for status in [403, 429, 500, 503] {
        let fault = Fault::new(Action::Answer(Response::new(status)));
        stage.registry.fault(fault.path_contains(".sig"));
        stage.ask(&trusting(&stage)).expect(&status.to_string(), 0, "signed by");
        stage.registry.clear_faults();
    }
}

#[test]
fn the_signature_tag_counts_whatever_is_attached() {
    for stage in [Stage::default(), without_api()] {
        stage.publish(&[stage.honest(&RELEASE)]);
        stage.attach(&signed_bundle(&ATTACKER, &statement(&stage.image.digest, "{}")));
        stage.attach(&json!("no bundle"));
        stage.ask(&trusting(&stage)).expect("beside odd ones", 0, "signed by");
    }
}

#[test]
fn signatures_attached_as_cosign_does_experimentally_count() {
    for stage in [Stage::default(), without_api()] {
        let honest = stage.honest(&RELEASE);
        stage.registry.put_blob("team/app", honest.payload.clone());
        let older = {
            let mut manifest = signature_artifact(&stage.subject(), std::slice::from_ref(&honest));
            manifest.as_object_mut().unwrap().remove("artifactType");
            manifest
        };
        let forged = signature_artifact(&stage.subject(), &[stage.honest(&ATTACKER).inline()]);
        let mut newer = signature_artifact(&stage.subject(), &[honest]);
        newer["artifactType"] = json!(SIGNATURE_ARTIFACT);
        stage.attach_manifest(&forged);
        stage.ask(&trusting(&stage)).expect("forged", 1, INVALID);
        stage.attach_manifest(&newer);
        stage.ask(&trusting(&stage)).expect("beside a forged one", 0, "signed by");
        if stage.registry.referrers("team/app", &stage.image.digest).is_some() {
            let digest = Digest::sha256(newer.to_string().as_bytes());
            stage.detach(&digest);
            stage.attach_manifest(&older);
            stage.ask(&trusting(&stage)).expect("typed by its config only", 0, "signed by");
        }
    }
}

#[test]
fn an_image_at_the_referrers_tag_is_no_list() {
    // `cosign copy` puts the image itself there.
    let stage = without_api();
    let tag = stage.image.digest.to_string().replace(':', "-");
    stage.registry.tag("team/app", &tag, &stage.image.digest);
    stage.ask(&trusting(&stage)).expect("nothing signed", 1, "unsigned: ");
    stage.publish(&[stage.honest(&RELEASE)]);
    stage.ask(&trusting(&stage)).expect("signed by tag", 0, "signed by");
}

#[test]
fn a_list_is_read_over_several_pages_and_not_without_end() {
    let paged = |size| Stage::open(Registry::builder().page_size(size).start().unwrap());
    let other = |stage: &Stage, number: u32| {
        let mut manifest = bundle_manifest(&stage.subject(), number.to_string().as_bytes());
        manifest["annotations"][PREDICATE] = json!("https://slsa.dev/provenance/v1");
        stage.attach_manifest(&manifest);
    };
    let stage = paged(4);
    (0..8).for_each(|number| other(&stage, number));
    stage.attach(&good_bundle(&stage));
    stage.ask(&trusting(&stage)).expect("on one of three pages", 0, "signed by");

    let stage = paged(1);
    (0..8).for_each(|number| other(&stage, number));
    let words = "has more than 3 pages, and no signature before suffices";
    stage.ask(&trusting(&stage)).expect("eight pages", 1, words);
}

#[test]
fn a_page_counts_whatever_is_wrong_with_the_next() {
    let index = |stage: &Stage| stage.registry.referrers("team/app", &stage.image.digest).unwrap();
    for (next, code, words) in [
        ("https://internal.example/v2/team/app/referrers/x?n=1", 4, "which is not followed"),
        ("?last=gone", 1, "are not listed as they should be"),
    ] {
        for signed in [true, false] {
            let stage = Stage::default();
            if signed {
                stage.attach(&good_bundle(&stage));
            }
            let first = Response::new(200)
                .with_header("Content-Type", image::INDEX)
                .with_header("Link", format!("<{next}>; rel=\"next\""))
                .with_body(index(&stage));
            let list = |action| Fault::new(action).path_contains("/referrers/");
            stage.registry.fault(list(Action::Answer(first)).first(1));
            stage.registry.fault(list(Action::Answer(Response::new(404))));
            let verdict = civ_tests::stage::Verdict::of(&stage.call(&trusting(&stage))).unwrap();
            let (code, words) = if signed { (0, "signed by") } else { (code, words) };
            verdict.expect(next, code, words);
        }
    }
}

#[test]
fn a_list_that_is_none_is_not_called_unsigned() {
    let stage = without_api();
    let tag = stage.image.digest.to_string().replace(':', "-");
    for body in [r#"{"manifests":[],"manifests":[]}"#, "{}", "[]"] {
        stage.registry.put_manifest("team/app", Some(&tag), image::INDEX, body);
        let words = "are not listed as they should be";
        stage.ask(&trusting(&stage)).expect(body, 1, words);
    }
    stage.publish(&[stage.honest(&RELEASE)]);
    stage.ask(&trusting(&stage)).expect("signed by tag", 0, "signed by");
}

#[test]
fn many_signers_and_many_builds_hide_nobody() {
    // The vendor's bundle is the oldest, others sign at every build.
    let stage = Stage::default();
    let text = statement(&stage.image.digest, "{}");
    for day in 1..=20 {
        let key = if day == 1 { &*RELEASE } else { &*ATTACKER };
        let bundle = signed_bundle(key, &text).to_string().into_bytes();
        stage.registry.put_blob("team/app", bundle.clone());
        let mut manifest = bundle_manifest(&stage.subject(), &bundle);
        manifest["annotations"]["org.opencontainers.image.created"] =
            json!(format!("2026-11-{day:02}T08:00:00Z"));
        stage.attach_manifest(&manifest);
    }
    stage.ask(&trusting(&stage)).expect("the oldest of twenty", 0, "signed by");
}

#[test]
fn a_flood_under_the_tag_hides_no_bundle() {
    let stage = Stage::default();
    let keys: Vec<_> = (0..6).map(|_| Key::generate(Kind::P256)).collect();
    let names: Vec<_> = (0..6).map(|number| format!("k{number}")).collect();
    let trusted: Vec<_> = names.iter().map(String::as_str).zip(&keys).collect();
    stage.publish(&vec![stage.honest(&ATTACKER).inline(); 100]);
    let limit = "limit reached: 83 signatures do not suffice, and 17 more were not looked at";
    stage.ask(&stage.statement(&trusted)).expect("100 checks of six keys", 1, limit);
    stage.attach(&signed_bundle(&keys[5], &statement(&stage.image.digest, "{}")));
    stage.ask(&stage.statement(&trusted)).expect("a bundle beside them", 0, "signed by");
}

#[test]
fn the_closest_is_named_even_where_a_limit_is_reached() {
    let stage = Stage::default();
    let asking = trusting_with(&stage, "annotations", json!({ "tested": "True" }));
    let layers: Vec<_> = std::iter::repeat_n(stage.honest(&ATTACKER).inline(), 100)
        .chain([stage.honest(&RELEASE).inline()])
        .collect();
    stage.publish(&layers);
    let verdict = stage.ask(&asking);
    verdict.expect("101", 1, "limit reached: 100 signatures do not suffice");
    verdict.expect("101", 1, "annotation missing: signature has no \"tested\"");
}

#[test]
fn a_next_page_elsewhere_is_not_followed() {
    let stage = Stage::default();
    let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/v2/team/app/referrers/x?n=1",
        "//evil.example/v2/",
        "/v2/other/referrers/x?last=1",
        "/v2/team/app/manifests/1?",
    ] {
        let answer = Response::new(200)
            .with_header("Content-Type", image::INDEX)
            .with_header("Link", format!("<{target}>; rel=\"next\""))
            .with_body(index.clone().into());
        stage.registry.fault(Fault::new(Action::Answer(answer)).path_contains("/referrers/"));
        let verdict = civ_tests::stage::Verdict::of(&stage.call(&trusting(&stage))).unwrap();
        verdict.expect(target, 4, "which is not followed");
        stage.registry.clear_faults();
    }
}

#[test]
fn attestations_that_say_what_they_are_cost_nothing() {
    let stage = Stage::default();
    for number in 0..50 {
        let mut manifest = bundle_manifest(&stage.subject(), number.to_string().as_bytes());
        manifest["annotations"][PREDICATE] = json!("https://slsa.dev/provenance/v1");
        stage.attach_manifest(&manifest);
    }
    stage.registry.clear_requests();
    stage.ask(&trusting(&stage)).expect("unsigned", 1, "unsigned: ");
    assert_eq!(stage.registry.requests().len(), 2);
    stage.attach(&good_bundle(&stage));
    stage.ask(&trusting(&stage)).expect("signed among them", 0, "signed by");
}

#[test]
fn a_flood_of_bundles_ends_in_the_limit_and_within_the_requests() {
    // CVE-2023-46737, CVE-2024-29902: what the registry lists must not decide what a verdict costs.
    for count in [17, 300] {
        let stage = Stage::default();
        for number in 0..count {
            let bundle = number.to_string().into_bytes();
            stage.registry.put_blob("team/app", bundle.clone());
            stage.attach_manifest(&bundle_manifest(&stage.subject(), &bundle));
        }
        stage.registry.clear_requests();
        stage.ask(&trusting(&stage)).expect("flood", 1, "limit reached");
        // The tag, the list, and sixteen bundles with their manifests.
        assert_eq!(stage.registry.requests().len(), 2 + 16 * 2);
        stage.publish(&[stage.honest(&RELEASE)]);
        stage.ask(&trusting(&stage)).expect("beside a good one", 0, "signed by");
    }
}

#[test]
fn a_bundle_larger_than_any_is_not_read() {
    let stage = Stage::default();
    let good = good_bundle(&stage).to_string();
    for (what, size, stated, code, words) in [
        ("a mebibyte", 1 << 20, None, 0, "signed by"),
        ("one byte more", (1 << 20) + 1, None, 1, "limit reached: bundle of 1048577 bytes"),
        ("understated", (1 << 20) + 1, Some(100), 4, "limit reached: blob"),
    ] {
        let padded = format!("{good}{}", " ".repeat(size - good.len())).into_bytes();
        stage.registry.put_blob("team/app", padded.clone());
        let mut manifest = bundle_manifest(&stage.subject(), &padded);
        if let Some(stated) = stated {
            manifest["layers"][0]["size"] = json!(stated);
        }
        let attached = stage.attach_manifest(&manifest);
        stage.ask(&trusting(&stage)).expect(what, code, words);
        stage.detach(&attached);
    }
}

#[test]
fn a_referrer_holds_one_bundle_or_it_is_none() {
    let stage = Stage::default();
    let good = good_bundle(&stage).to_string().into_bytes();
    stage.registry.put_blob("team/app", good.clone());
    let layer = descriptor(BUNDLE, &good);
    for (what, layers) in [
        ("two bundles", json!([layer, layer])),
        ("another type", json!([descriptor("application/json", &good)])),
        ("none", json!([])),
    ] {
        let mut manifest = bundle_manifest(&stage.subject(), &good);
        manifest["layers"] = layers;
        let attached = stage.attach_manifest(&manifest);
        stage.ask(&trusting(&stage)).expect(what, 1, "unsigned: ");
        stage.detach(&attached);
    }
}

#[test]
fn a_referrer_is_what_its_digest_says_it_is() {
    let stage = Stage::default();
    let forged = stage.attach(&signed_bundle(&ATTACKER, &statement(&stage.image.digest, "{}")));
    let good = good_bundle(&stage).to_string().into_bytes();
    stage.registry.put_blob("team/app", good.clone());
    let replaced = bundle_manifest(&stage.subject(), &good).to_string();
    assert!(stage.registry.tamper("team/app", &forged, replaced));
    let verdict = civ_tests::stage::Verdict::of(&stage.call(&trusting(&stage))).unwrap();
    verdict.expect("other bytes", 4, "registry sent other content");
}

#[test]
fn keys_that_signed_in_different_places_add_up_to_a_threshold() {
    let stage = Stage::default();
    let mut statement_of_two = stage.statement(&[("a", &RELEASE), ("b", &ATTACKER)]);
    statement_of_two["threshold"] = json!(2);
    let text = statement(&stage.image.digest, "{}");
    stage.publish(&[stage.honest(&RELEASE), stage.honest(&RELEASE).inline()]);
    let first = stage.attach(&signed_bundle(&RELEASE, &text));
    stage.ask(&statement_of_two).expect("one key three times", 1, "signed by 1 of 2 keys");
    stage.attach(&signed_bundle(&ATTACKER, &text));
    stage.ask(&statement_of_two).expect("both", 0, "signed by \"a, b\"");
    stage.detach(&first);
    stage.ask(&statement_of_two).expect("tag and referrer", 0, "signed by \"a, b\"");
}

#[test]
fn a_key_counts_only_while_it_is_valid() {
    let stage = Stage::default();
    stage.publish(&[stage.honest(&RELEASE)]);
    let key = |field: &str, time: &str| {
        let pem = RELEASE.public_pem();
        json!([{ "name": "release", "publicKey": pem, field: time }])
    };
    for (field, time, code, words) in [
        ("validBefore", "2999-01-01T00:00:00Z", 0, "signed by"),
        ("validAfter", "2020-01-01T00:00:00Z", 0, "signed by"),
        ("validBefore", "2020-01-01T00:00:00Z", 1, "is valid until 2020-01-01T00:00:00Z"),
        ("validAfter", "2999-01-01T00:00:00Z", 1, "is valid from 2999-01-01T00:00:00Z"),
    ] {
        let statement = trusting_with(&stage, "keys", key(field, time));
        stage.ask(&statement).expect(&format!("{field} {time}"), code, words);
    }
}

#[test]
fn signature_manifests_of_several_signers_are_read_from_the_newest() {
    let stage = Stage::default();
    let layers: Vec<_> = std::iter::once(stage.honest(&RELEASE))
        .chain((0..20).map(|number| Layer::signed(&ATTACKER, format!("{number}")).inline()))
        .collect();
    stage.publish(&layers);
    assert_eq!(signature_manifest(&layers)["layers"].as_array().unwrap().len(), 21);
    stage.ask(&trusting(&stage)).expect("the oldest of 21", 0, "signed by");
}
