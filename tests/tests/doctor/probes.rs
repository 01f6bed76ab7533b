//! What a probe leaves on the node: nothing of its own, and all that was there.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use civ_tests::http_server::HttpServer;

use super::*;

/// A node on which the images of one repository may be pulled.
fn node() -> (Node, String) {
    let node = Node::start(str::to_owned, &[]);
    let repository = format!("{}/team/app", node.registry.address());
    node.set_statements(&json!([
        { "name": "app", "registryScopes": [repository], "signatureVerification": { "level": "skip" } },
        { "name": "all", "registryScopes": ["*"], "signatureVerification": { "level": "strict" },
          "keys": [{ "name": "release", "publicKey": some_key() }] },
    ]));
    (node, repository)
}

#[test]
fn a_tag_of_the_operators_is_neither_moved_nor_removed() {
    let (node, repository) = node();
    let first = image::push(node.registry.address(), "team/app", "prod", "first");
    node.containerd.cri_pull(&first.tag).unwrap();
    let before = node.containerd.cri_images();
    let second = image::push(node.registry.address(), "team/app", "prod", "second");
    assert_ne!(first.digest, second.digest);

    for image in [&first.tag, &first.by_digest()] {
        let examined = node.doctor(&["--offline", "--probe-allowed", image]);
        assert_eq!(examined.code, Some(1), "{examined:#?}");
        assert_eq!(examined.report["gate"], "unknown", "{examined:#?}");
        examined.assert_finds("unknown", "probe.allowed", None);
        assert_eq!(node.containerd.cri_images(), before);
    }

    // The image under another name: that is added, and said, since CRI would remove both.
    let again = image::push(node.registry.address(), "team/app", "again", "first");
    assert_eq!(first.digest, again.digest);
    let examined = node.doctor(&["--offline", "--probe-allowed", &again.tag]);
    assert_eq!(examined.code, Some(0), "{examined:#?}");
    examined.assert_finds("warning", "probe.clean-up", None);
    let said = format!("ctr -n k8s.io images rm {repository}:again");
    assert!(examined.report.to_string().contains(&said), "{examined:#?}");
    assert!(node.containerd.cri_images().contains(&first.tag));
    let removed = node.containerd.ctr(["-n", "k8s.io", "images", "rm", &again.tag]);
    removed.expect_success("ctr images rm");
    assert!(node.containerd.images().contains(&first.tag));
}

#[test]
fn a_probe_that_is_told_to_stop_cleans_up_first() {
    let (node, _) = node();
    let app = image::push(node.registry.address(), "team/app", "1", "app");
    let socket = node.containerd.file("socket");
    let asked = node.containerd.file("asked");
    let slow = format!("touch {}; sleep 1; exit 0", asked.display());
    node.containerd.install_script("a-slow-image-verifier", &slow);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let root = node.containerd.root();
        let arguments = [
            &["doctor", "--offline", "--root", &root, "--address", socket.to_str().unwrap()][..],
            &["--probe-allowed", &app.tag],
        ];
        let mut command = node.containerd.civ_in(&[], arguments.concat());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while !asked.exists() {
            assert!(start.elapsed() < Duration::from_secs(30), "the verifier was not asked");
            thread::sleep(Duration::from_millis(5));
        }
        let kill = ["-s", signal, &child.id().to_string()];
        assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{signal}: {output:?}");
        assert_eq!(node.containerd.images(), [""; 0], "{signal}");
        fs::remove_file(&asked).unwrap();
    }
    let pulled = "returns image reference";
    assert_eq!(node.containerd.log().matches(pulled).count(), 3, "the images did come in");
}

#[test]
fn a_registry_that_speaks_as_a_verifier_is_not_taken_for_one() {
    let (node, _) = node();
    let said = "image verifier bindir blocked pull of x for reason: verifier x rejected image";
    let registry = HttpServer::start(move |asked| {
        if asked.line.starts_with("HEAD") || asked.line.ends_with("/v2/") {
            return (200, String::new());
        }
        let error = json!({ "errors": [{ "code": "DENIED", "message": said }] });
        (403, error.to_string())
    });
    let image = format!("{}/team/app:1", registry.authority());
    let plain = format!("server = \"{}\"\n", registry.url());
    node.containerd.set_hosts(registry.authority(), &plain);
    // No verifier has a word in it.
    let verifier = node.containerd.bin_dir().join("cosign-image-verifier");
    fs::remove_file(verifier).unwrap();
    let error = node.containerd.cri_pull(&image).unwrap_err();
    assert!(error.contains(said), "{error}");
    let examined = node.doctor(&["--offline", "--probe", &image]);
    assert_eq!(examined.code, Some(1));
    examined.assert_finds("unknown", "probe.refused", None);
}

#[test]
fn one_image_is_not_probed_for_both() {
    let (node, _) = node();
    let finished =
        node.containerd.civ(["doctor", "--probe", "r.io/a:1", "--probe-allowed", "r.io/a:1"]);
    assert_eq!(finished.code, Some(2), "{finished:#?}");
}
