//! New key pairs.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use civ_cosign::PublicKey;
use zeroize::Zeroizing;

use super::{LocalKey, LocalKeyError, Password, encrypted};
use crate::signer::SignerError;

/// A kind of key that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// What cosign makes, and every verifier takes.
    EcdsaP256,
    /// ECDSA over P-384, which signs with SHA-384.
    EcdsaP384,
    /// ECDSA over P-521, which signs with SHA-512.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// RSA of 4096 bits, which signs with PKCS #1 v1.5 and SHA-256.
    Rsa4096,
}

/// A key pair that is in no file yet.
#[derive(Debug)]
pub struct NewKey {
    pkcs8: Secret,
    key: LocalKey,
}

impl NewKey {
    /// Makes one.
    pub fn generate(kind: KeyKind) -> Result<Self, SignerError> {
        let pkcs8 = Secret::generate(kind)?;
        let key = LocalKey::from_pkcs8_der(&pkcs8.0)?;
        Ok(Self { pkcs8, key })
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// The private key under `password`, in the PEM that cosign reads and writes. Takes about
    /// 64 MiB and 0.1 s, on purpose.
    pub fn to_encrypted_pem(&self, password: &Password) -> Result<String, SignerError> {
        Ok(encrypted::encrypt(&self.pkcs8.0, password)?)
    }
}

/// A PKCS #8 `PrivateKeyInfo` in DER.
struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    fn generate(kind: KeyKind) -> Result<Self, LocalKeyError> {
        let ecdsa = |algorithm| EcdsaKeyPair::generate(algorithm)?.to_pkcs8v1();
        let bytes = |document: &[u8]| Self(Zeroizing::new(document.to_vec()));
        let made = match kind {
            KeyKind::EcdsaP256 => {
                ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING).map(|der| bytes(der.as_ref()))
            }
            KeyKind::EcdsaP384 => {
                ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING).map(|der| bytes(der.as_ref()))
            }
            KeyKind::EcdsaP521 => {
                ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING).map(|der| bytes(der.as_ref()))
            }
            KeyKind::Ed25519 => Ed25519KeyPair::generate()
                .and_then(|key| key.to_pkcs8v1())
                .map(|der| bytes(der.as_ref())),
            KeyKind::Rsa4096 => RsaKeyPair::generate(KeySize::Rsa4096)
                .and_then(|key| AsDer::<Pkcs8V1Der<'static>>::as_der(&key))
                .map(|der| bytes(der.as_ref())),
        };
        made.map_err(|_| LocalKeyError::Generate)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
