//! `civ policy explain --live` says what the verifiers say: a set of policies and images, each pair
//! asked of the executable as containerd would, and of the command line.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness that cannot do its work fails the test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use civ_oci::{Digest, ImageId};
use civ_tests::bundling::{signed_bundle, statement as intoto};
use civ_tests::civ::Civ;
use civ_tests::gate::{self, Call};
use civ_tests::signing::{Key, Kind, Layer, payload};
use civ_tests::stage::{Stage, Verdict};
use serde_json::{Value, json};

/// What the issue of trust comes down to: who may have said what, where.
const KINDS: [&str; 3] = ["annotations", "cosign", "digestion"];

struct World {
    stage: Stage,
    images: Vec<(&'static str, ImageId)>,
    keys: [Key; 2],
}

impl World {
    fn new() -> Self {
        let stage = Stage::default();
        let [ours, theirs] = [Key::generate(Kind::P256), Key::generate(Kind::P384)];
        let put = |image: SmallImage, path: &str| {
            let digest = image.seed_into(&stage.registry, path, "1");
            stage.repository(path).image(digest)
        };
        let small = |seed: &str| SmallImage::new(seed, "linux/amd64");
        let says = |image: &ImageId, optional: &str| {
            payload(&image.repository.to_string(), &image.digest, optional)
        };
        let mut images = Vec::new();

        let signed = put(small("signed"), "team/signed");
        stage.publish_for(&signed, &[Layer::signed(&ours, says(&signed, "null"))]);
        images.push(("signed by us", signed));

        let tested = put(small("tested").annotation("owner", "team-a"), "team/tested");
        let passed = r#"{"e2e-tests-passed":"True"}"#;
        stage.publish_for(&tested, &[Layer::signed(&ours, says(&tested, passed))]);
        images.push(("signed with an annotation", tested));

        let both = put(small("both").label("owner", "team-a"), "prod/both");
        let layers = [&ours, &theirs].map(|key| Layer::signed(key, says(&both, "null")));
        stage.publish_for(&both, &layers);
        images.push(("signed by both", both));

        let other = put(small("other"), "prod/theirs");
        stage.publish_for(&other, &[Layer::signed(&theirs, says(&other, passed))]);
        images.push(("signed by another", other));

        let moved = put(small("moved").annotation("owner", "team-b"), "prod/moved");
        let elsewhere = payload("other.example/app", &moved.digest, "null");
        stage.publish_for(&moved, &[Layer::signed(&ours, elsewhere)]);
        images.push(("signed for another repository", moved));

        let tampered = put(small("tampered"), "team/tampered");
        let mut layer = Layer::signed(&ours, says(&tampered, "null"));
        layer.payload = says(&tampered, passed).into_bytes();
        stage.publish_for(&tampered, &[layer]);
        images.push(("tampered with", tampered));

        let old = "2001-01-01T00:00:00Z";
        let created = "org.opencontainers.image.created";
        let old = put(small("old").annotation(created, old), "team/old");
        images.push(("unsigned and old", old));

        let index = SmallIndex::new("index").annotation("owner", "team-a");
        let digest = index.seed_into(&stage.registry, "prod/index", "1");
        let index = stage.repository("prod/index").image(digest);
        stage.publish_for(&index, &[Layer::signed(&ours, says(&index, passed))]);
        images.push(("a signed index", index.clone()));
        let children = stage.registry.manifest("prod/index", &index.digest.to_string());
        let children: Value =
            serde_json::from_slice(&children.expect("it was put").bytes).expect("an index");
        let child: Digest =
            children["manifests"][0]["digest"].as_str().expect("a child").parse().expect("valid");
        images.push(("a child of it", index.repository.image(child)));

        let subject = stage.image.clone();
        stage.attach(&signed_bundle(&ours, &intoto(&subject.digest, "{}")));
        images.push(("signed by a bundle", subject));

        let absent = stage.repository("team/absent").image(Digest::sha256(b"absent"));
        images.push(("absent", absent));
        let keys = [ours, theirs];
        Self { stage, images, keys }
    }

