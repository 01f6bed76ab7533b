//! A private key in a PEM file: PKCS #8, SEC 1 or PKCS #1, or under a password as cosign or openssl
//! writes it.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use civ_cosign::PublicKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::{Zeroize as _, Zeroizing};

pub use error::LocalKeyError;
pub use generate::{KeyKind, NewKey};

use super::{Password, PasswordError, PasswordSource, SignerError};
use encrypted::Encrypted;

mod encrypted;
mod error;
mod generate;

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
    P521(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl LocalKey {
    /// Reads the file at `path`, and asks `passwords` if it is encrypted. Blocks.
    pub fn read(path: &Path, passwords: &dyn PasswordSource) -> Result<Self, SignerError> {
        let unreadable = |source| SignerError::Read { path: path.to_owned(), source };
        let mut pem = Zeroizing::new(Vec::new());
        File::open(path)
            .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut pem))
            .map_err(unreadable)?;
        if pem.len() as u64 > FILE_MAX {
            return Err(LocalKeyError::TooLarge { limit: FILE_MAX }.into());
        }
        Self::from_pem_or_encrypted(&pem, || passwords.password(path))
    }

    /// Reads the first private key in `pem`, which must not be encrypted.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignerError> {
        Self::from_pem_or_encrypted(pem, || Err(PasswordError::Unknown))
    }

    /// Reads the private key in `pem`, decrypting it with `password` if it must be.
    pub fn from_encrypted_pem(pem: &[u8], password: &Password) -> Result<Self, SignerError> {
        Self::from_pem_or_encrypted(pem, || Ok(password.clone()))
    }

    fn from_pem_or_encrypted(
        pem: &[u8],
        password: impl FnOnce() -> Result<Password, PasswordError>,
    ) -> Result<Self, SignerError> {
        if let Some(encrypted) = Encrypted::find(pem)? {
            let password = password().map_err(LocalKeyError::Password)?;
            return Self::from_pkcs8_der(&encrypted.decrypt(&password)?);
        }
        refuse_what_is_no_private_key(pem)?;
        let mut der =
            PrivateKeyDer::from_pem_slice(pem).map_err(|_| LocalKeyError::NoPrivateKey)?;
        let key = Self::from_der(&der);
        der.zeroize();
        key
    }

    /// Reads a PKCS #8 `PrivateKeyInfo`.
    fn from_pkcs8_der(der: &[u8]) -> Result<Self, SignerError> {
        Self::from_der(&PrivateKeyDer::Pkcs8(der.into()))
    }

    fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, SignerError> {
        let (material, spki) = Material::parse(der)?;
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
            Material::P521(_) => "ECDSA_SHA_512",
            Material::Ed25519(_) => "ED25519_SHA_512",
            Material::Rsa(_) => "RSASSA_PKCS1_V1_5_SHA_256",
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, LocalKeyError> {
        let random = SystemRandom::new();
        match &*self.material {
            Material::P256(key) | Material::P384(key) | Material::P521(key) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| LocalKeyError::Sign),
            Material::Ed25519(key) => key
                .try_sign(message)
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
                (&ECDSA_P521_SHA512_ASN1_SIGNING, Self::P521),
            ];
            for (algorithm, material) in curves {
                if let Ok(key) = EcdsaKeyPair::from_private_key_der(algorithm, bytes) {
                    let spki = spki(key.public_key())?;
                    return Ok((material(key), spki));
                }
            }
            // RFC 8410, 7: the public half need not be there. openssl and Go leave it out.
            if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
                let spki = spki(key.public_key())?;
                return Ok((Self::Ed25519(key), spki));
            }
        }
        let rsa = match der {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes),
            _ => RsaKeyPair::from_pkcs8(bytes),
        };
        let key = rsa.map_err(|_| LocalKeyError::NotAccepted)?;
        let spki = spki(key.public_key())?;
        Ok((Self::Rsa(Box::new(key)), spki))
    }
}

fn spki(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Result<Vec<u8>, LocalKeyError> {
    Ok(key.as_der().map_err(|_| LocalKeyError::NotAccepted)?.as_ref().to_vec())
}

/// Names what a key file often is instead.
fn refuse_what_is_no_private_key(pem: &[u8]) -> Result<(), LocalKeyError> {
    let text = String::from_utf8_lossy(pem);
    let has = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(LocalKeyError::WeakEncryption);
    }
    if has("OPENSSH PRIVATE KEY") {
        return Err(LocalKeyError::OpenSsh);
    }
    if has("PUBLIC KEY") && !text.contains("PRIVATE KEY-----") {
        return Err(LocalKeyError::Public);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
