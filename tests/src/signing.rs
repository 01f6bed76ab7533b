//! Signers and attackers: keys, payloads, and `.sig` images good and bad.
//!
//! Keys and signatures are made by aws-lc (and what it does not make, P-384 with SHA-256, by the crate
//! p384), payloads and manifests are written out by hand: none of
//! it by the code that the gate verifies them with.

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsBigEndian as _, AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as aws_lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::Digest;
use p384::ecdsa::signature::hazmat::PrehashSigner as _;
use serde_json::{Value, json};

use crate::image;

/// The media type of a payload in a `.sig` image.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of a layer that holds its signature.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What a payload says it is.
pub const TYPE: &str = "cosign container image signature";

/// A kind of key, and how it signs where the key alone does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    P256,
    P384,
    P384Sha256,
    P521,
    P521Sha256,
    Secp256k1,
    Ed25519,
    Rsa2048,
    Rsa2048Pss,
    Rsa3072PssSha512,
    Rsa4096,
}

/// A key pair.
#[derive(Debug)]
pub struct Key {
    kind: Kind,
    pair: Pair,
    spki: Vec<u8>,
}

#[derive(Debug)]
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    /// A new one.
    pub fn generate(kind: Kind) -> Self {
        let ecdsa = |algorithm| {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            (spki(pair.public_key()), Pair::Ecdsa(pair))
        };
        let rsa = |size| {
            let pair = RsaKeyPair::generate(size).unwrap();
            (spki(pair.public_key()), Pair::Rsa(pair))
        };
        let (spki, pair) = match kind {
            Kind::P256 => ecdsa(&aws_lc::ECDSA_P256_SHA256_ASN1_SIGNING),
            Kind::P384 | Kind::P384Sha256 => ecdsa(&aws_lc::ECDSA_P384_SHA384_ASN1_SIGNING),
            Kind::P521 => ecdsa(&aws_lc::ECDSA_P521_SHA512_ASN1_SIGNING),
            Kind::P521Sha256 => ecdsa(&aws_lc::ECDSA_P521_SHA256_ASN1_SIGNING),
            Kind::Secp256k1 => ecdsa(&aws_lc::ECDSA_P256K1_SHA256_ASN1_SIGNING),
            Kind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().unwrap();
                (spki(pair.public_key()), Pair::Ed25519(pair))
            }
            Kind::Rsa2048 | Kind::Rsa2048Pss => rsa(KeySize::Rsa2048),
            Kind::Rsa3072PssSha512 => rsa(KeySize::Rsa3072),
            Kind::Rsa4096 => rsa(KeySize::Rsa4096),
        };
        Self { kind, pair, spki }
    }

    /// Its signature over `message`: DER for curves, as cosign and KMS write it.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) if self.kind == Kind::P384Sha256 => {
                let private = pair.private_key().as_be_bytes().unwrap();
                let key = p384::ecdsa::SigningKey::from_slice(private.as_ref()).unwrap();
                let hash = digest::digest(&digest::SHA256, message);
                let signature: p384::ecdsa::DerSignature = key.sign_prehash(hash.as_ref()).unwrap();
                signature.as_bytes().to_vec()
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding = match self.kind {
                    Kind::Rsa2048Pss => &aws_lc::RSA_PSS_SHA256,
                    Kind::Rsa3072PssSha512 => &aws_lc::RSA_PSS_SHA512,
                    _ => &aws_lc::RSA_PKCS1_SHA256,
                };
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// Its signature over `message` as two numbers of fixed length (P1363), for a P-256 key.
    pub fn sign_p1363(&self, message: &[u8]) -> Vec<u8> {
        let Pair::Ecdsa(pair) = &self.pair else {
            panic!("{:?} keys have no such form", self.kind)
        };
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&aws_lc::ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref());
        pair.unwrap().sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// Is `signature` this key's over `message`? aws-lc says it, the gate is not asked.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn aws_lc::VerificationAlgorithm = match self.kind {
            Kind::P256 => &aws_lc::ECDSA_P256_SHA256_ASN1,
            Kind::P384 => &aws_lc::ECDSA_P384_SHA384_ASN1,
            Kind::Rsa2048 => &aws_lc::RSA_PKCS1_2048_8192_SHA256,
            other => panic!("no test needs to verify {other:?} signatures by itself"),
        };
        UnparsedPublicKey::new(algorithm, &self.spki).verify(message, signature).is_ok()
    }

    /// The public half as a `SubjectPublicKeyInfo`, DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The public half in PEM.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &STANDARD.encode(&self.spki))
    }

    /// Both halves in PEM, as PKCS #8.
    pub fn private_pem(&self) -> String {
        let der = match &self.pair {
            Pair::Ecdsa(pair) => STANDARD.encode(pair.to_pkcs8v1().unwrap()),
            Pair::Ed25519(pair) => STANDARD.encode(pair.to_pkcs8v1().unwrap()),
            Pair::Rsa(pair) => {
                STANDARD.encode(AsDer::<Pkcs8V1Der<'_>>::as_der(pair).unwrap().as_ref())
            }
        };
        pem("PRIVATE KEY", &der)
    }
}

