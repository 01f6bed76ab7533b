//! What a node does with a pull: the real containerd, the verifiers as `cargo gate` builds them, and
//! signatures made by the real cosign.

use std::{fs, os::unix::fs::PermissionsExt as _, thread};

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallImage};
use civ_tests::{
    containerd::Containerd,
    cosign::{Cosign, KeyPair, Signing},
    docker_registry::DockerRegistry,
    gate, http_server,
    image::{self, Pushed},
};
use serde_json::{Value, json};

/// A node that trusts one key, and a registry beside it.
struct Node {
    registry: DockerRegistry,
    containerd: Containerd,
    cosign: Cosign,
    release: KeyPair,
}

impl Node {
    fn start() -> Self {
        let (registry, containerd) = (DockerRegistry::start(), Containerd::start());
        let cosign = Cosign::new();
        let release = cosign.generate_key_pair("release");
        containerd.set_policy("cosign", &trusting(&registry, &release));
        install(&containerd, "cosign-image-verifier");
        Self { registry, containerd, cosign, release }
    }

    /// An index whose parts are in the registry, unsigned.
    fn push(&self, repository: &str) -> Pushed {
        image::push_index(self.registry.address(), repository, "1", repository)
    }

    fn push_signed(&self, repository: &str) -> Pushed {
        let image = self.push(repository);
        let signing = Signing { recursive: true, ..Signing::default() };
        self.cosign.sign(self.release.signing(), &image.by_digest(), signing);
        image
    }
}

fn install(containerd: &Containerd, verifier: &str) {
    containerd.install(&gate::executable(verifier), verifier);
}

fn trusting(registry: &DockerRegistry, key: &KeyPair) -> String {
    json!({ "version": "1.0", "trustPolicies": [{
        "name": "production",
        "registryScopes": [format!("{}/**", registry.address())],
        "signatureVerification": { "level": "strict" },
        "keys": [{ "name": "release", "publicKey": key.public_pem }],
    }]})
    .to_string()
}

/// Neither ctr nor CRI pulls it, both say why, and nothing of it is left.
fn assert_refused(node: &Node, reference: &str, reason: &str) {
    let pull = node.containerd.pull(reference);
    assert!(!pull.success() && pull.stderr.contains(reason), "{reference}: {pull:#?}");
    let error = node.containerd.cri_pull(reference).err().unwrap_or_default();
    assert!(error.contains(reason), "{reference}: CRI said {error:?}");
    assert_eq!(node.containerd.images(), [""; 0]);
    assert_eq!(node.containerd.cri_images(), [""; 0]);
    assert_eq!(node.containerd.remains(), [""; 0]);
}

