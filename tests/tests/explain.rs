//! `civ policy explain --live` and `civ verify` say what the verifiers say: a set of policies and images,
//! each pair asked of the executable as containerd would, and of the command line; and registries that
//! try the patience of either.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness that cannot do its work fails the test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice;
use std::thread;
use std::time::Duration;

use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use civ_embedded_registry::{Action, Fault, Request, Response};
use civ_oci::{Digest, ImageId};
use civ_tests::bundling::{descriptor, signed_bundle, statement as intoto};
use civ_tests::civ::Civ;
use civ_tests::gate::{self, Call};
use civ_tests::image::{INDEX, MANIFEST};
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
                json!([{ "annotation": "owner", "oneOf": ["team-a"] }, { "annotation": "x", "from": "manifest", "absent": true }]),
                json!([{ "annotation": "owner", "from": "index", "equals": "team-a" }]),
                json!([{ "annotation": "owner", "from": "manifest", "present": true }]),
                json!([{ "annotation": "owner", "from": "labels", "platforms": "node", "absent": true }]),
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
    /// With which code level `strict` would have refused.
    audited_exit: Option<i64>,
    verdict: String,
    reason: String,
}

/// The value of `name` in the record, which is the last line.
fn recorded<'a>(stderr: &'a str, name: &str) -> Option<&'a str> {
    let last = stderr.lines().last()?;
    last.split(&format!(" {name}=")).nth(1)?.split(' ').next()
}

fn executable_says(kind: &str, policy: &Path, image: &ImageId) -> Said {
    let executable = gate::executable(&format!("{kind}-image-verifier"));
    let name = format!("{}:1", image.repository);
    let outcome = Call::pull(executable, &name, &image.digest.to_string()).policy(policy).run();
    let Verdict { code, reason } = Verdict::of(&outcome).expect("a verdict");
    let audited_exit = recorded(&outcome.stderr, "audited_exit");
    Said {
        exit: code.into(),
        audited_exit: audited_exit.map(|code| code.parse().expect("a number")),
        verdict: recorded(&outcome.stderr, "verdict").expect("a verdict").to_owned(),
        reason,
    }
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
            audited_exit: said["auditedExit"].as_i64(),
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
                let executed = executable_says(kind, policy, image);
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

/// Sixteen platforms, whose configurations are where a registry sends its clients: in as many hops as a
/// node follows, and in one more.
#[test]
fn explain_and_the_executable_agree_on_what_is_too_far_away() {
    const REPOSITORY: &str = "team/far";
    let stage = Stage::default();
    let put = |media_type: &str, document: &Value| {
        let bytes = document.to_string().into_bytes();
        let described = descriptor(media_type, &bytes);
        stage.registry.put_manifest(REPOSITORY, None, media_type, bytes);
        described
    };
    let child = |n: usize| {
        let config = json!({ "n": n, "config": { "Labels": { "owner": "a" } } }).to_string();
        stage.registry.put_blob(REPOSITORY, config.clone());
        let config = descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes());
        put(MANIFEST, &json!({ "schemaVersion": 2, "config": config, "layers": [] }))
    };
    let children: Vec<Value> = (0..16).map(child).collect();
    let index = put(INDEX, &json!({ "schemaVersion": 2, "manifests": children }));
    let digest: Digest = index["digest"].as_str().expect("text").parse().expect("a digest");
    let image = stage.repository(REPOSITORY).image(digest);
    let civ = Civ::new();
    let policy = civ.path("policy.json");
    let rule = json!({ "annotation": "owner", "from": "labels", "present": true });
    for (hops, level, exit, audited_exit) in
        [(3, "strict", 0, None), (4, "strict", 4, None), (4, "audit", 0, Some(4))]
    {
        stage.registry.clear_faults();
        stage.registry.fault(Fault::new(Action::edit(move |request, response| {
            if !request.path.contains("/blobs/") || request.query.len() >= hops {
                return response;
            }
            let next = format!("{}?{}", request.path, "x".repeat(request.query.len() + 1));
            Response::new(307).with_header("Location", &next)
        })));
        let document = json!({ "version": "1.0", "trustPolicies": [
            { "name": "p", "registryScopes": ["*"], "level": level, "rules": [rule] }] });
        fs::write(&policy, document.to_string()).expect("a file in a directory of ours");
        let executed = executable_says("annotations", &policy, &image);
        let explained = explain_says(&civ, "annotations", slice::from_ref(&policy), &image);
        for said in [&executed, &explained[0]] {
            assert_eq!((said.exit, said.audited_exit), (exit, audited_exit), "{hops}: {said:?}");
            assert_eq!(said.reason.contains("more than 3 redirects"), hops == 4, "{said:?}");
        }
        assert_eq!(executed.reason, explained[0].reason);
    }
}

