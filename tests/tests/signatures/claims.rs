//! The attacker has a real signature of the trusted key, about something else. Or the signer has
//! signed what two readers would read differently.

use civ_oci::Digest;
use civ_tests::signing::{Layer, TYPE, payload};
use civ_tests::stage::Stage;
use serde_json::{Value, json};

use crate::{ATTACKER, INVALID, RELEASE, trusting, trusting_with};

const MALFORMED: &str = "signed payload is malformed";

#[test]
fn refuses_a_signature_about_something_else() {
    let stage = Stage::default();
    let own = stage.image.repository.to_string();
    let host = stage.registry.host();
    let digest = &stage.image.digest;
    let other = Digest::sha256(b"other");
    let good = stage.payload();
    let reference = |text: &str| payload(text, digest, "null");
    for (what, text, code, words) in [
        ("this image", good.clone(), 0, "signed by"),
        ("its tag", reference(&format!("{own}:1")), 0, "signed by"),
        (
            "its host in capitals",
            reference(&own.to_uppercase().replace("TEAM/APP", "team/app")),
            0,
            "signed by",
        ),
        ("another digest", payload(&own, &other, "null"), 1, "signature is for another digest"),
        (
            "another repository",
            reference(&format!("{host}/team/app2")),
            1,
            "signature is for another repository",
        ),
        ("a repository below", reference(&format!("{own}/x")), 1, "another repository"),
        ("a repository above", reference(&format!("{host}/team")), 1, "another repository"),
        ("another port", reference("127.0.0.1:1/team/app"), 1, "another repository"),
        ("another host", reference("ghcr.io/team/app"), 1, "another repository"),
        ("a path without a host", reference("team/app"), 1, "another repository"),
        ("no repository", reference(""), 1, "another repository"),
        ("no reference", reference(&format!("https://{own}")), 1, "another repository"),
        ("a pattern", reference(&format!("{host}/*")), 1, "another repository"),
        ("two repositories", reference(&format!("{own} {own}")), 1, "another repository"),
        (
            "another type",
            good.replace(TYPE, "atomic container signature"),
            1,
            "signed payload is a \"atomic container signature\"",
        ),
        ("a blob", good.replace(TYPE, "cosign blob signature"), 1, "signed payload is a"),
        ("no type", good.replace(&format!(",\"type\":\"{TYPE}\""), ""), 1, MALFORMED),
        ("a short digest", good.replace(digest.hex(), &digest.hex()[..12]), 1, MALFORMED),
        (
            "a digest in capitals",
            good.replace(digest.hex(), &digest.hex().to_uppercase()),
            1,
            MALFORMED,
        ),
        ("a digest without algorithm", good.replace("sha256:", ""), 1, MALFORMED),
        (
            "a list of digests",
            good.replace(&format!("\"{digest}\""), &format!("[\"{digest}\"]")),
            1,
            MALFORMED,
        ),
        (
            "an unknown critical field",
            good.replace("\"type\":", "\"expires\":1,\"type\":"),
            1,
            MALFORMED,
        ),
        ("an unknown field", good.replacen('{', "{\"critical2\":{},", 1), 1, MALFORMED),
    ] {
        stage.publish(&[Layer::signed(&RELEASE, text)]);
        stage.ask(&trusting(&stage)).expect(what, code, words);
    }
}

