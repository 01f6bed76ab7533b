//! A private key in a PEM file: PKCS #8, SEC 1 or PKCS #1, not encrypted.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use civ_cosign::PublicKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::SignerError;

/// The largest key file read, in bytes.
const FILE_MAX: u64 = 64 << 10;

/// A private key in memory.
#[derive(Clone)]
pub struct LocalKey {
    material: Arc<Material>,
    public_key: PublicKey,
}

enum Material {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl LocalKey {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, SignerError> {
        let unreadable = |source| SignerError::Read { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > FILE_MAX {
            return Err(LocalKeyError::TooLarge { limit: FILE_MAX }.into());
        }
        Self::from_pem(&std::fs::read(path).map_err(unreadable)?)
    }

    /// Reads the first private key in `pem`.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignerError> {
        refuse_what_is_no_plain_private_key(pem)?;
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| LocalKeyError::NoPrivateKey)?;
        let (material, spki) = Material::parse(&der)?;
        let public_key = PublicKey::from_spki_der(&spki)?;
        Ok(Self { material: Arc::new(material), public_key })
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// In the words of KMS.
    pub fn algorithm(&self) -> &'static str {
        match *self.material {
            Material::P256(_) => "ECDSA_SHA_256",
            Material::P384(_) => "ECDSA_SHA_384",
            Material::Rsa(_) => "RSASSA_PKCS1_V1_5_SHA_256",
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, LocalKeyError> {
        let random = SystemRandom::new();
        match &*self.material {
            Material::P256(key) | Material::P384(key) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| LocalKeyError::Sign),
            Material::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| LocalKeyError::Sign)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

impl Material {
    /// The key, of whichever kind it turns out to be, and its public half as SPKI.
    fn parse(der: &PrivateKeyDer<'_>) -> Result<(Self, Vec<u8>), LocalKeyError> {
        let bytes = der.secret_der();
        if !matches!(der, PrivateKeyDer::Pkcs1(_)) {
            let curves = [
                (&ECDSA_P256_SHA256_ASN1_SIGNING, Self::P256 as fn(EcdsaKeyPair) -> Self),
                (&ECDSA_P384_SHA384_ASN1_SIGNING, Self::P384),
            ];
            for (algorithm, material) in curves {
                if let Ok(key) = EcdsaKeyPair::from_private_key_der(algorithm, bytes) {
                    let spki: PublicKeyX509Der<'_> =
                        key.public_key().as_der().map_err(|_| LocalKeyError::NotAccepted)?;
                    let spki = spki.as_ref().to_vec();
                    return Ok((material(key), spki));
                }
            }
        }
        let rsa = match der {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes),
            _ => RsaKeyPair::from_pkcs8(bytes),
        };
        let key = rsa.map_err(|_| LocalKeyError::NotAccepted)?;
        let spki: PublicKeyX509Der<'_> =
            key.public_key().as_der().map_err(|_| LocalKeyError::NotAccepted)?;
        let spki = spki.as_ref().to_vec();
        Ok((Self::Rsa(Box::new(key)), spki))
    }
}

/// Names what a key file often is instead.
fn refuse_what_is_no_plain_private_key(pem: &[u8]) -> Result<(), LocalKeyError> {
    let text = String::from_utf8_lossy(pem);
    let has = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    if has("ENCRYPTED COSIGN PRIVATE KEY") || has("ENCRYPTED SIGSTORE PRIVATE KEY") {
        return Err(LocalKeyError::EncryptedByCosign);
    }
    if has("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(LocalKeyError::Encrypted);
    }
    if has("OPENSSH PRIVATE KEY") {
        return Err(LocalKeyError::OpenSsh);
    }
    if has("PUBLIC KEY") && !text.contains("PRIVATE KEY-----") {
        return Err(LocalKeyError::Public);
    }
    Ok(())
}

/// Why a file holds no key that can sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalKeyError {
    /// PKCS #8 with a password.
    #[error("the private key is encrypted, which is not supported")]
    Encrypted,
    /// What `cosign generate-key-pair` writes.
    #[error("this is an encrypted cosign private key, which is not supported yet")]
    EncryptedByCosign,
    /// No private key in the file.
    #[error("not a private key in PEM")]
    NoPrivateKey,
    /// A private key of a kind that the gate does not verify.
    #[error(
        "the private key is malformed or of a kind that is not accepted; use ECDSA P-256, P-384 or RSA 2048 to 4096"
    )]
    NotAccepted,
    /// OpenSSH's own format.
    #[error("this is an OpenSSH private key, not PKCS #8, SEC 1 or PKCS #1")]
    OpenSsh,
    /// A public key where the private one belongs.
    #[error("this is a public key, which cannot sign")]
    Public,
    /// The library would not sign.
    #[error("the private key cannot sign")]
    Sign,
    /// Not a key file.
    #[error("the file is larger than {limit} bytes, which no key is")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
}

