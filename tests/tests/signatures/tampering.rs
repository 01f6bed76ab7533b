//! The attacker may write to the registry, and has no key that the policy trusts.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use civ_oci::Digest;
use civ_tests::signing::Layer;
use civ_tests::stage::Stage;
use serde_json::json;

use crate::{ATTACKER, INVALID, RELEASE, trusting};

#[test]
fn refuses_a_payload_that_was_changed_after_signing() {
    let stage = Stage::default();
    let good = stage.payload();
    let signature = RELEASE.sign(good.as_bytes());
    let changes = [
        ("another digest", good.replace(stage.image.digest.hex(), Digest::sha256(b"other").hex())),
        ("an annotation", good.replace("null", r#"{"tested":"True"}"#)),
        ("a space at the end", format!("{good} ")),
        ("a line end", format!("{good}\n")),
        ("the same JSON, spaced", good.replace(':', ": ").replace(": //", "://")),
        ("nothing left", String::new()),
    ];
    for (what, changed) in changes {
        assert_ne!(changed, good);
        for layer in
            [Layer::new(changed.clone(), &signature), Layer::new(changed, &signature).inline()]
        {
            stage.publish(&[layer]);
            stage.ask(&trusting(&stage)).expect(what, 1, INVALID);
        }
    }
}

#[test]
fn refuses_payloads_swapped_between_two_signatures() {
    let stage = Stage::default();
    let (one, two) = (stage.payload(), stage.payload_with(r#"{"a":"1"}"#));
    let (sign_one, sign_two) = (RELEASE.sign(one.as_bytes()), RELEASE.sign(two.as_bytes()));
    let swapped = [Layer::new(one.clone(), &sign_two), Layer::new(two.clone(), &sign_one)];
    stage.publish(&swapped);
    stage.ask(&trusting(&stage)).expect("swapped", 1, INVALID);
    stage.publish(&swapped.map(Layer::inline));
    stage.ask(&trusting(&stage)).expect("swapped, inline", 1, INVALID);
    stage.publish(&[Layer::new(one, &sign_one), Layer::new(two, &sign_two)]);
    stage.ask(&trusting(&stage)).expect("each with its own", 0, "signed by");
}

#[test]
fn inline_data_counts_only_under_its_own_digest() {
    let stage = Stage::default();
    let honest = stage.honest(&RELEASE);
    let forged = Layer::signed(&ATTACKER, stage.payload_with(r#"{"forged":"1"}"#));
    let data = |bytes: &[u8]| STANDARD.encode(bytes);
    let good = honest.payload.clone();
    for (what, layer, code, words) in [
        ("other data", honest.clone().with("/data", data(b"{}")), 0, "signed by"),
        ("data that is no base64", honest.clone().with("/data", "*"), 0, "signed by"),
        ("an empty payload", honest.clone().with("/data", ""), 0, "signed by"),
        ("a forger's, with good data", forged.clone().with("/data", data(&good)), 1, INVALID),
        (
            "a good one's digest",
            forged.with("/digest", honest.descriptor["digest"].clone()),
            1,
            INVALID,
        ),
    ] {
        // The honest payload is in the registry under its digest, whatever the data says.
        stage.publish(&[honest.clone(), layer.clone()]);
        stage.publish(&[layer]);
        stage.ask(&trusting(&stage)).expect(what, code, words);
    }
}

#[test]
fn refuses_a_key_or_certificate_that_the_signature_brings_along() {
    let stage = Stage::default();
    let pem = ATTACKER.public_pem();
    let bundle = json!({ "Payload": { "body": STANDARD.encode(&pem), "logIndex": 1 } }).to_string();
    let layer = [
        ("dev.sigstore.cosign~1certificate", pem.clone()),
        ("dev.sigstore.cosign~1chain", pem.clone()),
        ("dev.sigstore.cosign~1bundle", bundle),
        ("dev.sigstore.cosign~1publicKey", pem.clone()),
        ("publicKey", pem.clone()),
        ("kid", "release".to_owned()),
    ]
    .into_iter()
    .fold(stage.honest(&ATTACKER), |layer, (key, value)| {
        layer.with(&format!("/annotations/{key}"), value)
    });
    stage.publish(&[layer]);
    stage.ask(&trusting(&stage)).expect("in annotations", 1, INVALID);
    let optional = json!({ "publicKey": pem, "keyid": "release" }).to_string();
    stage.publish(&[Layer::signed(&ATTACKER, stage.payload_with(&optional))]);
    stage.ask(&trusting(&stage)).expect("in the payload", 1, INVALID);
}

#[test]
fn refuses_a_signature_of_a_key_that_is_trusted_no_more() {
    let stage = Stage::default();
    stage.publish(&[stage.honest(&RELEASE)]);
    stage.ask(&trusting(&stage)).expect("trusted", 0, "signed by");
    let rotated = stage.statement(&[("new", &ATTACKER)]);
    stage.ask(&rotated).expect("rotated", 1, "signature invalid: not made by \"new\"");
}

#[test]
fn refuses_bytes_that_are_almost_a_signature() {
    let stage = Stage::default();
    let payload = stage.payload();
    let good = RELEASE.sign(payload.as_bytes());
    let digest = stage.image.digest.to_string();
    // r and s stand after two bytes of header each.
    let r_len = usize::from(good[3]);
    let (r, s) = (&good[2..4 + r_len], &good[4 + r_len..]);
    let sequence = |parts: &[&[u8]]| {
        let body = parts.concat();
        [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
    };
    assert_eq!(sequence(&[r, s]), good);
    let hash = {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload.as_bytes());
        hash.as_ref().to_vec()
    };
    for (what, signature) in [
        ("empty", vec![]),
        ("one byte", vec![0]),
        ("P1363 instead of DER", RELEASE.sign_p1363(payload.as_bytes())),
        ("r and s are 0 in DER", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        ("r and s are 0 in P1363", vec![0; 64]),
        ("r and s are 1", vec![0x30, 6, 2, 1, 1, 2, 1, 1]),
        ("r and s exchanged", sequence(&[s, r])),
        ("only r", sequence(&[r])),
        ("a third number", sequence(&[r, s, &[2, 1, 1]])),
        ("a byte after it", [good.as_slice(), &[0]].concat()),
        ("a byte before it", [&[0], good.as_slice()].concat()),
        ("twice", good.repeat(2)),
        ("a long form of its length", [&[0x30, 0x81], &good[1..]].concat()),
        ("an indefinite length", [&[0x30, 0x80], &good[2..], &[0, 0]].concat()),
        ("zeros before r", sequence(&[&[2, r[1] + 1, 0], &r[2..], s])),
        ("over the hash", RELEASE.sign(&hash)),
        (
            "over the payload's digest",
            RELEASE.sign(Digest::sha256(payload.as_bytes()).to_string().as_bytes()),
        ),
        ("over the image's digest", RELEASE.sign(digest.as_bytes())),
        ("an attacker's", ATTACKER.sign(payload.as_bytes())),
        ("a megabyte", vec![0x30; 1 << 20]),
    ] {
        stage.publish(&[Layer::new(payload.clone(), &signature)]);
        stage.ask(&trusting(&stage)).expect(what, 1, INVALID);
    }
}

#[test]
fn refuses_odd_base64() {
    let stage = Stage::default();
    let payload = stage.payload();
    // One with padding and with characters in which the alphabets differ: half of all are.
    let good = (0..1000)
        .map(|_| RELEASE.sign(payload.as_bytes()))
        .find(|signature| {
            let text = STANDARD.encode(signature);
            text.ends_with('=') && text.contains(['+', '/'])
        })
        .unwrap();
    let text = STANDARD.encode(&good);
    let last = text.trim_end_matches('=').len() - 1;
    let next = char::from(text.as_bytes()[last] + 1);
    let trailing_bits = format!("{}{next}{}", &text[..last], &text[last + 1..]);
    let layer = |text: &str| Layer::new(payload.clone(), &[]).with_signature_text(text);
    stage.publish(&[layer(&text)]);
    stage.ask(&trusting(&stage)).expect("as it should be", 0, "signed by");
    for (what, text) in [
        ("no padding", STANDARD_NO_PAD.encode(&good)),
        ("too much padding", format!("{text}=")),
        ("a line end", format!("{text}\n")),
        ("broken lines", format!("{}\n{}", &text[..64], &text[64..])),
        ("a space before", format!(" {text}")),
        ("the URL alphabet", URL_SAFE.encode(&good)),
        ("bits after the last byte", trailing_bits),
        ("twice", text.repeat(2)),
        ("a quoted string", format!("\"{text}\"")),
        ("a data URL", format!("data:;base64,{text}")),
        ("a NUL", format!("{text}\0")),
    ] {
        stage.publish(&[layer(&text)]);
        stage.ask(&trusting(&stage)).expect(what, 1, "signatures unreadable: none of 1 layers");
    }
}

#[test]
fn a_good_signature_is_found_beside_odd_and_malformed_ones() {
    let stage = Stage::default();
    let good = stage.honest(&RELEASE);
    let odd = || {
        let other = Layer::signed(&ATTACKER, "odd");
        let raw = |value| Layer { payload: Vec::new(), descriptor: value };
        vec![
            raw(json!(null)),
            raw(json!(1)),
            raw(json!("layer")),
            raw(json!([])),
            raw(json!({})),
            other.clone().with("/annotations", json!(null)),
            other.clone().with("/annotations", json!([])),
            other.clone().with("/annotations", json!({})),
            other.clone().with("/annotations/x", json!(1)),
            other.clone().with("/size", json!(-1)),
            other.clone().with("/size", json!(1.5)),
            other.clone().with("/size", json!(1_u64 << 40)),
            other.clone().with("/digest", json!("sha256:00")),
            other.clone().with("/digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e")),
            other.clone().with("/digest", json!(null)),
            other.clone().with("/mediaType", json!(null)),
            other.clone().with("/mediaType", "application/vnd.oci.image.layer.v1.tar"),
            other.clone().with("/urls", json!(["http://169.254.169.254/"])),
            other.clone().with_signature_text("*"),
            other.clone().with_signature_text(""),
            // Two are in no registry.
            other.clone().with("/digest", Digest::sha256(b"nowhere").to_string()),
            other.with("/digest", Digest::sha256(b"neither").to_string()),
        ]
    };
    let before = [odd(), vec![good.clone()]].concat();
    let after = [vec![good.clone()], odd()].concat();
    for (what, layers) in
        [("before", before), ("after", after), ("around", [odd(), vec![good], odd()].concat())]
    {
        stage.publish(&layers);
        stage.registry.clear_requests();
        stage.ask(&trusting(&stage)).expect(what, 0, "signed by");
        let requests = stage.registry.requests();
        assert!(requests.len() <= 6, "{what}: {:?}", stage.registry.request_lines());
    }
    stage.publish(&odd());
    let verdict = stage.ask(&trusting(&stage));
    assert_ne!(verdict.code, 0, "{verdict:?}");
}
