//! Everything that cosign and civ can both sign, verified by the other: both formats, every kind of
//! key that KMS and cosign share, in files and in a KMS over HTTP, images with and without
//! annotations and whole indexes, in a registry that lists referrers and in one that does not.
//!
//! Each test walks one direction in one registry and prints its matrix (`--nocapture`). Where cosign
//! itself cannot without help, the cell says so, and the test knows which cells these are.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::fmt::Write as _;

use civ_embedded_registry::Registry;
use civ_tests::civ::Civ;
use civ_tests::cosign::{Cosign, Format, Signing};
use civ_tests::docker_registry::DockerRegistry;
use civ_tests::gate::{self, Call};
use civ_tests::image::{self, Pushed};
use civ_tests::kms::Kms;
use serde_json::json;

const TESTED: &str = "e2e-tests-passed=True";
/// What cosign has to be told about keys whose digest is not SHA-256, if they come from a file.
const TOLD: &str = "told the digest";

/// A key of both programs.
struct Key {
    name: String,
    /// What `civ` signs with.
    civ: String,
    /// What `cosign` signs with.
    cosign: String,
    /// What `cosign` verifies with.
    verifying: String,
    public_pem: String,
    /// The digest that goes with the key and that cosign does not assume for a key in a file.
    digest: Option<&'static str>,
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    Annotated,
    RecursiveIndex,
}

/// A machine with both programs on it, one registry, and a KMS.
struct Workshop {
    registry: String,
    keys: Vec<Key>,
    civ: Civ,
    cosign: Cosign,
    matrix: String,
    cells: usize,
    _kms: Kms,
}

impl Workshop {
    fn open(registry: &str) -> Self {
        let kms = Kms::start();
        let civ = Civ::new().with_env(kms.env());
        let cosign = Cosign::new().with_env(kms.env());
        let curve = |curve: &str| {
            let curve = format!("ec_paramgen_curve:{curve}");
            vec!["-algorithm".to_owned(), "EC".to_owned(), "-pkeyopt".to_owned(), curve]
        };
        let rsa = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"].map(str::to_owned);
        let kinds = [
            ("p256", curve("P-256"), "ECC_NIST_P256", None),
            ("p384", curve("P-384"), "ECC_NIST_P384", Some("sha384")),
            ("p521", curve("P-521"), "ECC_NIST_P521", Some("sha512")),
            ("rsa4096", rsa.to_vec(), "RSA_4096", None),
        ];
        let mut keys = Vec::new();
        for (kind, genpkey, spec, digest) in kinds {
            let genpkey: Vec<_> = genpkey.iter().map(String::as_str).collect();
            let path = civ.new_key(&format!("{kind}.pem"), &genpkey);
            let pair = cosign.import_key_pair(kind, &path);
            keys.push(Key {
                name: format!("{kind}-file"),
                civ: path.to_str().unwrap().to_owned(),
                cosign: pair.signing().to_owned(),
                verifying: pair.verifying().to_owned(),
                public_pem: pair.public_pem,
                digest,
            });
            let key = kms.create_key(spec);
            keys.push(Key {
                name: format!("{kind}-kms"),
                civ: key.uri(),
                cosign: key.uri(),
                verifying: key.uri(),
                public_pem: key.public_pem,
                digest: None,
            });
        }
        let (registry, matrix) = (registry.to_owned(), String::new());
        Self { registry, keys, civ, cosign, matrix, cells: 0, _kms: kms }
    }

    fn push(&self, format: Format, key: &Key, shape: Shape) -> Pushed {
        let repository = format!("{format:?}/{}/{shape:?}", key.name).to_lowercase();
        match shape {
            Shape::RecursiveIndex => {
                image::push_index(&self.registry, &repository, "1", &repository)
            }
            _ => image::push(&self.registry, &repository, "1", &repository),
        }
    }

    /// Signs with one program and verifies with the other, in every way.
    fn walk(&mut self, cell: impl Fn(&Self, Format, &Key, Shape) -> &'static str) {
        for format in [Format::Tag, Format::Bundle] {
            for key in &self.keys {
                let mut line = format!("{:<7} {:<13}", format!("{format:?}"), key.name);
                for shape in [Shape::Plain, Shape::Annotated, Shape::RecursiveIndex] {
                    let outcome = cell(self, format, key, shape);
                    write!(line, " {shape:?}: {outcome:<16}").unwrap();
                    self.cells += 1;
                }
                self.matrix.push_str(line.trim_end());
                self.matrix.push('\n');
            }
        }
        println!("{}", self.matrix);
        assert_eq!(self.cells, 2 * 8 * 3);
    }