    /// Every policy by its kind.
    fn policies(&self) -> BTreeMap<&'static str, Vec<Value>> {
        let host = self.stage.registry.host();
        let scopes = [format!("{host}/**"), format!("{host}/team/*"), "*".to_owned()];
        let [ours, theirs] = self.keys.each_ref().map(Key::public_pem);
        let [a, b] = [
            json!({ "name": "a", "publicKey": ours }),
            json!({ "name": "b", "publicKey": theirs }),
        ];
        let mut policies: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        let mut add = |kind, statement: Value| {
            let document = json!({ "version": "1.0", "trustPolicies": [statement] });
            policies.entry(kind).or_default().push(document);
        };
        for (scope, level) in scopes.iter().flat_map(|scope| [(scope, "strict"), (scope, "audit")])
        {
            let base = json!({ "name": "p", "registryScopes": [scope] });
            let with = |more: Value| {
                let mut statement = base.clone();
                let members = statement.as_object_mut().expect("an object");
                members.extend(more.as_object().expect("an object").clone());
                statement
            };
            let verification = json!({ "level": level });
            for more in [
                json!({ "keys": [a] }),
                json!({ "keys": [a, b], "threshold": 2 }),
                json!({ "keys": [a, b], "annotations": { "e2e-tests-passed": "True" } }),
                json!({ "keys": [a], "signedIdentity": { "type": "any" } }),
                json!({ "keys": [a], "signedIdentity": { "type": "requireRepository" } }),
            ] {
                let mut statement = with(more);
                statement["signatureVerification"] = verification.clone();
                add("cosign", statement);
            }
            for rules in [
                json!([{ "annotation": "owner", "present": true }]),
                json!([{ "annotation": "owner", "oneOf": ["team-a"] }, { "annotation": "x", "absent": true }]),
                json!([{ "anyOf": [
                    { "annotation": "owner", "matches": "team-[ab]" },
                    { "annotation": "owner", "equals": "team-a", "from": "labels" }] }]),
                json!([{ "annotation": "org.opencontainers.image.created", "maxAge": "30d" }]),
            ] {
                add("annotations", with(json!({ "level": level, "rules": rules })));
            }
            for listed in [&self.images[..3], &self.images[5..]] {
                let digests: Vec<_> =
                    listed.iter().map(|(_, image)| image.digest.to_string()).collect();
                add("digestion", with(json!({ "level": level, "trustedDigests": digests })));
            }
        }
        for kind in KINDS {
            policies.entry(kind).or_default().push(json!({ "version": "2.0" }));
        }
        let skip = json!({ "version": "1.0", "trustPolicies": [{ "name": "free",
            "registryScopes": [scopes[1]], "signatureVerification": { "level": "skip" } }] });
        policies.entry("cosign").or_default().push(skip);
        policies
    }
}

/// What was said of a pair.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    exit: i64,
    verdict: String,
    reason: String,
}

fn verdict_in_record(stderr: &str) -> String {
    let last = stderr.lines().last().unwrap_or_default();
    let word = last.split(" verdict=").nth(1).and_then(|rest| rest.split(' ').next());
    word.unwrap_or_default().to_owned()
}

fn executable_says(kind: &str, policy: &Path, image: &ImageId) -> Said {
    let executable = gate::executable(&format!("{kind}-image-verifier"));
    let name = format!("{}:1", image.repository);
    let outcome = Call::pull(executable, &name, &image.digest.to_string()).policy(policy).run();
    let Verdict { code, reason } = Verdict::of(&outcome).expect("a verdict");
    Said { exit: code.into(), verdict: verdict_in_record(&outcome.stderr), reason }
}

/// What the command line says of `image`, by policy.
fn explain_says(civ: &Civ, kind: &str, policies: &[PathBuf], image: &ImageId) -> Vec<Said> {
    let name = image.to_string();
    let mut arguments =
        vec!["policy", "explain", &name, "--live", "--kind", kind, "--output", "json"];
    for policy in policies {
        arguments.extend(["--policy", policy.to_str().expect("a temporary path is UTF-8")]);
    }
    let finished = civ.run(arguments);
    let report: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    let said = |policy: &Value| {
        let said = &policy["verdict"];
        Said {
            exit: said["exit"].as_i64().expect("an exit code"),
            verdict: said["verdict"].as_str().expect("a verdict").to_owned(),
            reason: said["reason"].as_str().expect("a reason").to_owned(),
        }
    };
    let said: Vec<Said> =
        report["policies"].as_array().expect("policies").iter().map(said).collect();
    let all_allow = said.iter().all(|said| said.exit == 0);
    assert_eq!(report["allowed"], all_allow);
    assert_eq!(finished.code == Some(0), all_allow, "{finished:?}");
    said
}

#[test]
fn explain_and_the_executable_agree_on_every_pair() {
    let world = World::new();
    let civ = Civ::new();
    let mut seen: BTreeMap<(&str, String, i64), usize> = BTreeMap::new();
    for (kind, documents) in world.policies() {
        let write = |(number, document): (usize, &Value)| {
            let path = civ.path(&format!("{kind}-{number}.json"));
            fs::write(&path, document.to_string()).expect("a file in a directory of ours");
            path
        };
        let policies: Vec<PathBuf> = documents.iter().enumerate().map(write).collect();
        for (what, image) in &world.images {
            let explained = explain_says(&civ, kind, &policies, image);
            assert_eq!(explained.len(), policies.len());
            for ((policy, document), explained) in policies.iter().zip(&documents).zip(explained) {
                let mut executed = executable_says(kind, policy, image);
                // Two clients name a registry's failure in words of their own.
                if executed.exit == 4 || executed.reason.contains("would refuse") {
                    executed.reason.clone_from(&explained.reason);
                }
                assert_eq!(explained, executed, "{what}, {kind}: {document}");
                *seen.entry((kind, explained.verdict, explained.exit)).or_default() += 1;
            }
        }
    }
    let pairs: usize = seen.values().sum();
    println!("{pairs} pairs: {seen:?}");
    assert!(pairs >= 500, "{pairs} pairs");
    // The set is no proof unless every kind says everything in it.
    for kind in KINDS {
        for (verdict, exit) in [("allow", 0), ("audit", 0), ("refuse", 1), ("refuse", 3)] {
            assert!(seen.contains_key(&(kind, verdict.to_owned(), exit)), "no {verdict} of {kind}");
        }
    }
}
