//! What civ promotes, others accept: the real cosign, the gate, and a containerd that asks it. Keys
//! are files and keys of a KMS over HTTP.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::path::PathBuf;

use civ_tests::{
    containerd::Containerd,
    cosign::{Format, Signing},
    docker_registry::DockerRegistry,
    gate,
    signing::Kind,
    workshop::{TESTED, Workshop},
};
use serde_json::json;

/// A workshop beside the registry that most others descend from.
fn open() -> (DockerRegistry, Workshop) {
    let registry = DockerRegistry::start();
    let workshop = Workshop::open(registry.address());
    (registry, workshop)
}

/// A new key in a file, and a file with its public half.
fn new_key(workshop: &Workshop, name: &str) -> (String, String) {
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let key = text(workshop.civ.new_key(name, Kind::P256));
    let public = workshop.civ.run(["public-key", "--key", &key]).expect_success("civ public-key");
    (key, text(workshop.civ.write(&format!("{name}.pub"), &public.stdout)))
}

#[test]
fn cosign_and_the_gate_verify_what_civ_promotes_with_every_key() {
    let (_registry, workshop) = open();
    let upstream = workshop.push_index("upstream/app");
    for key in workshop.keys() {
        let repository = workshop.name(&format!("prod/{}", key.name));
        let destination = format!("{repository}:1");
        let promote = ["promote", &upstream.tag, &destination, "--key", &key.civ];
        workshop
            .civ
            .run(promote.into_iter().chain(["--annotation", TESTED, "--recursive"]))
            .expect_success(&key.name);
        let by_uri = key.uri.as_deref().map(|uri| (uri, None));
        let ways: Vec<_> =
            [(key.public_file.as_str(), key.digest)].into_iter().chain(by_uri).collect();
        for digest in [&upstream.digest].into_iter().chain(&upstream.children) {
            let image = format!("{repository}@{digest}");
            for (name, told) in &ways {
                let verified = workshop.cosign.verify_told(name, *told, &image, &[TESTED]);
                verified.expect_success(&key.name);
            }
            workshop.assert_signed(&key, &repository, digest, true);
        }
    }
}

#[test]
fn promoting_again_writes_nothing() {
    let (registry, workshop) = open();
    let upstream = workshop.push_index("upstream/app");
    let key = workshop.kms.create_key("ECC_NIST_P256").uri();
    let destination = workshop.name("prod/app:1");
    let promote = ["promote", &upstream.tag, &destination, "--key", &key, "--recursive"];
    workshop.civ.run(promote).expect_success("the first promotion");
    let before = registry.count();
    workshop.civ.run(promote).expect_success("the second promotion");
    let again = registry.requests().split_off(before);
    assert!(!again.is_empty());
    for request in again {
        assert!(["GET", "HEAD"].contains(&request.method.as_str()), "{request:?}");
    }
}

/// The whole of it: what a team promotes with its KMS key runs on its nodes, and nothing else does.
#[test]
fn a_node_pulls_what_civ_promoted_and_nothing_else() {
    let (registry, workshop) = open();
    let key = workshop.kms.create_key("ECC_NIST_P256");
    let upstream = workshop.push_index("upstream/app");
    let (promoted, unsigned) = (workshop.name("prod/app:1"), workshop.push_index("prod/unsigned"));
    workshop
        .civ
        .run(["promote", &upstream.tag, &promoted, "--key", &key.uri(), "--annotation", TESTED])
        .expect_success("civ promote");

    let node = Containerd::start();
    let policy = json!({ "version": "1.0", "trustPolicies": [{
        "name": "production",
        "registryScopes": [format!("{}/prod/*", registry.address())],
        "signatureVerification": { "level": "strict" },
        "keys": [{ "name": "release", "kms": key.uri(), "publicKey": key.public_pem }],
        "annotations": { "e2e-tests-passed": "True" },
    }]});
    node.set_policy("cosign", &policy.to_string());
    node.install(&gate::executable("cosign-image-verifier"), "cosign-image-verifier");

    for reference in [&upstream.tag, &unsigned.tag] {
        let pull = node.pull(reference);
        assert!(!pull.success() && pull.stderr.contains("rejected image"), "{pull:#?}");
        node.cri_pull(reference).unwrap_err();
    }
    assert_eq!(node.images(), [""; 0]);
    node.pull(&promoted).expect_success("ctr pull");
    node.cri_pull(&promoted).unwrap();
}