    /// Asks the gate about every image that was signed, and about one that another key signed.
    fn ask_gate(&self, key: &Key, pushed: &Pushed, shape: Shape) {
        let asked = |public_pem: &str, digest: &str| {
            let mut statement = json!({
                "name": "production",
                "registryScopes": [pushed.repository],
                "signatureVerification": { "level": "strict" },
                "keys": [{ "name": key.name, "publicKey": public_pem }],
            });
            if shape == Shape::Annotated {
                statement["annotations"] = json!({ "e2e-tests-passed": "True" });
            }
            let policy = json!({ "version": "1.0", "trustPolicies": [statement] });
            let policy = self.civ.write("policy.json", &policy.to_string());
            Call::pull(gate::executable("cosign-image-verifier"), &pushed.repository, digest)
                .policy(&policy)
                .run()
        };
        for digest in [&pushed.digest].into_iter().chain(&pushed.children) {
            let outcome = asked(&key.public_pem, digest);
            assert_eq!(outcome.code, Some(0), "{} {shape:?}: {outcome:?}", key.name);
        }
        let stranger = self.keys.iter().find(|other| other.name != key.name).unwrap();
        let outcome = asked(&stranger.public_pem, &pushed.digest);
        assert_eq!(outcome.code, Some(1), "{} {shape:?}: {outcome:?}", key.name);
    }
}

/// cosign signs, the gate verifies.
fn cosign_to_gate(registry: &str) {
    Workshop::open(registry).walk(|workshop, format, key, shape| {
        let pushed = workshop.push(format, key, shape);
        let annotations: &[&str] = if shape == Shape::Annotated { &[TESTED] } else { &[] };
        let recursive = shape == Shape::RecursiveIndex;
        let signing = Signing { format, annotations, recursive };
        workshop.cosign.sign(&key.cosign, &pushed.by_digest(), signing);
        workshop.ask_gate(key, &pushed, shape);
        "allowed"
    });
}

/// civ signs, cosign verifies, and so does the gate.
fn civ_to_cosign(registry: &str) {
    Workshop::open(registry).walk(|workshop, format, key, shape| {
        let pushed = workshop.push(format, key, shape);
        let by_digest = pushed.by_digest();
        let name = if format == Format::Tag { "legacy" } else { "bundle" };
        let mut arguments = vec!["sign", &by_digest, "--key", &key.civ, "--format", name];
        let annotations: &[&str] = if shape == Shape::Annotated { &[TESTED] } else { &[] };
        arguments.extend(annotations.iter().flat_map(|annotation| ["-a", annotation]));
        if shape == Shape::RecursiveIndex {
            arguments.push("--recursive");
        }
        workshop.civ.run(arguments).expect_success(&key.name);
        workshop.ask_gate(key, &pushed, shape);
        let mut outcome = "verified";
        for digest in [&pushed.digest].into_iter().chain(&pushed.children) {
            let image = format!("{}@{digest}", pushed.repository);
            if workshop.cosign.verify(&key.verifying, &image, annotations).success() {
                continue;
            }
            let digest = key.digest.unwrap_or_else(|| {
                let finished = workshop.cosign.verify(&key.verifying, &image, annotations);
                panic!("{} {format:?} {shape:?}: {finished:?}", key.name)
            });
            let mut arguments = vec!["verify", "--insecure-ignore-tlog", "--key", &key.verifying];
            arguments.extend(["--signature-digest-algorithm", digest]);
            arguments.extend(annotations.iter().flat_map(|annotation| ["-a", annotation]));
            arguments.push(&image);
            workshop.cosign.run(arguments).expect_success(&key.name);
            outcome = TOLD;
        }
        let expected = if key.digest.is_some() { TOLD } else { "verified" };
        assert_eq!(outcome, expected, "{} {format:?} {shape:?}", key.name);
        outcome
    });
}

#[test]
fn the_gate_allows_what_cosign_signs_where_referrers_are_listed() {
    cosign_to_gate(&Registry::start().unwrap().host());
}

#[test]
fn the_gate_allows_what_cosign_signs_where_referrers_are_not_listed() {
    cosign_to_gate(DockerRegistry::start().address());
}

#[test]
fn cosign_verifies_what_civ_signs_where_referrers_are_listed() {
    civ_to_cosign(&Registry::start().unwrap().host());
}

#[test]
fn cosign_verifies_what_civ_signs_where_referrers_are_not_listed() {
    civ_to_cosign(DockerRegistry::start().address());
}
