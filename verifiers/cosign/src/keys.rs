//! Public keys: which are accepted, and what a signature under each looks like.
//!
//! A signature names neither its algorithm nor its key, so the key alone decides how it is checked:
//!
//! | key | signature |
//! |---|---|
//! | ECDSA P-256 | DER, SHA-256 |
//! | ECDSA P-384 | DER, SHA-384 (AWS KMS), or SHA-256 (cosign with a key file) |
//! | RSA 2048–4096 | PKCS #1 v1.5 or PSS with MGF1 of the same hash: SHA-256, 384 or 512 |
//!
//! PSS salts are as long as the hash (AWS KMS) or as long as fits (Go's and Python's default).
//! Keys of other kinds are refused by name when the policy is loaded.

use std::fmt;

use ring::signature::{self as algorithms, UnparsedPublicKey, VerificationAlgorithm};
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::sha2::{Digest as _, Sha256, Sha384, Sha512};
use rsa::traits::PublicKeyParts as _;
use spki::der::Decode as _;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

/// RSA moduli accepted, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// Kinds of keys that exist and are not accepted, so that they can be called by name.
const NOT_ACCEPTED: [(&str, &str); 9] = [
    ("1.3.132.0.35", "ECDSA P-521"),
    ("1.3.132.0.10", "ECDSA secp256k1"),
    ("1.2.156.10197.1.301", "SM2"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS-only RSA"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];

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
    /// The PKCS #1 `RSAPublicKey`, in DER and parsed.
    Rsa {
        der: Vec<u8>,
        key: rsa::RsaPublicKey,
    },
}

impl PublicKey {
    /// Reads one `PUBLIC KEY` block (RFC 7468), which holds a `SubjectPublicKeyInfo`.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let (label, der) = pem_rfc7468::decode_vec(pem.trim().as_bytes())?;
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
                P256 => Material::P256(uncompressed_point(bits, 32)?),
                P384 => Material::P384(uncompressed_point(bits, 48)?),
                other => return Err(KeyError::not_accepted(other)),
            }
        } else if algorithm == RSA_ENCRYPTION {
            let modulus =
                rsa::pkcs1::RsaPublicKey::from_der(bits).map_err(|_| KeyError::Malformed)?.modulus;
            let modulus_bits = bit_length(modulus.as_bytes());
            if !RSA_BITS.contains(&modulus_bits) {
                return Err(KeyError::RsaSize { bits: modulus_bits });
            }
            let key = rsa::RsaPublicKey::from_pkcs1_der(bits).map_err(|_| KeyError::Malformed)?;
            Material::Rsa { der: bits.to_vec(), key }
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
            Material::Rsa { key, .. } if signature.len() != key.size() => Err(SignatureError),
            Material::Rsa { der, key } => verify_with(
                &[
                    &algorithms::RSA_PKCS1_2048_8192_SHA256,
                    &algorithms::RSA_PKCS1_2048_8192_SHA384,
                    &algorithms::RSA_PKCS1_2048_8192_SHA512,
                    &algorithms::RSA_PSS_2048_8192_SHA256,
                    &algorithms::RSA_PSS_2048_8192_SHA384,
                    &algorithms::RSA_PSS_2048_8192_SHA512,
                ],
                der,
                message,
                signature,
            )
            .or_else(|_| verify_pss_with_longest_salt(key, message, signature)),
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
            Material::Rsa { key, .. } => write!(f, "RSA {}", key.n().bits()),
        }
    }
}

/// SEC 1, 2.3.4: an uncompressed point is `04`, X and Y. Whether it is on the curve is checked with
/// each signature.
fn uncompressed_point(bits: &[u8], coordinate: usize) -> Result<Vec<u8>, KeyError> {
    if bits.len() == 1 + 2 * coordinate && bits.first() == Some(&4) {
        Ok(bits.to_vec())
    } else {
        Err(KeyError::Malformed)
    }
}

/// The length of a big-endian number without leading zero bytes.
fn bit_length(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| byte.leading_zeros() as usize);
    number.len() * 8 - unused
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

/// The one form that ring does not know: RFC 8017, 9.1.1 with sLen = emLen - hLen - 2.
fn verify_pss_with_longest_salt(
    key: &rsa::RsaPublicKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let encoded_len = (key.n().bits() - 1).div_ceil(8);
    let verifies = |scheme: rsa::Pss, hashed: &[u8]| key.verify(scheme, hashed, signature).is_ok();
    let salt = |hash_len: usize| encoded_len - hash_len - 2;
    if verifies(rsa::Pss::new_with_salt::<Sha256>(salt(32)), &Sha256::digest(message))
        || verifies(rsa::Pss::new_with_salt::<Sha384>(salt(48)), &Sha384::digest(message))
        || verifies(rsa::Pss::new_with_salt::<Sha512>(salt(64)), &Sha512::digest(message))
    {
        Ok(())
    } else {
        Err(SignatureError)
    }
}