/// A form that is written on its own is found by cosign, and cosign adds to what is there.
#[test]
fn cosign_verifies_each_form_on_its_own_and_appends_to_it() {
    let (_registry, workshop) = open();
    let (key, public) = new_key(&workshop, "key");
    let theirs = workshop.cosign.generate_key_pair("theirs");
    for (name, format) in [("legacy", Format::Tag), ("bundle", Format::Bundle)] {
        let image = workshop.push_index(&format!("prod/{name}"));
        let reference = image.by_digest();
        let sign = ["sign", &reference, "--key", &key, "-a", TESTED, "--format", name];
        workshop.civ.run(sign).expect_success("civ sign");
        workshop.cosign.verify(&public, &reference, &[TESTED]).expect_success(name);
        let wrong = workshop.cosign.verify(&public, &reference, &["e2e-tests-passed=False"]);
        assert!(!wrong.success(), "{wrong:?}");

        let signing = Signing { format, ..Signing::default() };
        workshop.cosign.sign(theirs.signing(), &reference, signing);
        workshop.cosign.verify(&public, &reference, &[TESTED]).expect_success("ours, still");
        workshop.cosign.verify(theirs.verifying(), &reference, &[]).expect_success("theirs");
        let again = workshop.civ.run(sign);
        assert!(again.expect_success("civ sign").stdout.contains("(before)"));
    }
}

#[test]
fn sixteen_processes_sign_at_once_and_every_signature_is_there() {
    let (registry, workshop) = open();
    let image = workshop.push_index("prod/app");
    let reference = image.by_digest();
    let keys: Vec<_> = (0..16).map(|n| new_key(&workshop, &format!("key-{n}"))).collect();
    let sign = |key: &str| workshop.civ.run(["sign", &reference, "--key", key]);
    std::thread::scope(|scope| {
        for (key, _) in &keys {
            scope.spawn(|| sign(key).expect_success("civ sign"));
        }
    });
    let mut tree = vec!["tree", &reference, "-o", "json"];
    tree.extend(keys.iter().flat_map(|(_, public)| ["--key", public]));
    let tree = workshop.civ.run(tree).expect_success("civ tree").stdout;
    let tree: serde_json::Value = serde_json::from_str(&tree).unwrap();
    let attached = tree["images"][0]["attached"].as_array().unwrap();
    for format in ["legacy", "bundle"] {
        let signatures = attached.iter().flat_map(|one| one["signatures"].as_array().unwrap());
        let mut signers: Vec<_> = signatures
            .filter(|one| one["format"] == format && one["verified"] == true)
            .map(|one| one["key"].as_str().unwrap())
            .collect();
        signers.sort_unstable();
        signers.dedup();
        assert_eq!(signers.len(), 16, "{format}: {signers:?}");
    }
    // Nobody has to do it again.
    let before = registry.count();
    for (key, _) in &keys {
        assert!(sign(key).expect_success("civ sign").stdout.contains("(before)"));
    }
    let again = registry.requests().split_off(before);
    assert!(again.iter().all(|one| ["GET", "HEAD"].contains(&one.method.as_str())), "{again:?}");
}

#[test]
fn the_gate_asks_once_for_an_image_that_civ_signed() {
    let (registry, workshop) = open();
    let image = workshop.push_index("prod/app");
    let (key, public) = new_key(&workshop, "key");
    let sign = ["sign", &image.tag, "--key", &key, "-a", TESTED];
    workshop.civ.run(sign).expect_success("civ sign");
    let public_pem = std::fs::read_to_string(public).unwrap();
    let before = registry.count();
    let verdict = workshop.ask_gate(&public_pem, &image.repository, &image.digest, true);
    assert_eq!(verdict.code, Some(0), "{verdict:?}");
    assert_eq!(registry.count() - before, 1);
}

#[test]
fn a_real_registry_without_deletion_by_tag_is_cleaned() {
    let (_registry, workshop) = open();
    let image = workshop.push_index("prod/app");
    let (key, _) = new_key(&workshop, "key");
    let sign = ["sign", &image.tag, "--key", &key];
    workshop.civ.run(sign).expect_success("civ sign");
    let clean = workshop.civ.run(["clean", &image.tag, "--confirm"]);
    assert_eq!(clean.expect_success("civ clean").stdout.matches("deleted ").count(), 2);
    let tree = workshop.civ.run(["tree", &image.tag]).expect_success("civ tree").stdout;
    assert!(tree.contains("nothing is attached"), "{tree}");
    workshop.civ.run(sign).expect_success("civ sign, again");
}