/// What a registry may do, each time that it is asked for the signatures.
type Prepare = fn(&Stage);

fn fault(stage: &Stage, action: Action) {
    stage.registry.fault(Fault::new(action).path_contains(".sig"));
}

/// Redirects within the registry: the query says how many there were.
fn redirect(stage: &Stage, hops: usize, to: fn(&str) -> String) {
    let edit = move |request: &Request, response| match request.query.len() {
        made if made < hops => {
            let path = format!("{}?{}", request.path, "x".repeat(made + 1));
            Response::new(307).with_header("Location", to(&path))
        }
        _ => response,
    };
    fault(stage, Action::edit(edit));
}

#[test]
fn verify_reads_a_registry_with_the_patience_of_a_node_and_no_other() {
    let rows: [(&str, Prepare, Option<i64>); 9] = [
        ("nothing", |_| (), Some(0)),
        ("three redirects", |stage| redirect(stage, 3, str::to_owned), Some(0)),
        ("four redirects", |stage| redirect(stage, 4, str::to_owned), Some(4)),
        (
            "a relative redirect",
            |stage| redirect(stage, 1, |path| path.rsplit('/').next().unwrap_or_default().into()),
            None,
        ),
        ("a redirect to a space", |stage| redirect(stage, 1, |path| path.replace('?', "? ")), None),
        ("many header fields", |stage| fault(stage, Action::ManyHeaders(1_000)), Some(4)),
        ("one 500", |stage| unavailable(stage, 500, 1), Some(4)),
        ("two 503", |stage| unavailable(stage, 503, 2), Some(4)),
        (
            "slow answers",
            |stage| stage.registry.fault(Fault::new(Action::Delay(Duration::from_millis(4_500)))),
            Some(5),
        ),
    ];
    let play = |(what, prepare, expected): (&str, Prepare, Option<i64>)| {
        let (stage, key, civ) = (Stage::default(), Key::generate(Kind::P256), Civ::new());
        stage.publish(&[stage.honest(&key)]);
        let document =
            json!({ "version": "1.0", "trustPolicies": [stage.statement(&[("release", &key)])] });
        let policy = civ.write("policy.json", &document.to_string());
        let prepared = || {
            stage.registry.clear_faults();
            prepare(&stage);
        };
        prepared();
        let executed = executable_says("cosign", &policy, &stage.image);
        if let Some(expected) = expected {
            assert_eq!(executed.exit, expected, "{what}: {executed:?}");
        }
        prepared();
        let explained = explain_says(&civ, "cosign", slice::from_ref(&policy), &stage.image);
        assert_eq!(explained, [executed], "{what}");
        prepared();
        let image = stage.image.to_string();
        let policy = policy.to_str().expect("a temporary path is UTF-8");
        let verified = civ.run(["verify", &image, "--policy", policy, "--output", "json"]);
        let report: Value = serde_json::from_str(&verified.stdout).expect("a report");
        let exit = if explained[0].exit == 5 { 4 } else { explained[0].exit };
        assert_eq!(verified.code.map(i64::from), Some(exit), "{what}: {verified:?}");
        assert_eq!(report["reason"], explained[0].reason, "{what}");
    };
    thread::scope(|scope| {
        for row in rows {
            scope.spawn(move || play(row));
        }
    });
}

/// This status for the first requests of each program.
fn unavailable(stage: &Stage, status: u16, times: u64) {
    let action = Action::status(status);
    stage.registry.fault(Fault::new(action).path_contains(".sig").first(times));
}