/// Not this key's signature over this message. There is nothing more to know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct SignatureError;

/// Why a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A certificate where a key belongs.
    #[error("a certificate is no public key; extract it with openssl x509 -pubkey -noout")]
    Certificate,
    /// A kind of key that is not accepted.
    #[error("{kind} keys are not accepted; use ECDSA P-256, P-384 or RSA 2048 to 4096")]
    Kind {
        /// The kind's name, or its object identifier.
        kind: String,
    },
    /// A PEM block of another kind.
    #[error("PEM block {found:?} is not \"PUBLIC KEY\"")]
    Label {
        /// The label found.
        found: String,
    },
    /// Not a `SubjectPublicKeyInfo`.
    #[error("not a public key: its DER is malformed")]
    Malformed,
    /// Not one PEM block.
    #[error("not a public key in PEM: {0}")]
    Pem(#[from] pem_rfc7468::Error),
    /// A private key where a public one belongs.
    #[error(
        "this is a PRIVATE key; replace it by its public key, and the key itself if others saw it"
    )]
    PrivateKey,
    /// An RSA modulus too short to trust or too long to afford.
    #[error("RSA keys of {bits} bits are not accepted; use 2048 to 4096")]
    RsaSize {
        /// The modulus' length.
        bits: usize,
    },
}

impl KeyError {
    fn not_accepted(oid: ObjectIdentifier) -> Self {
        let oid = oid.to_string();
        let name = NOT_ACCEPTED.iter().find(|(known, _)| *known == oid).map(|(_, name)| *name);
        Self::Kind { kind: name.map_or(oid, str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn testdata(directory: &str) -> Vec<(String, PathBuf)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(directory);
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path)).collect()
    }

    #[test]
    fn verifies_what_openssl_signed_and_nothing_weaker() {
        let message =
            fs::read(&testdata("").iter().find(|(n, _)| n == "message").unwrap().1).unwrap();
        let mut checked = 0;
        for (name, path) in testdata("signatures") {
            let signature = fs::read(path).unwrap();
            let (signer, form) = name.split_once('.').unwrap();
            for (key_name, path) in testdata("keys") {
                let key = PublicKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap();
                let is_signer = key_name.strip_suffix(".pem") == Some(signer);
                let expected = is_signer && !form.ends_with("bad");
                assert_eq!(key.verify_signature(&message, &signature).is_ok(), expected, "{name}");
                let mut tampered = message.clone();
                tampered[0] ^= 1;
                assert!(key.verify_signature(&tampered, &signature).is_err(), "{name}");
                checked += usize::from(expected);
            }
        }
        assert_eq!(checked, 3 + 2 * 9);
    }

    #[test]
    fn refuses_other_keys_by_name() {
        for (name, path) in testdata("refused-keys") {
            let error = PublicKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap_err();
            let expected = match name.as_str() {
                "p521.pem" => "ECDSA P-521 keys are not accepted",
                "secp256k1.pem" => "ECDSA secp256k1 keys are not accepted",
                "sm2.pem" => "SM2 keys are not accepted",
                "ed25519.pem" => "Ed25519 keys are not accepted",
                "rsa1024.pem" => "RSA keys of 1024 bits are not accepted",
                "rsa8192.pem" => "RSA keys of 8192 bits are not accepted",
                "rsa-pss.pem" => "RSASSA-PSS-only RSA keys are not accepted",
                "private.pem" => "this is a PRIVATE key",
                "certificate.pem" => "a certificate is no public key",
                "pkcs1.pem" => "PEM block \"RSA PUBLIC KEY\" is not",
                other => panic!("{other} has no expectation"),
            };
            assert!(error.to_string().starts_with(expected), "{name}: {error}");
        }
    }

    #[test]
    fn pem_is_one_block_and_survives_a_round_trip() {
        for (name, path) in testdata("keys") {
            let pem = fs::read_to_string(path).unwrap();
            let key = PublicKey::from_pem(&pem).unwrap();
            assert_eq!(key.to_pem(), pem, "{name}");
            assert_eq!(PublicKey::from_spki_der(key.spki_der()).unwrap(), key);
            for malformed in [
                format!("{pem}{pem}"),
                pem.replace("-----END", "----END"),
                pem.replace("PUBLIC", "PUBLIK"),
                pem.replacen('\n', "\nAAAA", 1),
                String::new(),
            ] {
                assert!(PublicKey::from_pem(&malformed).is_err(), "{name}: {malformed}");
            }
        }
    }
}
