//! The executable and a registry that speaks TLS, as nearly all do: which certificates it believes,
//! and where it does not let the registry send it. The system's bundle, and its names, are the test's:
//! this needs root or the right to map it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a harness that cannot do its work fails the test"
)]

use std::fs;
use std::net::TcpListener;

use civ_embedded_registry::{Action, Fault};
use civ_oci::Repository;
use civ_tests::elsewhere::{self, new_root};
use civ_tests::gate::{self, Call};
use civ_tests::https::{Authority, Certificate, HttpsServer};
use civ_tests::signing::{Key, Kind, Layer, payload};
use civ_tests::stage::{Stage, Verdict};
use serde_json::json;

/// The registry's name. It leads to this machine only by the test's own `/etc/hosts`.
const HOST: &str = "r.example.test";
/// Where systems keep their bundle.
const BUNDLES: [&str; 5] = [
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];
const DEBIAN: &str = BUNDLES[1];

/// A registry with a signed image, to be asked over TLS.
struct Remote {
    stage: Stage,
    /// Host and port.
    authority: String,
    policy: std::path::PathBuf,
}

impl Remote {
    fn new(certificate: &Certificate) -> Self {
        let (stage, key) = (Stage::default(), Key::generate(Kind::P256));
        let server = HttpsServer::start(certificate, &stage.registry.host());
        let authority = format!("{HOST}:{}", server.port());
        let name = format!("{authority}/{}", stage.image.repository.path());
        stage.publish(&[Layer::signed(&key, payload(&name, &stage.image.digest, "null"))]);
        let mut statement = stage.statement(&[("release", &key)]);
        statement["registryScopes"] = json!([format!("{authority}/**")]);
        let policy = stage.write_policy(&statement);
        Self { stage, authority, policy }
    }

    /// The pull of the image, where these are the authorities of the system, in this file.
    fn pull(&self, bundle: &str, authorities: &[&Authority]) -> (tempfile::TempDir, Call) {
        let root = new_root(&["etc"]);
        let write = |name: &str, text: String| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("below the root")).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/hosts", format!("127.0.0.1 {HOST}\n"));
        write("etc/nsswitch.conf", "hosts: files\n".to_owned());
        if !bundle.is_empty() {
            write(bundle, authorities.iter().map(|authority| authority.pem()).collect());
        }
        let repository: Repository =
            format!("{}/{}", self.authority, self.stage.image.repository.path()).parse().unwrap();
        let digest = self.stage.image.digest.to_string();
        let executable = gate::executable("cosign-image-verifier").into_os_string();
        let name = format!("{repository}:1");
        let arguments = ["-name", &name, "-digest", &digest].map(Into::into);
        let command = std::iter::once(executable).chain(arguments);
        let call = elsewhere::call(root.path(), command).policy(&self.policy);
        (root, call)
    }

    /// How often the registry was asked since the last time.
    fn requests(&self) -> usize {
        let requests = self.stage.registry.requests().len();
        self.stage.registry.clear_requests();
        requests
    }
}

/// How the call must end. The root is there until then.
#[track_caller]
fn ends(what: &str, (root, call): (tempfile::TempDir, Call), code: i32, words: &str) {
    Verdict::of(&call.run()).expect(what).expect(what, code, words);
    drop(root);
}

#[test]
fn allows_over_tls_with_the_bundle_of_every_system() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let remote = Remote::new(&ours.certify(HOST));
    for bundle in BUNDLES {
        ends(bundle, remote.pull(bundle, &[&other, &ours]), 0, "signed by \"release\"");
        // The `.sig` manifest and its payload.
        assert_eq!(remote.requests(), 2, "{bundle}");
    }
    ends("nowhere", remote.pull("", &[]), 4, "no bundle of certificate authorities");
    let elsewhere = remote.pull("etc/ssl/certs/bundle.pem", &[&ours]);
    ends("elsewhere", elsewhere, 4, "no bundle of certificate authorities");
    assert_eq!(remote.requests(), 0);
}

#[test]
fn refuses_a_server_that_no_authority_of_the_system_vouches_for() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    for (what, certificate, trusted, words) in [
        ("an unknown authority", ours.certify(HOST), vec![&other], "UnknownIssuer"),
        ("an empty bundle", ours.certify(HOST), vec![], "UnknownIssuer"),
        ("vouches for itself", Certificate::self_signed(HOST), vec![&ours], "UnknownIssuer"),
        ("another name", ours.certify("s.example.test"), vec![&ours], "not valid for name"),
        ("an address", ours.certify("127.0.0.1"), vec![&ours], "not valid for name"),
        ("expired", ours.certify_once(HOST), vec![&ours], "expired"),
    ] {
        let remote = Remote::new(&certificate);
        ends(what, remote.pull(DEBIAN, &trusted), 4, words);
        assert_eq!(remote.requests(), 0, "{what}: asked a server that nobody knows");
    }
}

#[test]
fn refuses_to_be_sent_from_tls_to_no_tls_or_into_the_machine() {
    let ours = Authority::new("ours");
    let remote = Remote::new(&ours.certify(HOST));
    let plain = remote.stage.registry.host();
    let (_, plain_port) = plain.split_once(':').expect("a port");
    let (_, port) = remote.authority.split_once(':').expect("a port");
    for (target, words) in [
        (format!("http://{}", remote.authority), "not followed"),
        (format!("http://{HOST}:{plain_port}"), "not followed"),
        (format!("http://{plain}"), "not followed"),
        (format!("https://127.0.0.1:{port}"), "not followed"),
        (format!("https://localhost:{port}"), ""),
    ] {
        remote.stage.registry.clear_faults();
        let redirect = Action::Redirect(format!("{target}/v2/team/app/manifests/lured"));
        remote.stage.registry.fault(Fault::new(redirect).nth(1));
        ends(&target, remote.pull(DEBIAN, &[&ours]), 4, words);
        assert_eq!(remote.stage.registry.count_requests("GET", "lured"), 0, "{target}");
        assert!(remote.requests() > 0, "{target}: did not get as far");
    }
}

#[test]
fn neither_proxies_nor_bundles_of_the_environment_count() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let remote = Remote::new(&ours.certify(HOST));
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    for (system, environment, code, words) in
        [(&ours, &other, 0, "signed by"), (&other, &ours, 4, "UnknownIssuer")]
    {
        let (root, mut call) = remote.pull(DEBIAN, &[system]);
        let bundle = root.path().join("environment.pem");
        fs::write(&bundle, environment.pem()).unwrap();
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            call = call.env(name, &url);
        }
        let call = call.env("SSL_CERT_FILE", bundle).env("SSL_CERT_DIR", root.path());
        ends("environment", (root, call), code, words);
    }
    assert!(proxy.accept().is_err(), "the proxy was asked");
}
