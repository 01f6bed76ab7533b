//! A pull over TLS by the real containerd, which is told of the registry's authority in `hosts.toml`;
//! the verifier finds it in the system's bundle.

#![allow(clippy::unwrap_used, reason = "a harness that cannot do its work fails the test")]

use civ_tests::containerd::{Containerd, Setup};
use civ_tests::gate;
use civ_tests::https::{Authority, HttpsServer};
use civ_tests::signing::{Key, Kind, Layer, payload};
use civ_tests::stage::{Stage, document};
use serde_json::json;

const HOST: &str = "r.example.test";

#[test]
fn an_image_behind_a_private_authority_is_pulled_once_the_system_knows_it() {
    let (ours, key) = (Authority::new("ours"), Key::generate(Kind::P256));
    for (known, reason) in [(true, None), (false, Some("UnknownIssuer"))] {
        let stage = Stage::default();
        let server = HttpsServer::start(&ours.certify(HOST), &stage.registry.host());
        let authority = format!("{HOST}:{}", server.port());
        let name = format!("{authority}/{}", stage.image.repository.path());
        stage.publish(&[Layer::signed(&key, payload(&name, &stage.image.digest, "null"))]);

        let append = |what: &str, to: &str| format!("{what} >> {to}\n");
        let mut before = append(&format!("echo 127.0.0.1 {HOST}"), "/etc/hosts");
        if known {
            let bundles = "for bundle in /etc/ssl/certs/ca-certificates.crt \
                           /etc/pki/tls/certs/ca-bundle.crt; do \
                           if [ -f $bundle ]; then cat \"$1/ca.pem\" >> $bundle; fi; done\n";
            before.push_str(bundles);
        }
        let containerd = Containerd::start_with(&Setup {
            before,
            files: vec![("ca.pem".to_owned(), ours.pem())],
            ..Setup::default()
        });
        let ca = containerd.file("ca.pem");
        let hosts = format!(
            "server = \"https://{authority}\"\n[host.\"https://{authority}\"]\n  \
             capabilities = [\"pull\", \"resolve\"]\n  ca = \"{}\"\n",
            ca.display()
        );
        containerd.set_hosts(&authority, &hosts);
        let mut statement = stage.statement(&[("release", &key)]);
        statement["registryScopes"] = json!([format!("{authority}/**")]);
        containerd.set_policy("cosign", &document(&statement));
        containerd.install(&gate::executable("cosign-image-verifier"), "cosign-image-verifier");

        let pull = containerd.pull(&format!("{name}:1"));
        match reason {
            None => drop(pull.expect_success("ctr images pull")),
            Some(reason) => {
                assert!(!pull.success() && pull.stderr.contains(reason), "{pull:#?}");
                assert_eq!(containerd.images(), [""; 0]);
            }
        }
    }
}
