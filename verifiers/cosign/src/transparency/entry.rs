//! What a log entry says: which signature of which key over what.
//!
//! An entry is worth nothing until it is seen to be about this very signature: a log takes entries
//! from anybody, so that a valid one is easily had (CVE-2022-23649, CVE-2026-22703).
//!
//! | kind | version | names |
//! |---|---|---|
//! | `hashedrekord` | 0.0.1 (Rekor v1) | the hash of what is signed, the signature, the key in PEM |
//! | `hashedrekord` | 0.0.2 (Rekor v2) | the same, with the key as `SubjectPublicKeyInfo` |
//! | `dsse` | 0.0.1 (Rekor v1) | the hash of an envelope's payload, its signatures, their keys in PEM |

use civ_oci::strict_json;
use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use serde_json::Value;

use super::error::EntryError;
use super::fields::{bytes, fields, text};
use super::{Form, Signed};
use crate::PublicKey;

/// The longest body read, in bytes. One that names a key has about a thousand.
const BODY_MAX: usize = 64 << 10;

/// The kind of an entry and that kind's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) kind: String,
    pub(super) version: String,
}

/// Checks that an entry's canonical body is about `signed` and nothing else.
/// `stated` is what stands beside the body, if anything.
pub(super) fn check_body(
    body: &[u8],
    stated: Option<&Kind>,
    signed: &Signed<'_>,
) -> Result<(), EntryError> {
    if body.len() > BODY_MAX {
        return Err(EntryError::BodyTooLarge { size: body.len(), max: BODY_MAX });
    }
    let body: Value = strict_json::from_slice(body).map_err(|_| EntryError::Malformed)?;
    let (kind, spec) = read_body(&body).ok_or(EntryError::Malformed)?;
    if stated.is_some_and(|stated| *stated != kind) {
        return Err(EntryError::Malformed);
    }
    let named = match (kind.kind.as_str(), kind.version.as_str()) {
        ("hashedrekord", "0.0.1") => Named::from_hashedrekord_1(spec),
        ("hashedrekord", "0.0.2") => Named::from_hashedrekord_2(spec),
        ("dsse", "0.0.1") => Named::from_dsse_1(spec),
        _ => return Err(EntryError::Kind { kind: kind.kind, version: kind.version }),
    };
    named.ok_or(EntryError::Malformed)?.check(signed)
}

fn read_body(body: &Value) -> Option<(Kind, &Value)> {
    let body = fields(body, &["apiVersion", "kind", "spec"])?;
    let kind = Kind {
        kind: text(body, "kind")?.to_owned(),
        version: text(body, "apiVersion")?.to_owned(),
    };
    Some((kind, body.get("spec")?))
}

/// What an entry names, in one form for all kinds.
struct Named {
    signature: Vec<u8>,
    /// `None` if it is no key that could sign for us, such as a certificate.
    key: Option<PublicKey>,
    hashed: Hashed,
    algorithm: &'static Algorithm,
    hash: Vec<u8>,
}

/// What an entry's hash is of.
enum Hashed {
    /// The bytes that are signed.
    Message,
    /// The payload in a DSSE envelope.
    DssePayload,
}

// A field that is not known could change what the others mean: such an entry is not read.
impl Named {
    fn from_hashedrekord_1(spec: &Value) -> Option<Self> {
        let spec = fields(spec, &["data", "signature"])?;
        let data = fields(spec.get("data")?, &["hash"])?;
        let (algorithm, hash) = read_hash(data.get("hash")?)?;
        let signature = fields(spec.get("signature")?, &["content", "publicKey"])?;
        let key = fields(signature.get("publicKey")?, &["content"])?;
        Some(Self {
            signature: bytes(signature, "content")?,
            key: key_in_pem(&bytes(key, "content")?),
            hashed: Hashed::Message,
            algorithm,
            hash,
        })
    }

    fn from_hashedrekord_2(spec: &Value) -> Option<Self> {
        let spec = fields(
            fields(spec, &["hashedRekordV002"])?.get("hashedRekordV002")?,
            &["data", "signature"],
        )?;
        let data = fields(spec.get("data")?, &["algorithm", "digest"])?;
        let algorithm = match text(data, "algorithm")? {
            "SHA2_256" => &SHA256,
            "SHA2_384" => &SHA384,
            "SHA2_512" => &SHA512,
            _ => return None,
        };
        let signature = fields(spec.get("signature")?, &["content", "verifier"])?;
        // What kind of key it is (`keyDetails`) the key says itself.
        let known = ["keyDetails", "publicKey", "x509Certificate"];
        let verifier = fields(signature.get("verifier")?, &known)?;
        let key = match (verifier.get("publicKey"), verifier.get("x509Certificate")) {
            (Some(key), None) => {
                PublicKey::from_spki_der(&bytes(fields(key, &["rawBytes"])?, "rawBytes")?).ok()
            }
            (None, Some(_)) => None,
            _ => return None,
        };
        Some(Self {
            signature: bytes(signature, "content")?,
            key,
            hashed: Hashed::Message,
            algorithm,
            hash: bytes(data, "digest")?,
        })
    }

    fn from_dsse_1(spec: &Value) -> Option<Self> {
        // The envelope's own hash is of how it was spelt when the log got it: nobody can repeat it.
        let spec = fields(spec, &["envelopeHash", "payloadHash", "signatures"])?;
        let (algorithm, hash) = read_hash(spec.get("payloadHash")?)?;
        // An envelope with other signatures too is another envelope.
        let [signature] = spec.get("signatures")?.as_array()?.as_slice() else {
            return None;
        };
        let signature = fields(signature, &["signature", "verifier"])?;
        Some(Self {
            signature: bytes(signature, "signature")?,
            key: key_in_pem(&bytes(signature, "verifier")?),
            hashed: Hashed::DssePayload,
            algorithm,
            hash,
        })
    }

    fn check(&self, signed: &Signed<'_>) -> Result<(), EntryError> {
        if self.signature != signed.signature {
            return Err(EntryError::OtherSignature);
        }
        if self.key.as_ref() != Some(signed.key) {
            return Err(EntryError::OtherKey);
        }
        let content = match (&self.hashed, &signed.form) {
            (Hashed::Message, _) => signed.message,
            (Hashed::DssePayload, Form::Dsse { payload }) => payload,
            (Hashed::DssePayload, Form::SimpleSigning) => return Err(EntryError::OtherContent),
        };
        if digest(self.algorithm, content).as_ref() == self.hash {
            Ok(())
        } else {
            Err(EntryError::OtherContent)
        }
    }
}

fn read_hash(hash: &Value) -> Option<(&'static Algorithm, Vec<u8>)> {
    let hash = fields(hash, &["algorithm", "value"])?;
    let algorithm = match text(hash, "algorithm")? {
        "sha256" => &SHA256,
        "sha384" => &SHA384,
        "sha512" => &SHA512,
        _ => return None,
    };
    Some((algorithm, read_hex(text(hash, "value")?)?))
}

/// Writes lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Reads lower-case hexadecimal.
pub(super) fn read_hex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
            _ => None,
        })
        .collect()
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The key, if it is one of a kind that civ accepts.
fn key_in_pem(pem: &[u8]) -> Option<PublicKey> {
    PublicKey::from_pem(std::str::from_utf8(pem).ok()?).ok()
}
