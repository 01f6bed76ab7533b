//! The real cosign, signing and verifying with nothing but a key.
//!
//! It gets an empty home, so that neither the developer's credentials nor a cached TUF root can
//! play a part, and the flags with which cosign 3 asks no transparency log.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    programs::{self, Finished},
    scratch,
};

/// The password of every key file here.
pub const PASSWORD: &str = "correct horse";

/// A cosign with a home of its own.
#[derive(Debug)]
pub struct Cosign {
    home: TempDir,
    env: BTreeMap<String, String>,
}

/// A key pair in files of cosign's format.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The encrypted private key's file; what `--key` takes to sign.
    pub private: PathBuf,
    /// The public key's file; what `--key` takes to verify.
    pub public: PathBuf,
    /// The public key, PEM.
    pub public_pem: String,
}

impl KeyPair {
    /// The argument of `--key` to sign.
    pub fn signing(&self) -> &str {
        self.private.to_str().expect("a temporary path is UTF-8")
    }

    /// The argument of `--key` to verify.
    pub fn verifying(&self) -> &str {
        self.public.to_str().expect("a temporary path is UTF-8")
    }
}

/// Which of cosign's two formats to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The `sha256-….sig` tag.
    Tag,
    /// A bundle of version 0.3 that refers to the image, cosign 3's default.
    Bundle,
}

/// What to sign, beside the image.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'a> {
    /// In which format.
    pub format: Format,
    /// `k=v` to put under the signature.
    pub annotations: &'a [&'a str],
    /// Whether to sign an index's children as well.
    pub recursive: bool,
}

impl Default for Signing<'_> {
    fn default() -> Self {
        Self { format: Format::Tag, annotations: &[], recursive: false }
    }
}

impl Default for Cosign {
    fn default() -> Self {
        Self::new()
    }
}

impl Cosign {
    /// With an empty home.
    pub fn new() -> Self {
        Self { home: scratch::directory(), env: BTreeMap::new() }
    }

    /// With more in its environment, e.g. [`Kms::env`](crate::kms::Kms::env).
    #[must_use]
    pub fn with_env(mut self, env: BTreeMap<String, String>) -> Self {
        self.env.extend(env);
        self
    }

    /// Runs any command of cosign's.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Finished {
        let home = self.home.path();
        programs::run(
            Command::new(programs::find("cosign"))
                .args(arguments)
                .current_dir(home)
                .env_clear()
                .env("HOME", home)
                .env("TUF_ROOT", home.join("tuf"))
                .env("COSIGN_PASSWORD", PASSWORD)
                .envs(&self.env),
        )
    }

    /// A new ECDSA P-256 key pair, cosign's default.
    pub fn generate_key_pair(&self, name: &str) -> KeyPair {
        self.run(["generate-key-pair", "--output-key-prefix", name])
            .expect_success("cosign generate-key-pair");
        self.key_pair(name)
    }

    /// A key pair from a private key in PEM (`EC`, `RSA` or PKCS#8), as openssl writes it.
    pub fn import_key_pair(&self, name: &str, pem: &Path) -> KeyPair {
        let pem = pem.to_str().expect("a temporary path is UTF-8");
        self.run(["import-key-pair", "--key", pem, "--output-key-prefix", name])
            .expect_success("cosign import-key-pair");
        self.key_pair(name)
    }

    fn key_pair(&self, name: &str) -> KeyPair {
        let path = |extension| self.home.path().join(format!("{name}.{extension}"));
        let public_pem = fs::read_to_string(path("pub")).expect("cosign writes a public key");
        KeyPair { private: path("key"), public: path("pub"), public_pem }
    }

    /// The public key, PEM, of a file or a KMS key.
    pub fn public_key(&self, key: &str) -> String {
        self.run(["public-key", "--key", key]).expect_success("cosign public-key").stdout
    }

    /// Signs `REPOSITORY@DIGEST` with a key file or `awskms:///…`, telling no transparency log.
    pub fn sign(&self, key: &str, reference: &str, signing: Signing<'_>) {
        let mut arguments =
            vec!["sign", "--use-signing-config=false", "--tlog-upload=false", "--key", key];
        if signing.format == Format::Tag {
            arguments.push("--new-bundle-format=false");
        }
        if signing.recursive {
            arguments.push("--recursive");
        }
        for annotation in signing.annotations {
            arguments.extend(["--annotations", annotation]);
        }
        arguments.push(reference);
        self.run(arguments).expect_success("cosign sign");
    }

    /// Verifies with a public key's file or `awskms:///…`, asking no transparency log. cosign ends
    /// with 10 when there is no signature, with 12 when none matches.
    pub fn verify(&self, key: &str, reference: &str, annotations: &[&str]) -> Finished {
        self.verify_told(key, None, reference, annotations)
    }

    /// The same, told which digest the key signs: for a key in a file, cosign assumes SHA-256.
    pub fn verify_told(
        &self,
        key: &str,
        digest: Option<&str>,
        reference: &str,
        annotations: &[&str],
    ) -> Finished {
        let mut arguments = vec!["verify", "--insecure-ignore-tlog", "--key", key];
        if let Some(digest) = digest {
            arguments.extend(["--signature-digest-algorithm", digest]);
        }
        for annotation in annotations {
            arguments.extend(["--annotations", annotation]);
        }
        arguments.push(reference);
        self.run(arguments)
    }
}
