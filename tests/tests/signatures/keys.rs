//! Keys that a policy may not name, and keys that are too few.

use std::fs;
use std::path::Path;

use civ_tests::signing::{Key, Kind, Layer, payload};
use civ_tests::stage::Stage;
use serde_json::json;

use crate::{ATTACKER, RELEASE, trusting_with};

#[test]
fn refuses_a_policy_with_keys_of_other_kinds_and_names_the_kind() {
    let stage = Stage::default();
    let refused_keys =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifiers/cosign/testdata/refused-keys");
    let file = |name: &str| fs::read_to_string(refused_keys.join(name)).unwrap();
    let generated = |kind| Key::generate(kind).public_pem();
    let good = RELEASE.public_pem();
    for (pem, words) in [
        (generated(Kind::Secp256k1), "ECDSA secp256k1 (KMS ECC_SECG_P256K1) keys are not accepted"),
        (file("ed448.pem"), "Ed448 keys are not accepted"),
        (file("rsa1024.pem"), "RSA keys of 1024 bits are not accepted"),
        (file("rsa8192.pem"), "RSA keys of 8192 bits are not accepted"),
        (file("sm2.pem"), "SM2 (KMS SM2) keys are not accepted"),
        (file("rsa-pss.pem"), "RSASSA-PSS-only RSA keys are not accepted"),
        (file("private.pem"), "this is a PRIVATE key"),
        (file("certificate.pem"), "a certificate is no public key"),
        (file("pkcs1.pem"), "is not \"PUBLIC KEY\""),
        (format!("{good}{good}"), "something follows its END line"),
        ("ssh-ed25519 AAAA".to_owned(), "no line begins with -----BEGIN"),
        (String::new(), "no line begins with -----BEGIN"),
    ] {
        // The key stands beside a good one, which has signed: the policy is refused as a whole.
        stage.publish(&[stage.honest(&RELEASE)]);
        let keys =
            json!([{ "name": "release", "publicKey": good }, { "name": "odd", "publicKey": pem }]);
        stage.registry.clear_requests();
        stage.ask(&trusting_with(&stage, "keys", keys)).expect(words, 3, words);
        assert!(stage.registry.requests().is_empty(), "asked for signatures under a bad policy");
    }
}

#[test]
fn a_key_of_any_kind_cannot_sign_for_a_trusted_one() {
    let stage = Stage::default();
    let kinds = [Kind::P256, Kind::P384, Kind::P521, Kind::Ed25519, Kind::Rsa2048];
    let trusted = kinds.map(Key::generate);
    let names = ["p256", "p384", "p521", "ed25519", "rsa"];
    let keys: Vec<_> = names.into_iter().zip(&trusted).collect();
    for kind in [
        Kind::Secp256k1,
        Kind::P256,
        Kind::P384,
        Kind::P384Sha256,
        Kind::P521,
        Kind::P521Sha256,
        Kind::Ed25519,
        Kind::Rsa2048,
        Kind::Rsa2048Pss,
    ] {
        stage.publish(&[stage.honest(&Key::generate(kind))]);
        let words = "signature invalid: not made by \"p256\"";
        stage.ask(&stage.statement(&keys)).expect(&format!("{kind:?}"), 1, words);
    }
    for (name, key) in &keys {
        stage.publish(&[stage.honest(key)]);
        stage.ask(&stage.statement(&keys)).expect(name, 0, &format!("signed by {name:?}"));
    }
}

#[test]
fn one_key_under_two_names_is_not_two_keys() {
    let stage = Stage::default();
    let pem = RELEASE.public_pem();
    stage.publish(&[stage.honest(&RELEASE), stage.honest(&RELEASE)]);
    for (what, twin) in [
        ("the same text", pem.clone()),
        ("other line ends", pem.replace('\n', "\r\n")),
        ("space around", format!("\n\n{pem}\n\n")),
    ] {
        let keys = json!([{ "name": "a", "publicKey": pem }, { "name": "b", "publicKey": twin }]);
        let mut statement = trusting_with(&stage, "keys", keys);
        let words = "keys \"a\" and \"b\" of statement \"production\" are the same key";
        stage.ask(&statement).expect(what, 3, words);
        statement["threshold"] = json!(2);
        stage.ask(&statement).expect(what, 3, words);
    }
    let keys = json!([{ "name": "a", "publicKey": pem }, { "name": "a", "publicKey": ATTACKER.public_pem() }]);
    let verdict = stage.ask(&trusting_with(&stage, "keys", keys));
    verdict.expect("two keys of one name", 3, "are called \"a\"");
}

#[test]
fn a_threshold_counts_keys_and_not_signatures() {
    let stage = Stage::default();
    let second = Key::generate(Kind::P384);
    let third = Key::generate(Kind::Rsa2048);
    let mut statement = stage.statement(&[("one", &RELEASE), ("two", &second), ("three", &third)]);
    statement["threshold"] = json!(2);
    let one = stage.honest(&RELEASE);
    let one_again = stage.honest(&RELEASE);
    assert_ne!(one.descriptor, one_again.descriptor, "ECDSA signatures differ each time");
    let one_more = Layer::signed(&RELEASE, stage.payload_with(r#"{"a":"1"}"#));
    let two = stage.honest(&second);
    let elsewhere =
        payload(&stage.repository("team/other").to_string(), &stage.image.digest, "null");
    let two_elsewhere = Layer::signed(&second, elsewhere);
    let not_two = Layer::new(two.payload.clone(), &ATTACKER.sign(&two.payload));
    for (what, layers, code, words) in [
        ("one key", vec![one.clone()], 1, "signed by 1 of 2 keys"),
        ("one signature twice", vec![one.clone(), one.clone()], 1, "signed by 1 of 2 keys"),
        ("two signatures of one key", vec![one.clone(), one_again], 1, "signed by 1 of 2 keys"),
        ("two payloads of one key", vec![one.clone(), one_more.clone()], 1, "asks for: one"),
        ("a second for elsewhere", vec![one.clone(), two_elsewhere], 1, "signed by 1 of 2 keys"),
        ("a second by an attacker", vec![one.clone(), not_two], 1, "signed by 1 of 2 keys"),
        ("two keys", vec![one.clone(), two.clone()], 0, "signed by \"one, two\""),
        ("two keys, two payloads", vec![two.clone(), one_more], 0, "signed by \"one, two\""),
        ("one and three", vec![one, stage.honest(&third)], 0, "signed by \"one, three\""),
    ] {
        stage.publish(&layers);
        stage.ask(&statement).expect(what, code, words);
    }
}
