//! Private keys under a password: as cosign writes them, and PKCS #8 (RFC 5958, 3; RFC 8018, 6.2).
//!
//! What such a file asks to be computed is bounded before anything is: a file may come from anybody.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::strict_json;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use pem_rfc7468::LineEnding;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{LocalKeyError, Password};

/// What cosign takes, and what it took before version 2.
const SIGSTORE: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
const COSIGN: &str = "ENCRYPTED COSIGN PRIVATE KEY";
const PKCS8: &str = "ENCRYPTED PRIVATE KEY";

/// The most that a file may ask of scrypt. cosign writes N = 65536 (before: 32768), r = 8, p = 1;
/// the library it uses knows N = 131072 as well. This much takes 128 MiB.
const SCRYPT_MAX: Cost = Cost { n: 1 << 17, r: 8, p: 4 };
/// The most that a file may ask of PBKDF2: a few seconds.
const PBKDF2_MAX: u32 = 10_000_000;
const SALT_LEN: usize = 32;

/// A private key that needs a password.
#[derive(Debug)]
pub(super) enum Encrypted {
    /// The JSON document in cosign's PEM.
    Cosign(Vec<u8>),
    /// A DER `EncryptedPrivateKeyInfo`.
    Pkcs8(Vec<u8>),
}

impl Encrypted {
    /// The encrypted key in `pem`, if that is what it holds.
    pub(super) fn find(pem: &[u8]) -> Result<Option<Self>, LocalKeyError> {
        let text = String::from_utf8_lossy(pem);
        let labels = [SIGSTORE, COSIGN, PKCS8];
        if !labels.iter().any(|label| text.contains(&format!("-----BEGIN {label}-----"))) {
            return Ok(None);
        }
        let (label, content) = pem_rfc7468::decode_vec(text.trim().as_bytes())
            .map_err(|_| LocalKeyError::EncryptedMalformed)?;
        Ok(Some(if label == PKCS8 { Self::Pkcs8(content) } else { Self::Cosign(content) }))
    }

    /// The PKCS #8 `PrivateKeyInfo` in it, in DER.
    pub(super) fn decrypt(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>, LocalKeyError> {
        match self {
            Self::Cosign(json) => Document::parse(json)?.decrypt(password),
            Self::Pkcs8(der) => decrypt_pkcs8(der, password),
        }
    }
}

/// Encrypts a PKCS #8 `PrivateKeyInfo` as cosign does.
pub(super) fn encrypt(pkcs8: &[u8], password: &Password) -> Result<String, LocalKeyError> {
    let (mut salt, mut nonce) = ([0; SALT_LEN], [0; 24]);
    rand::fill(&mut salt).map_err(|_| LocalKeyError::Generate)?;
    rand::fill(&mut nonce).map_err(|_| LocalKeyError::Generate)?;
    let cost = Cost { n: 1 << 16, r: 8, p: 1 };
    let ciphertext = cost
        .cipher(&salt, password)?
        .encrypt(Nonce::from_slice(&nonce), pkcs8)
        .map_err(|_| LocalKeyError::Generate)?;
    let document = Document {
        kdf: KeyDerivation { name: SCRYPT.to_owned(), params: cost, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: SECRETBOX.to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    let json = serde_json::to_vec(&document).map_err(|_| LocalKeyError::Generate)?;
    pem_rfc7468::encode_string(SIGSTORE, LineEnding::LF, &json).map_err(|_| LocalKeyError::Generate)
}

const SCRYPT: &str = "scrypt";
const SECRETBOX: &str = "nacl/secretbox";

/// What go-securesystemslib's `encrypted` writes.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    kdf: KeyDerivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeyDerivation {
    name: String,
    params: Cost,
    salt: String,
}

/// scrypt's parameters (RFC 7914, 2).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cipher {
    name: String,
    nonce: String,
}

impl Document {
    fn parse(json: &[u8]) -> Result<Self, LocalKeyError> {
        let document: Self =
            strict_json::from_slice(json).map_err(|_| LocalKeyError::EncryptedMalformed)?;
        if document.kdf.name != SCRYPT || document.cipher.name != SECRETBOX {
            return Err(LocalKeyError::EncryptedMalformed);
        }
        Ok(document)
    }

    fn decrypt(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>, LocalKeyError> {
        let bytes = |text| STANDARD.decode(text).map_err(|_| LocalKeyError::EncryptedMalformed);
        let nonce: [u8; 24] =
            bytes(&self.cipher.nonce)?.try_into().map_err(|_| LocalKeyError::EncryptedMalformed)?;
        let (salt, ciphertext) = (bytes(&self.kdf.salt)?, bytes(&self.ciphertext)?);
        self.kdf
            .params
            .cipher(&salt, password)?
            .decrypt(Nonce::from_slice(&nonce), ciphertext.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| LocalKeyError::WrongPassword)
    }
}

impl Cost {
    /// The cipher whose key scrypt makes of the password.
    fn cipher(self, salt: &[u8], password: &Password) -> Result<XSalsa20Poly1305, LocalKeyError> {
        if self.n > SCRYPT_MAX.n || self.r > SCRYPT_MAX.r || self.p > SCRYPT_MAX.p {
            return Err(LocalKeyError::TooCostly);
        }
        if !self.n.is_power_of_two() {
            return Err(LocalKeyError::EncryptedMalformed);
        }
        let log_n = u8::try_from(self.n.ilog2()).map_err(|_| LocalKeyError::EncryptedMalformed)?;
        let params = scrypt::Params::new(log_n, self.r, self.p)
            .map_err(|_| LocalKeyError::EncryptedMalformed)?;
        let mut key = Zeroizing::new([0; 32]);
        scrypt::scrypt(password.as_bytes(), salt, &params, key.as_mut())
            .map_err(|_| LocalKeyError::EncryptedMalformed)?;
        Ok(XSalsa20Poly1305::new(Key::from_slice(key.as_ref())))
    }
}

fn decrypt_pkcs8(der: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, LocalKeyError> {
    let info =
        EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| LocalKeyError::EncryptedMalformed)?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(LocalKeyError::WeakEncryption);
    };
    let is_affordable = match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => kdf.iteration_count <= PBKDF2_MAX,
        Kdf::Scrypt(kdf) => {
            kdf.cost_parameter <= u64::from(SCRYPT_MAX.n)
                && u32::from(kdf.block_size) <= SCRYPT_MAX.r
                && u32::from(kdf.parallelization) <= SCRYPT_MAX.p
        }
        _ => false,
    };
    if !is_affordable {
        return Err(LocalKeyError::TooCostly);
    }
    let document = info.decrypt(password.as_bytes()).map_err(|_| LocalKeyError::WrongPassword)?;
    Ok(Zeroizing::new(document.as_bytes().to_vec()))
}
