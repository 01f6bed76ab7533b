//! Public keys: which are accepted, and what a signature under each looks like.
//!
//! A signature names neither its algorithm nor its key, so the key alone decides how it is checked:
//!
//! | key | signature |
//! |---|---|
//! | ECDSA P-256 | DER, SHA-256 |
//! | ECDSA P-384 | DER, SHA-384 (AWS KMS, cosign), or SHA-256 (cosign where told so) |
//! | ECDSA P-521 | DER, SHA-512 (AWS KMS, cosign), or SHA-256 (cosign where told so) |
//! | Ed25519 | 64 bytes, Ed25519 (AWS KMS, openssl, civ) or Ed25519ph (cosign with a key file) |
//! | RSA 2048–4096 | PKCS #1 v1.5 or PSS with MGF1 of the same hash: SHA-256, 384 or 512 |
//!
//! PSS salts are as long as the hash (AWS KMS) or as long as fits (Go's and Python's default).
//! Keys of other kinds are refused by name when the policy is loaded.
//!
//! ring checks everything but P-521, Ed25519ph and the long salts, which it does not know.

use std::fmt;

use ::rsa::pkcs1::DecodeRsaPublicKey as _;
use ::rsa::traits::PublicKeyParts as _;
use ring::signature::{self as algorithms, UnparsedPublicKey, VerificationAlgorithm};
use spki::der::Decode as _;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

pub use error::{KeyError, SignatureError};

mod ed25519;
mod error;
mod p521;
mod point;
mod rsa;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A public key that signatures can be checked with. Two are equal if they verify the same
/// signatures, however each was encoded.
#[derive(Clone)]
pub struct PublicKey {
    spki: Vec<u8>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// The uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    /// RFC 8032, 5.1.2: the compressed point.
    Ed25519([u8; 32]),
    /// The PKCS #1 `RSAPublicKey`, in DER and parsed.
    Rsa {
        der: Vec<u8>,
        key: ::rsa::RsaPublicKey,
    },
}

impl PublicKey {
    /// Reads one `PUBLIC KEY` block (RFC 7468), which holds a `SubjectPublicKeyInfo`. Its lines may have
    /// any width, and text may come before it, as openssl reads them; nothing may follow.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = rewrap(pem)?;
        let (label, der) = pem_rfc7468::decode_vec(pem.as_bytes())?;
        match label {
            "PUBLIC KEY" => Self::from_spki_der(&der),
            "CERTIFICATE" => Err(KeyError::Certificate),
            label if label.ends_with("PRIVATE KEY") => Err(KeyError::PrivateKey),
            _ => Err(KeyError::Label { found: label.to_owned() }),
        }
    }

    /// Reads a DER `SubjectPublicKeyInfo` (RFC 5280), which is what KMS `GetPublicKey` returns.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let bits = info.subject_public_key.as_bytes().ok_or(KeyError::Malformed)?;
        let algorithm = info.algorithm.oid;
        let material = if algorithm == EC_PUBLIC_KEY {
            let curve = info
                .algorithm
                .parameters
                .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok())
                .ok_or(KeyError::Malformed)?;
            match curve {
                P256 => Material::P256(point::check::<p256::NistP256>(bits, "P-256")?),
                P384 => Material::P384(point::check::<p384::NistP384>(bits, "P-384")?),
                P521 => Material::P521(point::check::<::p521::NistP521>(bits, "P-521")?),
                other => return Err(KeyError::not_accepted(other)),
            }
        } else if algorithm == RSA_ENCRYPTION {
            rsa::check_size(bits)?;
            let key = ::rsa::RsaPublicKey::from_pkcs1_der(bits).map_err(|_| KeyError::Malformed)?;
            Material::Rsa { der: bits.to_vec(), key }
        } else if algorithm == ED25519 {
            // RFC 8410, 3: the parameters must be absent.
            if info.algorithm.parameters.is_some() {
                return Err(KeyError::Malformed);
            }
            Material::Ed25519(ed25519::check(bits)?)
        } else {
            return Err(KeyError::not_accepted(algorithm));
        };
        Ok(Self { spki: der.to_vec(), material })
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// The key as a `PUBLIC KEY` block with a final newline.
    pub fn to_pem(&self) -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let body = STANDARD.encode(&self.spki);
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for (index, character) in body.chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        pem
    }

    /// Checks that `signature` is this key's over `message`.
    pub fn verify_signature(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match &self.material {
            Material::P256(point) => {
                verify_with(&[&algorithms::ECDSA_P256_SHA256_ASN1], point, message, signature)
            }
            Material::P384(point) => verify_with(
                &[&algorithms::ECDSA_P384_SHA384_ASN1, &algorithms::ECDSA_P384_SHA256_ASN1],
                point,
                message,
                signature,
            ),
            Material::P521(point) => p521::verify(point, message, signature),
            Material::Ed25519(key) => verify_with(&[&algorithms::ED25519], key, message, signature)
                .or_else(|_| ed25519::verify_prehashed(key, message, signature)),
            Material::Rsa { der, key } => rsa::verify(der, key, message, signature),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.material == other.material
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The kind of key, such as `ECDSA P-256` or `RSA 4096`.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.material {
            Material::P256(_) => f.write_str("ECDSA P-256"),
            Material::P384(_) => f.write_str("ECDSA P-384"),
            Material::P521(_) => f.write_str("ECDSA P-521"),
            Material::Ed25519(_) => f.write_str("Ed25519"),
            Material::Rsa { key, .. } => write!(f, "RSA {}", key.n().bits()),
        }
    }
}

/// The block in `pem`, as the decoder wants it: with 64 characters on each line but the last. RFC 7468, 2
/// lets a reader take lines of any width, white space around them, and text before the block.
fn rewrap(pem: &str) -> Result<String, KeyError> {
    let mut lines = pem.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN"));
    let mut wrapped = lines.next().ok_or(KeyError::NoPem)?.to_owned();
    let mut end = None;
    let mut width = 0;
    for line in lines {
        if end.is_some() && !line.is_empty() {
            return Err(KeyError::AfterPem);
        }
        if line.starts_with("-----END") {
            end = Some(line);
            continue;
        }
        for character in line.chars().filter(|character| !character.is_ascii_whitespace()) {
            if width % 64 == 0 {
                wrapped.push('\n');
            }
            wrapped.push(character);
            width += 1;
        }
    }
    if let Some(end) = end {
        wrapped.push('\n');
        wrapped.push_str(end);
    }
    Ok(wrapped)
}

fn verify_with(
    accepted: &[&'static dyn VerificationAlgorithm],
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let verifies = |algorithm: &&'static dyn VerificationAlgorithm| {
        UnparsedPublicKey::new(*algorithm, key).verify(message, signature).is_ok()
    };
    if accepted.iter().any(verifies) { Ok(()) } else { Err(SignatureError) }
}

#[cfg(test)]
mod tests;
