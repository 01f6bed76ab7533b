//! Both programs that sign, civ and cosign, and every kind of key that they share: in files, and in a
//! KMS over HTTP. And the gate, asked in such a way that it must tell keys apart.

use std::path::Path;

use serde_json::json;

use crate::civ::Civ;
use crate::cosign::Cosign;
use crate::gate::{self, Call, Outcome};
use crate::image::{self, Pushed};
use crate::kms::Kms;
use crate::signing::{self, Kind};

/// What [`Workshop::ask_gate`] asks for when an annotation is asked for, as `-a` takes it.
pub const TESTED: &str = "e2e-tests-passed=True";

/// The kinds of keys.
const KINDS: [KeyKind; 6] = [
    KeyKind { name: "p256", kind: Kind::P256, spec: Some("ECC_NIST_P256"), digest: None },
    KeyKind { name: "p384", kind: Kind::P384, spec: Some("ECC_NIST_P384"), digest: Some("sha384") },
    KeyKind { name: "p521", kind: Kind::P521, spec: Some("ECC_NIST_P521"), digest: Some("sha512") },
    KeyKind { name: "rsa2048", kind: Kind::Rsa2048, spec: Some("RSA_2048"), digest: None },
    KeyKind { name: "rsa4096", kind: Kind::Rsa4096, spec: Some("RSA_4096"), digest: None },
    KeyKind { name: "ed25519", kind: Kind::Ed25519, spec: None, digest: None },
];

/// How many keys [`Workshop::keys`] makes.
pub const KEYS: usize = 11;

/// A machine with civ and cosign on it, beside a registry and a KMS.
#[derive(Debug)]
pub struct Workshop {
    /// Where the keys are.
    pub kms: Kms,
    /// Knows the KMS.
    pub civ: Civ,
    /// Knows the KMS.
    pub cosign: Cosign,
    registry: String,
}

/// A kind of key that both programs take.
struct KeyKind {
    name: &'static str,
    kind: Kind,
    /// What KMS calls it, where cosign takes it from there.
    spec: Option<&'static str>,
    /// The digest that goes with it, where it is not SHA-256.
    digest: Option<&'static str>,
}

/// A signing key of both programs.
#[derive(Debug)]
pub struct Key {
    /// `p384-file`, `p384-kms`
    pub name: String,
    /// What civ takes as `--key` to sign.
    pub civ: String,
    /// What cosign takes as `--key` to sign: a file has to be in a format of its own.
    pub cosign: String,
    /// What cosign takes as `--key` to verify: a file with the public key.
    pub public_file: String,
    /// Another: its name in the KMS.
    pub uri: Option<String>,
    /// The digest that goes with the key, where cosign does not assume it for `public_file`.
    pub digest: Option<&'static str>,
    /// The public half, PEM.
    pub public_pem: String,
    /// The public half of another key of the same kind, which signs nothing.
    stranger_pem: String,
}

impl Workshop {
    /// Beside this registry, with no keys.
    pub fn open(registry: &str) -> Self {
        let kms = Kms::start();
        let civ = Civ::new().with_env(kms.env());
        let cosign = Cosign::new().with_env(kms.env());
        Self { kms, civ, cosign, registry: registry.to_owned() }
    }

    /// `REGISTRY/REPOSITORY`
    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.registry)
    }

    /// Pushes an image, unsigned.
    pub fn push(&self, repository: &str) -> Pushed {
        image::push(&self.registry, repository, "1", repository)
    }

    /// Pushes an index, unsigned.
    pub fn push_index(&self, repository: &str) -> Pushed {
        image::push_index(&self.registry, repository, "1", repository)
    }

    /// A new key of each kind, in a file and, where both programs take it from there, in the KMS.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for kind in &KINDS {
            let stranger = signing::Key::generate(kind.kind).public_pem();
            keys.push(self.key_in_file(kind, &stranger));
            keys.extend(kind.spec.map(|spec| self.key_in_kms(kind, spec, &stranger)));
        }
        assert_eq!(keys.len(), KEYS);
        keys
    }

    fn key_in_file(&self, kind: &KeyKind, stranger: &str) -> Key {
        let name = format!("{}-file", kind.name);
        let path = self.civ.new_key(&format!("{name}.pem"), kind.kind);
        let pair = self.cosign.import_key_pair(&name, &path);
        let key = self.key(name, &text(&path), kind, stranger);
        assert_eq!(key.public_pem, pair.public_pem, "{}", key.name);
        Key { cosign: pair.signing().to_owned(), ..key }
    }

    fn key_in_kms(&self, kind: &KeyKind, spec: &str, stranger: &str) -> Key {
        let made = self.kms.create_key(spec);
        let key = self.key(format!("{}-kms", kind.name), &made.uri(), kind, stranger);
        assert_eq!(key.public_pem, made.public_pem, "{}", key.name);
        Key { uri: Some(made.uri()), ..key }
    }

    fn key(&self, name: String, signing: &str, kind: &KeyKind, stranger: &str) -> Key {
        let printed = self.civ.run(["public-key", "--key", signing]);
        let public_pem = printed.expect_success("civ public-key").stdout;
        Key {
            civ: signing.to_owned(),
            cosign: signing.to_owned(),
            public_file: text(&self.civ.write(&format!("{name}.pub"), &public_pem)),
            uri: None,
            digest: kind.digest,
            public_pem,
            stranger_pem: stranger.to_owned(),
            name,
        }
    }

    /// The gate's verdict on a pull by digest, where a signature of this key is asked for, and
    /// [`TESTED`] in it if `tested`.
    pub fn ask_gate(
        &self,
        public_pem: &str,
        repository: &str,
        digest: &str,
        tested: bool,
    ) -> Outcome {
        let mut statement = json!({
            "name": "production",
            "registryScopes": [repository],
            "signatureVerification": { "level": "strict" },
            "keys": [{ "name": "release", "publicKey": public_pem }],
        });
        if tested {
            statement["annotations"] = json!({ "e2e-tests-passed": "True" });
        }
        let policy = json!({ "version": "1.0", "trustPolicies": [statement] });
        let policy = self.civ.write("policy.json", &policy.to_string());
        Call::pull(gate::executable("cosign-image-verifier"), repository, digest)
            .policy(&policy)
            .run()
    }

    /// Panics unless the gate allows this pull because `key` signed the image, and refuses it where a
    /// stranger's key of the same kind is asked for.
    #[track_caller]
    pub fn assert_signed(&self, key: &Key, repository: &str, digest: &str, tested: bool) {
        for (public_pem, code, words) in [
            (&key.public_pem, 0, "signed by \"release\""),
            (&key.stranger_pem, 1, "signature invalid: not made by \"release\""),
        ] {
            let outcome = self.ask_gate(public_pem, repository, digest, tested);
            let as_expected = outcome.code == Some(code) && outcome.stdout.starts_with(words);
            assert!(as_expected, "{}, {repository}: not {words:?}: {outcome:?}", key.name);
        }
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a temporary path is UTF-8").to_owned()
}
