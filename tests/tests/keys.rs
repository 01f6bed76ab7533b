//! Key files that civ and cosign share: what one writes, the other signs with.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::collections::BTreeMap;
use std::fs;

use civ_tests::civ::Civ;
use civ_tests::cosign::{Cosign, Format, PASSWORD, Signing};
use civ_tests::docker_registry::DockerRegistry;
use civ_tests::gate::{self, Call};
use civ_tests::image;
use civ_tests::signing::{Key, Kind};
use serde_json::json;

fn civ(password: &str) -> Civ {
    Civ::new().with_env(BTreeMap::from([("COSIGN_PASSWORD".to_owned(), password.to_owned())]))
}

fn allows(civ: &Civ, public_pem: &str, image: &image::Pushed) -> bool {
    let policy = json!({ "version": "1.0", "trustPolicies": [{
        "name": "production",
        "registryScopes": [image.repository],
        "signatureVerification": { "level": "strict" },
        "keys": [{ "name": "release", "publicKey": public_pem }],
    }]});
    let policy = civ.write("policy.json", &policy.to_string());
    let executable = gate::executable("cosign-image-verifier");
    Call::pull(executable, &image.repository, &image.digest).policy(&policy).run().code == Some(0)
}

#[test]
fn civ_signs_with_the_keys_that_cosign_generates() {
    let (registry, cosign) = (DockerRegistry::start(), Cosign::new());
    let empty = Cosign::new().with_env([("COSIGN_PASSWORD".to_owned(), String::new())].into());
    for (cosign, password, name) in [(&cosign, PASSWORD, "release"), (&empty, "", "unprotected")] {
        let pair = cosign.generate_key_pair(name);
        let image = image::push(registry.address(), &format!("prod/{name}"), "1", name);
        let sign = ["sign", &image.by_digest(), "--key", pair.signing()];
        let wrong = civ("wrong").run(sign);
        assert_eq!(wrong.code, Some(3), "{wrong:?}");
        assert!(wrong.stderr.contains("the password does not open the private key"), "{wrong:?}");
        let civ = civ(password);
        civ.run(sign).expect_success("civ sign");
        let printed = civ.run(["public-key", "--key", pair.signing()]).stdout;
        assert_eq!(printed, pair.public_pem);
        cosign.verify(pair.verifying(), &image.by_digest(), &[]).expect_success("cosign verify");
        assert!(allows(&civ, &pair.public_pem, &image));
        assert!(!allows(&civ, &Key::generate(Kind::P256).public_pem(), &image));
    }
}

#[test]
fn cosign_signs_with_the_keys_that_civ_generates() {
    let (registry, cosign, civ) = (DockerRegistry::start(), Cosign::new(), civ(PASSWORD));
    for kind in ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-4096"] {
        civ.run(["key", "generate", "--kind", kind, "--output-key-prefix", kind])
            .expect_success("civ key generate");
        let private = civ.path(&format!("{kind}.key"));
        let private = private.to_str().unwrap();
        let public_pem = fs::read_to_string(civ.path(&format!("{kind}.pub"))).unwrap();
        assert_eq!(cosign.public_key(private), public_pem, "{kind}");
        let image = image::push(registry.address(), &format!("prod/{kind}"), "1", kind);
        for format in [Format::Bundle, Format::Tag] {
            cosign.sign(private, &image.by_digest(), Signing { format, ..Signing::default() });
        }
        assert!(allows(&civ, &public_pem, &image), "{kind}");
        assert!(!allows(&civ, &Key::generate(Kind::P256).public_pem(), &image), "{kind}");
    }
}

#[test]
fn stopped_at_its_prompt_civ_leaves_the_terminal_as_it_was() {
    const CTRL_C: &str = "\u{3}";
    let civ = Civ::new();
    let generate = ["key", "generate", "--output-key-prefix", "stopped"];
    for answers in [&[CTRL_C][..], &["canary", CTRL_C]] {
        let stopped = civ.run_on_a_terminal(generate, answers);
        assert_eq!(stopped.code, Some(130), "{stopped:?}");
        assert!(stopped.stdout.contains("stopped"), "{stopped:?}");
        assert!(!stopped.stdout.contains("stays hidden"), "{stopped:?}");
    }
    assert!(!civ.path("stopped.key").exists() && !civ.path("stopped.pub").exists());
}

#[test]
fn a_password_is_typed_twice_for_a_new_key_and_once_to_use_it() {
    let civ = Civ::new();
    let generate = ["key", "generate", "--output-key-prefix", "typed"];
    let public_key = ["public-key", "--key", "typed.key"];
    let differing = civ.run_on_a_terminal(generate, &["canary", "canari"]);
    assert_eq!(differing.code, Some(3), "{differing:?}");
    assert!(differing.stdout.contains("the two passwords differ"), "{differing:?}");
    assert!(!civ.path("typed.key").exists() && !civ.path("typed.pub").exists());
    let made = civ.run_on_a_terminal(generate, &["canary", "canary"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let used = civ.run_on_a_terminal(public_key, &["canary"]);
    assert!(used.stdout.contains("BEGIN PUBLIC KEY"), "{used:?}");
    let refused = civ.run_on_a_terminal(public_key, &["other"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stdout.contains("does not open"), "{refused:?}");
    for finished in [differing, made, used, refused] {
        assert!(!finished.stdout.contains("canar"), "a password is shown: {finished:?}");
    }
    // Without a terminal nobody is asked, and nothing waits.
    let unasked = civ.run(public_key);
    assert!(unasked.stderr.contains("set COSIGN_PASSWORD"), "{unasked:?}");
}