/// PEM of DER in base64.
pub(crate) fn pem(label: &str, base64: &str) -> String {
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn spki(public: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    public.as_der().unwrap().as_ref().to_vec()
}

/// The payload that says: this digest is an image of `reference`. `optional` is any JSON.
pub fn payload(reference: &str, digest: &Digest, optional: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{TYPE}"}},"optional":{optional}}}"#
    )
}

/// A layer of a `.sig` image, and the payload that it stands for.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Kept in the registry under its own digest.
    pub payload: Vec<u8>,
    /// The layer's descriptor.
    pub descriptor: Value,
}

impl Layer {
    /// A layer that says that `signature` signs `payload`.
    pub fn new(payload: impl Into<Vec<u8>>, signature: &[u8]) -> Self {
        let payload = payload.into();
        let descriptor = json!({
            "mediaType": SIMPLE_SIGNING,
            "size": payload.len(),
            "digest": Digest::sha256(&payload).to_string(),
            "annotations": { SIGNATURE: STANDARD.encode(signature) },
        });
        Self { payload, descriptor }
    }

    /// A layer whose payload `key` has really signed.
    pub fn signed(key: &Key, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        let signature = key.sign(&payload);
        Self::new(payload, &signature)
    }

    /// With the payload in the manifest.
    #[must_use]
    pub fn inline(self) -> Self {
        let data = STANDARD.encode(&self.payload);
        self.with("/data", data)
    }

    /// With another value at a path of its descriptor, such as `/annotations/x`.
    #[must_use]
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let (parent, key) = path.rsplit_once('/').expect("a path has a slash");
        let parent = self.descriptor.pointer_mut(parent).expect("the path's parent is there");
        parent[key.replace("~1", "/")] = value.into();
        self
    }

    /// With these characters as its signature.
    #[must_use]
    pub fn with_signature_text(self, text: &str) -> Self {
        self.with(&format!("/annotations/{}", SIGNATURE.replace('/', "~1")), text)
    }
}

/// The manifest of a `.sig` image.
pub fn signature_manifest(layers: &[Layer]) -> Value {
    let layers: Vec<_> = layers.iter().map(|layer| &layer.descriptor).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": image::MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": 2,
            "digest": Digest::sha256(b"{}").to_string(),
        },
        "layers": layers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_tells_signatures_apart() {
        for kind in [Kind::P256, Kind::P384, Kind::Rsa2048] {
            let (key, other) = (Key::generate(kind), Key::generate(kind));
            let signature = key.sign(b"message");
            assert!(key.verifies(b"message", &signature), "{kind:?}");
            assert!(!key.verifies(b"massage", &signature), "{kind:?}");
            assert!(!other.verifies(b"message", &signature), "{kind:?}");
        }
    }
}