/// What the verifiers are built on. `-name` is what the user wrote and the digest is what will be
/// pulled; only CRI drops the tag of a reference that has both.
#[test]
fn a_verifier_is_told_the_name_as_written_and_the_digest_it_resolved_to() {
    let (registry, containerd) = (DockerRegistry::start(), Containerd::start());
    containerd.install_script("telling-image-verifier", r#"echo "$* < $(cat)" && exit 1"#);
    let app = image::push_index(registry.address(), "team/app", "1", "an app");
    let both = format!("{}@{}", app.tag, app.digest);

    for (reference, name_in_cri, digest) in [
        (&app.tag, &app.tag, &app.digest),
        (&app.by_digest(), &app.by_digest(), &app.digest),
        (&app.child(0), &app.child(0), &app.children[0]),
        (&both, &app.by_digest(), &app.digest),
    ] {
        let media_type = if *digest == app.digest { image::INDEX } else { image::MANIFEST };
        let call = |name| {
            format!(
                "-name {name} -digest {digest} -stdin-media-type {} < \
                 {{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":",
                gate::DESCRIPTOR
            )
        };
        let pull = containerd.pull(reference);
        assert!(pull.stderr.contains(&call(reference)), "{pull:#?}");
        let error = containerd.cri_pull(reference).err().unwrap_or_default();
        assert!(error.contains(&call(name_in_cri)), "{error}");
    }
}

#[test]
fn a_signed_image_is_pulled_by_tag_by_digest_and_by_child() {
    let node = Node::start();
    let app = node.push_signed("team/app");

    for reference in [app.tag.clone(), app.by_digest(), app.child(0)] {
        node.containerd.pull(&reference).expect_success(&reference);
        assert!(node.containerd.images_in("default").contains(&reference), "{reference}");
        let pulled = node.containerd.cri_pull(&reference);
        pulled.unwrap_or_else(|error| panic!("CRI, {reference}: {error}"));
        assert!(node.containerd.images_in("k8s.io").contains(&reference), "{reference}");
    }
    assert_ne!(node.containerd.remains(), [""; 0]);
}

#[test]
fn an_unsigned_image_is_refused_with_the_reason_and_leaves_nothing() {
    let node = Node::start();
    let app = node.push("team/app");

    for reference in [app.tag.clone(), app.by_digest(), app.child(0)] {
        assert_refused(&node, &reference, "no signature");
    }
}

#[test]
fn a_child_of_an_index_is_refused_when_only_the_index_was_signed() {
    let node = Node::start();
    let app = node.push("team/app");
    node.cosign.sign(node.release.signing(), &app.by_digest(), Signing::default());

    assert_refused(&node, &app.child(0), "no signature");
    node.containerd.pull(&app.tag).expect_success("the index");
}

/// Half of them by CRI, half of them signed, each of a repository and with content of its own.
#[test]
fn eight_pulls_at_once_are_each_judged_by_themselves() {
    let node = Node::start();
    let numbers = 0..8;
    let (by_cri, is_signed) = (|number: usize| number % 2 == 1, |number: usize| number < 4);
    let images: Vec<_> = numbers
        .map(|number| {
            let repository = format!("team/app-{number}");
            if is_signed(number) { node.push_signed(&repository) } else { node.push(&repository) }
        })
        .collect();

    let containerd = &node.containerd;
    let pull = |number: usize, image: &Pushed| {
        if by_cri(number) {
            return containerd.cri_pull(&image.tag).map(drop);
        }
        let pull = containerd.pull(&image.tag);
        if pull.success() { Ok(()) } else { Err(pull.stderr) }
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let pulls = images.iter().enumerate();
        let pulls: Vec<_> =
            pulls.map(|(number, image)| scope.spawn(move || pull(number, image))).collect();
        pulls.into_iter().map(|pull| pull.join().unwrap()).collect()
    });

    let (mut by_ctr, mut of_cri) = (Vec::new(), Vec::new());
    for (number, (image, ended)) in images.iter().zip(ended).enumerate() {
        match ended {
            Ok(()) => assert!(is_signed(number), "{} was pulled", image.tag),
            Err(reason) => {
                assert!(!is_signed(number) && reason.contains("no signature"), "{reason}");
            }
        }
        match (is_signed(number), by_cri(number)) {
            (true, true) => of_cri.extend([image.tag.clone(), image.by_digest()]),
            (true, false) => by_ctr.push(image.tag.clone()),
            (false, _) => {}
        }
    }
    let is_named = |name: &String| !name.starts_with("sha256:");
    let left = |namespace| {
        let mut names = containerd.images_in(namespace);
        names.retain(is_named);
        names.sort_unstable();
        names
    };
    of_cri.sort_unstable();
    assert_eq!((left("default"), left("k8s.io")), (by_ctr, of_cri));
}

#[test]
fn a_policy_takes_effect_at_the_next_pull() {
    let node = Node::start();
    let app = node.push_signed("team/app");
    let other = node.cosign.generate_key_pair("other");

    node.containerd.set_policy("cosign", &trusting(&node.registry, &other));
    assert_refused(&node, &app.tag, "release");

    node.containerd.set_policy("cosign", &trusting(&node.registry, &node.release));
    node.containerd.pull(&app.tag).expect_success("the key is trusted again");
}

