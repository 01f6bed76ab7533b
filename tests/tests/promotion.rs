//! What civ promotes, others accept: the real cosign, the gate, and a containerd that asks it. And
//! what the real cosign signs, the gate accepts. Keys are files and keys of a KMS over HTTP.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use civ_tests::{
    civ::Civ,
    containerd::Containerd,
    cosign::{self, Cosign, Signing},
    docker_registry::DockerRegistry,
    gate::{self, Call},
    image::{self, Pushed},
    kms::Kms,
};
use serde_json::json;

const TESTED: &str = "e2e-tests-passed=True";
/// What openssl needs to make such a key.
const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// A signing key, and how cosign names it to verify.
struct Key {
    name: &'static str,
    signing: String,
    public_pem: String,
    /// What cosign takes as `--key`: a file with the public key, and for a KMS key also its name.
    verifying: Vec<Vec<String>>,
}

/// A machine with civ and cosign on it, a registry, and a KMS.
struct Workshop {
    registry: DockerRegistry,
    kms: Kms,
    civ: Civ,
    cosign: Cosign,
}

impl Workshop {
    fn open() -> Self {
        let (registry, kms) = (DockerRegistry::start(), Kms::start());
        let civ = Civ::new().with_env(kms.env());
        let cosign = Cosign::new().with_env(kms.env());
        Self { registry, kms, civ, cosign }
    }