impl LocalKeyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Encrypted => "decrypt it with: openssl pkey -in KEY -out KEY.pem",
            Self::EncryptedByCosign => {
                "use a key in AWS KMS, or a PEM private key without password"
            }
            Self::NoPrivateKey | Self::NotAccepted | Self::OpenSsh => {
                "make one with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
            }
            Self::Public => "give the private key to sign with; verify takes the public one",
            Self::Sign | Self::TooLarge { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Signer;
    use super::*;

    // Made for these tests with openssl; they sign nothing else.
    const P256_PKCS8: &str = include_str!("../../tests/data/p256.pem");
    const P256_SEC1: &str = include_str!("../../tests/data/p256-sec1.pem");
    const P384_PKCS8: &str = include_str!("../../tests/data/p384.pem");
    const P521_PKCS8: &str = include_str!("../../tests/data/p521.pem");
    const RSA_PKCS1: &str = include_str!("../../tests/data/rsa-pkcs1.pem");
    const RSA_PKCS8: &str = include_str!("../../tests/data/rsa.pem");

    #[tokio::test]
    async fn signs_what_its_public_key_verifies() {
        for (pem, kind, algorithm) in [
            (P256_PKCS8, "ECDSA P-256", "ECDSA_SHA_256"),
            (P256_SEC1, "ECDSA P-256", "ECDSA_SHA_256"),
            (P384_PKCS8, "ECDSA P-384", "ECDSA_SHA_384"),
            (RSA_PKCS1, "RSA 2048", "RSASSA_PKCS1_V1_5_SHA_256"),
            (RSA_PKCS8, "RSA 2048", "RSASSA_PKCS1_V1_5_SHA_256"),
        ] {
            let signer = Signer::Local(LocalKey::from_pem(pem.as_bytes()).unwrap());
            assert_eq!(signer.public_key().to_string(), kind);
            assert_eq!(signer.algorithm(), algorithm);
            let signature = signer.sign(b"message").await.unwrap();
            signer.public_key().verify_signature(b"message", &signature).unwrap();
            assert!(signer.public_key().verify_signature(b"massage", &signature).is_err());
        }
    }

    #[test]
    fn one_key_in_two_forms_is_one_key() {
        let key = |pem: &str| LocalKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(key(P256_PKCS8).public_key(), key(P256_SEC1).public_key());
        assert_eq!(key(RSA_PKCS8).public_key(), key(RSA_PKCS1).public_key());
        assert_ne!(key(P256_PKCS8).public_key(), key(P384_PKCS8).public_key());
    }

    #[test]
    fn names_what_it_does_not_take() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (pem, expected) in [
            (block("ENCRYPTED COSIGN PRIVATE KEY"), LocalKeyError::EncryptedByCosign),
            (block("ENCRYPTED SIGSTORE PRIVATE KEY"), LocalKeyError::EncryptedByCosign),
            (block("ENCRYPTED PRIVATE KEY"), LocalKeyError::Encrypted),
            (block("OPENSSH PRIVATE KEY"), LocalKeyError::OpenSsh),
            (block("PUBLIC KEY"), LocalKeyError::Public),
            (block("PRIVATE KEY"), LocalKeyError::NotAccepted),
            (P521_PKCS8.to_owned(), LocalKeyError::NotAccepted),
            (block("CERTIFICATE"), LocalKeyError::NoPrivateKey),
            (String::new(), LocalKeyError::NoPrivateKey),
            ("nonsense".to_owned(), LocalKeyError::NoPrivateKey),
        ] {
            match LocalKey::from_pem(pem.as_bytes()) {
                Err(SignerError::Local(error)) => assert_eq!(error, expected, "{pem}"),
                other => panic!("{pem}: {other:?}"),
            }
        }
    }

    #[test]
    fn debug_shows_no_private_key() {
        let key = LocalKey::from_pem(P256_PKCS8.as_bytes()).unwrap();
        assert_eq!(format!("{key:?}"), "LocalKey { public_key: PublicKey(ECDSA P-256), .. }");
    }
}