#[test]
fn every_installed_verifier_must_agree() {
    let node = Node::start();
    let (listed, unlisted) = (node.push_signed("team/app"), node.push_signed("team/other"));
    let document = json!({ "version": "1.0", "trustedDigests": [listed.digest] });
    node.containerd.set_policy("digestion", &document.to_string());
    install(&node.containerd, "digestion-image-verifier");

    assert_refused(&node, &unlisted.tag, "verifier digestion-image-verifier rejected");
    node.containerd.pull(&listed.tag).expect_success("signed and listed");
}

/// Go reads a key in any case, and the last of two counts: without a verifier, containerd pulls what
/// another reader never saw.
#[test]
fn an_index_in_which_containerd_finds_another_manifest_is_refused() {
    let (registry, containerd) = (Registry::start().unwrap(), Containerd::start());
    let [good, evil] = ["good", "evil"].map(|owner| {
        let made = SmallImage::new(owner, "linux/amd64").annotation("owner", owner);
        let digest = made.seed_into(&registry, "team/app", owner).to_string();
        let length = registry.manifest("team/app", &digest).unwrap().bytes.len();
        json!({ "mediaType": image::MANIFEST, "digest": digest, "size": length,
            "platform": { "os": "linux", "architecture": "amd64" } })
    });
    let index = |name: &str| {
        let media_type = image::INDEX;
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{good}],"{name}":[{evil}]}}"#
        );
        let digest = registry.put_manifest("team/app", None, media_type, text);
        format!("{}/team/app@{digest}", registry.host())
    };
    let references = ["Manifests", "manife\u{17f}ts"].map(index);
    let took = |listed: &Value| {
        let path = format!("manifests/{}", listed["digest"].as_str().unwrap());
        registry.count_requests("GET", &path) > 0
    };
    for reference in &references {
        registry.clear_requests();
        containerd.pull(reference).expect_success("nothing verifies");
        assert!(took(&evil) && !took(&good), "{:?}", registry.request_lines());
        containerd.ctr(["images", "rm", "--sync", reference]).expect_success("remove");
    }

    install(&containerd, "annotations-image-verifier");
    let policy = json!({ "version": "1.0", "trustPolicies": [{ "name": "owned", "registryScopes": ["*"],
        "rules": [{ "annotation": "owner", "from": "manifest", "equals": "good" }] }] });
    containerd.set_policy("annotations", &policy.to_string());
    for reference in &references {
        let pull = containerd.pull(reference);
        let reason = " is read as \"manifests\" by some";
        assert!(!pull.success() && pull.stderr.contains(reason), "{reference}: {pull:#?}");
        assert_eq!(containerd.images(), [""; 0]);
    }
    let clear = index("others");
    containerd.pull(&clear).expect_success("an index in which both find the good manifest");
    assert_eq!(containerd.images(), [clear]);
}

#[test]
fn a_verifier_that_is_killed_blocks_the_pull() {
    let node = Node::start();
    let app = node.push_signed("team/app");
    node.containerd.install_script("other-image-verifier", "kill -KILL $$");

    assert_refused(&node, &app.tag, "signal: killed");
}

/// The gate gives up in time for containerd, which would kill it and lose the reason.
#[test]
fn the_reason_arrives_when_the_registry_of_signatures_never_answers() {
    let node = Node::start();
    let app = node.push("team/app");
    // Connections are made, and nobody takes them.
    let listener = http_server::listen();
    let address = listener.local_addr().unwrap();
    let mut policy: Value = serde_json::from_str(&trusting(&node.registry, &node.release)).unwrap();
    policy["trustPolicies"][0]["signatureRepository"] = json!(format!("{address}/signatures"));
    node.containerd.set_policy("cosign", &policy.to_string());

    assert_refused(&node, &app.tag, "(exit code 5): deadline passed while asking for");
}

#[test]
fn a_stray_file_among_the_verifiers_blocks_every_pull() {
    let node = Node::start();
    let app = node.push_signed("team/app");
    let stray = node.containerd.bin_dir().join("README");
    fs::write(&stray, "not a verifier").unwrap();
    fs::set_permissions(&stray, fs::Permissions::from_mode(0o644)).unwrap();

    assert_refused(&node, &app.tag, "failed to call verifier README");
}