#[test]
fn refuses_signed_json_that_two_readers_would_read_differently() {
    let stage = Stage::default();
    let good = stage.payload_with(r#"{"a":"1"}"#);
    let other = Digest::sha256(b"other");
    let own = &stage.image.repository;
    let digest = &stage.image.digest;
    let named = |field: &str| format!("\"{field}\":");
    let before = |field: &str, more: &str| {
        good.replacen(&named(field), &format!("{more},{}", named(field)), 1)
    };
    let decoy = format!(
        r#""critical":{{"identity":{{"docker-reference":"{own}"}},"image":{{"docker-manifest-digest":"{other}"}},"type":"{TYPE}"}}"#
    );
    for (what, text) in [
        ("critical twice", before("critical", &decoy)),
        ("optional twice", before("optional", "\"optional\":null")),
        (
            "image twice",
            before("image", &format!(r#""image":{{"docker-manifest-digest":"{other}"}}"#)),
        ),
        (
            "digest twice",
            before("docker-manifest-digest", &format!(r#""docker-manifest-digest":"{other}""#)),
        ),
        (
            "the same digest twice",
            before("docker-manifest-digest", &format!(r#""docker-manifest-digest":"{digest}""#)),
        ),
        ("reference twice", before("docker-reference", r#""docker-reference":"x.io/a""#)),
        ("type twice", before("type", r#""type":"x""#)),
        ("annotation twice", before("a", r#""a":"2""#)),
        (
            "critical twice, escaped",
            before("critical", &decoy.replacen("critical", r"\u0063ritical", 1)),
        ),
        (
            "digest twice, escaped",
            before(
                "docker-manifest-digest",
                &format!(r#""docker\u002dmanifest-digest":"{other}""#),
            ),
        ),
        ("annotation twice, escaped", before("a", r#""\u0061":"2""#)),
        ("fields in capitals", good.replace("critical", "Critical")),
        ("two documents", good.repeat(2)),
        ("a document and more", format!("{good} x")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("a NUL", format!("{good}\0")),
        ("a comment", format!("/**/{good}")),
        ("a number out of range", stage.payload_with(r#"{"a":1e999}"#)),
        ("a lone surrogate", stage.payload_with(r#"{"a":"\ud800"}"#)),
        (
            "a nest too deep",
            stage.payload_with(&format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40))),
        ),
        ("a nest to overflow the stack", "[".repeat(60_000)),
        ("a list", format!("[{good}]")),
        ("a string", serde_json::to_string(&good).unwrap()),
        ("optional as a list", stage.payload_with("[]")),
        ("nothing", String::new()),
    ] {
        assert_ne!(text, good, "{what}");
        stage.publish(&[Layer::signed(&RELEASE, text)]);
        stage.ask(&trusting(&stage)).expect(what, 1, MALFORMED);
    }
}

#[test]
fn refuses_signed_content_of_other_formats() {
    let stage = Stage::default();
    let digest = &stage.image.digest;
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": stage.image.repository.to_string(), "digest": { "sha256": digest.hex() } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
    .to_string();
    let dsse_type = "application/vnd.in-toto+json";
    let descriptor = json!({ "targetArtifact": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(), "size": 1 } });
    let manifest = stage.registry.manifest("team/app", "1").unwrap().bytes.to_vec();
    for (what, signed) in [
        ("an in-toto statement", statement.clone().into_bytes()),
        (
            "what DSSE signs",
            format!("DSSEv1 {} {dsse_type} {} {statement}", dsse_type.len(), statement.len())
                .into_bytes(),
        ),
        (
            "a DSSE envelope",
            json!({ "payloadType": dsse_type, "payload": "e30=", "signatures": [{ "sig": "" }] })
                .to_string()
                .into_bytes(),
        ),
        ("a notation payload", descriptor.to_string().into_bytes()),
        (
            "a notation envelope",
            br#"{"payload":"e30","protected":"e30","header":{},"signature":"AA"}"#.to_vec(),
        ),
        ("what JWS signs", b"eyJhbGciOiJFUzI1NiJ9.e30".to_vec()),
        ("the image's manifest", manifest),
        ("the image's digest", digest.to_string().into_bytes()),
    ] {
        stage.publish(&[Layer::signed(&RELEASE, signed)]);
        stage.ask(&trusting(&stage)).expect(what, 1, MALFORMED);
    }
}

#[test]
fn an_annotation_must_be_signed_and_have_the_value_asked_for() {
    let stage = Stage::default();
    let statement = trusting_with(&stage, "annotations", json!({ "tested": "True", "team": "a" }));
    for (optional, code, words) in [
        (r#"{"tested":"True","team":"a"}"#, 0, "signed by"),
        (r#"{"tested":"True","team":"a","more":[1]}"#, 0, "signed by"),
        (r#"{"\u0074ested":"\u0054rue","team":"a"}"#, 0, "signed by"),
        ("null", 1, "annotation missing: signature has no \"team\""),
        ("{}", 1, "annotation missing"),
        (r#"{"team":"a"}"#, 1, "annotation missing: signature has no \"tested\""),
        (r#"{"team":"a","Tested":"True"}"#, 1, "annotation missing"),
        (r#"{"team":"a","optional":{"tested":"True"}}"#, 1, "annotation missing"),
        (
            r#"{"team":"a","tested":"False"}"#,
            1,
            "annotation differs: signature has \"tested\" = \"False\"",
        ),
        (r#"{"team":"a","tested":"true"}"#, 1, "annotation differs"),
        (r#"{"team":"a","tested":"True "}"#, 1, "annotation differs"),
        (r#"{"team":"a","tested":"True\u0000"}"#, 1, "annotation differs"),
        (r#"{"team":"a","tested":true}"#, 1, "annotation differs"),
        (r#"{"team":"a","tested":1}"#, 1, "annotation differs"),
        (r#"{"team":"a","tested":null}"#, 1, "annotation differs"),
        (r#"{"team":"a","tested":["True"]}"#, 1, "annotation differs"),
        (r#"{"team":"a","tested":{"True":"True"}}"#, 1, "annotation differs"),
    ] {
        stage.publish(&[Layer::signed(&RELEASE, stage.payload_with(optional))]);
        stage.ask(&statement).expect(optional, code, words);
    }
}

#[test]
fn annotations_of_several_signatures_do_not_add_up() {
    let stage = Stage::default();
    let statement = trusting_with(&stage, "annotations", json!({ "tested": "True", "team": "a" }));
    let signed = |key, optional: &str| Layer::signed(key, stage.payload_with(optional));
    let both = r#"{"tested":"True","team":"a"}"#;
    let tested = signed(&RELEASE, r#"{"tested":"True"}"#);
    let team = signed(&RELEASE, r#"{"team":"a"}"#);
    let for_other = payload(&stage.repository("team/other").to_string(), &stage.image.digest, both);
    let on_the_layer =
        team.clone().with("/annotations/tested", "True").with("/annotations/team", "a");
    for (what, layers) in [
        ("spread over two", vec![tested.clone(), team.clone()]),
        ("in the other order", vec![team.clone(), tested]),
        ("on the layer, unsigned", vec![on_the_layer]),
        ("an attacker's adds the rest", vec![team.clone(), signed(&ATTACKER, both)]),
        ("another repository's adds the rest", vec![team, Layer::signed(&RELEASE, for_other)]),
    ] {
        stage.publish(&layers);
        stage.ask(&statement).expect(what, 1, "annotation missing");
    }
    stage.publish(&[signed(&ATTACKER, both)]);
    stage.ask(&statement).expect("an attacker's alone", 1, INVALID);
}

#[test]
fn a_signature_counts_under_the_repository_that_the_identity_permits() {
    let stage = Stage::default();
    let host = stage.registry.host();
    let own = stage.image.repository.to_string();
    let remap = |prefix: &str, signed: &str| json!({ "type": "remapIdentity", "prefix": prefix, "signedPrefix": signed });
    let kind = |kind: &str| json!({ "type": kind });
    let exact = |name: &str| json!({ "type": "exactRepository", "dockerRepository": name });
    let team = format!("{host}/team");
    let cases: Vec<(Value, &str, i32)> = vec![
        (remap(&host, "ghcr.io"), "ghcr.io/team/app", 0),
        (remap(&team, "ghcr.io/org"), "ghcr.io/org/app", 0),
        (remap(&own, "ghcr.io/org/x"), "ghcr.io/org/x", 0),
        (remap(&team, "docker.io"), "app", 0),
        (remap(&host, "ghcr.io"), &own, 1),
        (remap(&host, "ghcr.io"), "ghcr.io/team/app2", 1),
        (remap(&host, "ghcr.io"), "ghcr.io.evil.example/team/app", 1),
        (remap(&team[..team.len() - 1], "ghcr.io/org"), "ghcr.io/orgm/app", 1),
        (remap(&team[..team.len() - 1], "ghcr.io/org"), &own, 0),
        (remap("ghcr.io", &host), "ghcr.io/team/app", 1),
        (exact("ghcr.io/org/app"), "ghcr.io/org/app", 0),
        (exact("ghcr.io/org/app"), &own, 1),
        (kind("any"), "ghcr.io/whatever/else", 0),
        (kind("any"), "", 0),
        (kind("requireRepository"), &own, 0),
        (kind("requireRepository"), "", 1),
        (kind("matchRepository"), &own, 0),
        (kind("matchRepository"), "ghcr.io/team/app", 1),
    ];
    for (identity, signed, code) in cases {
        stage.publish(&[Layer::signed(&RELEASE, payload(signed, &stage.image.digest, "null"))]);
        let words = if code == 0 { "signed by" } else { "signature is for another repository" };
        let what = format!("{identity} {signed}");
        stage.ask(&trusting_with(&stage, "signedIdentity", identity)).expect(&what, code, words);
    }
    let other = payload(&own, &Digest::sha256(b"other"), "null");
    stage.publish(&[Layer::signed(&RELEASE, other)]);
    stage.ask(&trusting_with(&stage, "signedIdentity", kind("any"))).expect(
        "any repository is not any digest",
        1,
        "another digest",
    );
}