    /// Every kind of key that cosign and KMS share.
    fn keys(&self) -> Vec<Key> {
        let file = |name: &'static str, genpkey: &[&str]| {
            let path = self.civ.new_key(name, genpkey);
            self.key(name, path.to_str().unwrap().to_owned(), None)
        };
        let kms = |spec: &'static str| {
            let key = self.kms.create_key(spec);
            let signer = self.key(spec, key.uri(), Some(key.uri()));
            assert_eq!(signer.public_pem, key.public_pem, "{spec}");
            signer
        };
        vec![
            file("file-p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
            file("file-p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
            file("file-p521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
            file("file-ed25519", &["-algorithm", "ED25519"]),
            file("file-rsa2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
            kms("RSA_2048"),
            kms("RSA_4096"),
            kms("ECC_NIST_P256"),
            kms("ECC_NIST_P384"),
            kms("ECC_NIST_P521"),
        ]
    }

    fn key(&self, name: &'static str, signing: String, kms: Option<String>) -> Key {
        let public_pem =
            self.civ.run(["public-key", "--key", &signing]).expect_success("civ public-key").stdout;
        let file = self.civ.write(&format!("{name}.pub"), &public_pem);
        let mut by_file = vec!["--key".to_owned(), file.to_str().unwrap().to_owned()];
        // cosign takes SHA-256 for a key in a file unless told otherwise; KMS cannot.
        let hash = match name.to_lowercase() {
            name if name.ends_with("p384") => Some("sha384"),
            name if name.ends_with("p521") => Some("sha512"),
            _ => None,
        };
        if let Some(hash) = hash {
            by_file.extend(["--signature-digest-algorithm".to_owned(), hash.to_owned()]);
        }
        let by_name = kms.map(|uri| vec!["--key".to_owned(), uri]);
        Key { name, signing, public_pem, verifying: [by_file].into_iter().chain(by_name).collect() }
    }

    fn push(&self, repository: &str) -> Pushed {
        image::push_index(self.registry.address(), repository, "1", repository)
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    /// The gate's verdict on `repository` pulled by `digest`.
    fn ask_gate(&self, key: &Key, repository: &str, digest: &str) -> gate::Outcome {
        let policy = json!({ "version": "1.0", "trustPolicies": [{
            "name": "production",
            "registryScopes": [repository],
            "signatureVerification": { "level": "strict" },
            "keys": [{ "name": key.name, "publicKey": key.public_pem }],
            "annotations": { "e2e-tests-passed": "True" },
        }]});
        let policy = self.civ.write(&format!("{}.json", key.name), &policy.to_string());
        Call::pull(gate::executable("cosign-image-verifier"), repository, digest)
            .policy(&policy)
            .run()
    }
}

#[test]
fn cosign_and_the_gate_verify_what_civ_promotes_with_every_key() {
    let workshop = Workshop::open();
    let upstream = workshop.push("upstream/app");
    for key in workshop.keys() {
        let repository = workshop.name(&format!("prod/{}", key.name.to_lowercase()));
        let destination = format!("{repository}:1");
        let promote = ["promote", &upstream.tag, &destination, "--key", &key.signing];
        workshop
            .civ
            .run(promote.into_iter().chain(["--annotation", TESTED, "--recursive"]))
            .expect_success(key.name);
        for digest in [&upstream.digest].into_iter().chain(&upstream.children) {
            let image = format!("{repository}@{digest}");
            for verifying in &key.verifying {
                let mut arguments = vec!["verify", "--insecure-ignore-tlog", "-a", TESTED];
                arguments.extend(verifying.iter().map(String::as_str));
                arguments.push(&image);
                workshop.cosign.run(arguments).expect_success(key.name);
            }
            let verdict = workshop.ask_gate(&key, &repository, digest);
            assert_eq!(verdict.code, Some(0), "{}: {verdict:?}", key.name);
        }
    }
}

#[test]
fn the_gate_allows_what_cosign_signs_with_every_key() {
    let workshop = Workshop::open();
    for key in workshop.keys() {
        let image = workshop.push(&format!("prod/{}", key.name.to_lowercase()));
        // cosign wants key files in a format of its own.
        let imported;
        let signing = if key.signing.starts_with("awskms://") {
            key.signing.as_str()
        } else {
            imported = workshop.cosign.import_key_pair(key.name, key.signing.as_ref());
            imported.signing()
        };
        let options = Signing { annotations: &[TESTED], ..Signing::default() };
        workshop.cosign.sign(signing, &image.by_digest(), options);
        let verdict = workshop.ask_gate(&key, &image.repository, &image.digest);
        assert_eq!(verdict.code, Some(0), "{}: {verdict:?}", key.name);
    }
}

#[test]
fn promoting_again_writes_nothing() {
    let workshop = Workshop::open();
    let upstream = workshop.push("upstream/app");
    let key = workshop.kms.create_key("ECC_NIST_P256").uri();
    let destination = workshop.name("prod/app:1");
    let promote = ["promote", &upstream.tag, &destination, "--key", &key, "--recursive"];
    workshop.civ.run(promote).expect_success("the first promotion");
    let before = workshop.registry.count();
    workshop.civ.run(promote).expect_success("the second promotion");
    let again = workshop.registry.requests().split_off(before);
    assert!(!again.is_empty());
    for request in again {
        assert!(["GET", "HEAD"].contains(&request.method.as_str()), "{request:?}");
    }
}

/// The whole of it: what a team promotes with its KMS key runs on its nodes, and nothing else does.
#[test]
fn a_node_pulls_what_civ_promoted_and_nothing_else() {
    let workshop = Workshop::open();
    let key = workshop.kms.create_key("ECC_NIST_P256");
    let upstream = workshop.push("upstream/app");
    let (promoted, unsigned) = (workshop.name("prod/app:1"), workshop.push("prod/unsigned"));
    workshop
        .civ
        .run(["promote", &upstream.tag, &promoted, "--key", &key.uri(), "--annotation", TESTED])
        .expect_success("civ promote");

    let node = Containerd::start();
    let policy = json!({ "version": "1.0", "trustPolicies": [{
        "name": "production",
        "registryScopes": [format!("{}/prod/*", workshop.registry.address())],
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
    let workshop = Workshop::open();
    let key = workshop.civ.new_key("key", &P256);
    let public = workshop.civ.run(["public-key", "--key", key.to_str().unwrap()]);
    let public = workshop.civ.write("key.pub", &public.expect_success("civ public-key").stdout);
    let public = public.to_str().unwrap();
    let theirs = workshop.cosign.generate_key_pair("theirs");
    for (name, cosign_format) in
        [("legacy", cosign::Format::Tag), ("bundle", cosign::Format::Bundle)]
    {
        let image = workshop.push(&format!("prod/{name}"));
        let reference = image.by_digest();
        let sign = ["sign", &reference, "--key", key.to_str().unwrap(), "-a", TESTED];
        workshop.civ.run(sign.into_iter().chain(["--format", name])).expect_success("civ sign");
        workshop.cosign.verify(public, &reference, &[TESTED]).expect_success(name);
        let wrong = workshop.cosign.verify(public, &reference, &["e2e-tests-passed=False"]);
        assert!(!wrong.success(), "{wrong:?}");

        let signing = Signing { format: cosign_format, ..Signing::default() };
        workshop.cosign.sign(theirs.signing(), &reference, signing);
        workshop.cosign.verify(public, &reference, &[TESTED]).expect_success("ours, still");
        workshop.cosign.verify(theirs.verifying(), &reference, &[]).expect_success("theirs");
        let again = workshop.civ.run(sign.into_iter().chain(["--format", name]));
        assert!(again.expect_success("civ sign").stdout.contains("(before)"));
    }
}

#[test]
fn sixteen_processes_sign_at_once_and_every_signature_is_there() {
    let workshop = Workshop::open();
    let image = workshop.push("prod/app");
    let reference = image.by_digest();
    let keys: Vec<_> = (0..16).map(|n| workshop.civ.new_key(&format!("key-{n}"), &P256)).collect();
    let sign = |key: &std::path::PathBuf| {
        workshop.civ.run(["sign", &reference, "--key", key.to_str().unwrap()])
    };
    std::thread::scope(|scope| {
        for key in &keys {
            scope.spawn(|| sign(key).expect_success("civ sign"));
        }
    });
    let mut tree = vec!["tree".to_owned(), reference.clone(), "-o".to_owned(), "json".to_owned()];
    for key in &keys {
        let public = workshop.civ.run(["public-key", "--key", key.to_str().unwrap()]);
        let name = format!("{}.pub", key.file_name().unwrap().to_str().unwrap());
        let public = workshop.civ.write(&name, &public.expect_success("civ public-key").stdout);
        tree.extend(["--key".to_owned(), public.to_str().unwrap().to_owned()]);
    }
    let tree = workshop.civ.run(tree.iter().map(String::as_str)).expect_success("civ tree").stdout;
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
    let before = workshop.registry.count();
    for key in &keys {
        assert!(sign(key).expect_success("civ sign").stdout.contains("(before)"));
    }
    let again = workshop.registry.requests().split_off(before);
    assert!(again.iter().all(|one| ["GET", "HEAD"].contains(&one.method.as_str())), "{again:?}");
}

#[test]
fn the_gate_asks_once_for_an_image_that_civ_signed() {
    let workshop = Workshop::open();
    let image = workshop.push("prod/app");
    let signing = workshop.civ.new_key("key", &P256).to_str().unwrap().to_owned();
    let key = workshop.key("key", signing, None);
    let sign = ["sign", &image.tag, "--key", &key.signing, "-a", TESTED];
    workshop.civ.run(sign).expect_success("civ sign");
    let before = workshop.registry.count();
    let verdict = workshop.ask_gate(&key, &image.repository, &image.digest);
    assert_eq!(verdict.code, Some(0), "{verdict:?}");
    assert_eq!(workshop.registry.count() - before, 1);
}

#[test]
fn a_real_registry_without_deletion_by_tag_is_cleaned() {
    let workshop = Workshop::open();
    let image = workshop.push("prod/app");
    let key = workshop.civ.new_key("key", &P256);
    let sign = ["sign", &image.tag, "--key", key.to_str().unwrap()];
    workshop.civ.run(sign).expect_success("civ sign");
    let clean = workshop.civ.run(["clean", &image.tag, "--confirm"]);
    assert_eq!(clean.expect_success("civ clean").stdout.matches("deleted ").count(), 2);
    let tree = workshop.civ.run(["tree", &image.tag]).expect_success("civ tree").stdout;
    assert!(tree.contains("nothing is attached"), "{tree}");
    workshop.civ.run(sign).expect_success("civ sign, again");
}
