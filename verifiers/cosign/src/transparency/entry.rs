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

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::strict_json;
use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::error::EntryError;
use super::{Form, Signed};
use crate::PublicKey;

/// The longest body read, in bytes. One that names a key has about a thousand.
const BODY_MAX: usize = 64 << 10;

/// The kind of an entry and that kind's version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
    let body: Body = strict_json::from_slice(body).map_err(|_| EntryError::Malformed)?;
    let kind = Kind { kind: body.kind, version: body.api_version };
    if stated.is_some_and(|stated| *stated != kind) {
        return Err(EntryError::Malformed);
    }
    let named = match (kind.kind.as_str(), kind.version.as_str()) {
        ("hashedrekord", "0.0.1") => HashedRekord001::read(&body.spec),
        ("hashedrekord", "0.0.2") => HashedRekord002::read(&body.spec),
        ("dsse", "0.0.1") => Dsse001::read(&body.spec),
        _ => return Err(EntryError::Kind { kind: kind.kind, version: kind.version }),
    };
    named.ok_or(EntryError::Malformed)?.check(signed)
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

impl Named {
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    api_version: String,
    kind: String,
    spec: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HashedRekord001 {
    data: Data001,
    signature: Signature001,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data001 {
    hash: HexHash,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Signature001 {
    content: String,
    public_key: Content,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    content: String,
}

impl HashedRekord001 {
    fn read(spec: &RawValue) -> Option<Named> {
        let Self { data, signature } = serde_json::from_str(spec.get()).ok()?;
        let (algorithm, hash) = data.hash.read()?;
        Some(Named {
            signature: STANDARD.decode(signature.content).ok()?,
            key: key_in_pem(&signature.public_key.content),
            hashed: Hashed::Message,
            algorithm,
            hash,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Dsse001 {
    /// Of the envelope as it was sent to the log, in whatever spelling: nobody can hash it again.
    #[serde(rename = "envelopeHash")]
    _envelope_hash: Option<IgnoredAny>,
    payload_hash: HexHash,
    signatures: Vec<DsseSignature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DsseSignature {
    signature: String,
    verifier: String,
}

impl Dsse001 {
    fn read(spec: &RawValue) -> Option<Named> {
        let Self { payload_hash, signatures, .. } = serde_json::from_str(spec.get()).ok()?;
        let (algorithm, hash) = payload_hash.read()?;
        // An envelope with other signatures too is another envelope.
        let [DsseSignature { signature, verifier }] = signatures.as_slice() else {
            return None;
        };
        Some(Named {
            signature: STANDARD.decode(signature).ok()?,
            key: key_in_pem(verifier),
            hashed: Hashed::DssePayload,
            algorithm,
            hash,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HashedRekord002 {
    #[serde(rename = "hashedRekordV002")]
    entry: Entry002,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry002 {
    data: Data002,
    signature: Signature002,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data002 {
    algorithm: String,
    digest: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature002 {
    content: String,
    verifier: Verifier002,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Verifier002 {
    /// Redundant: the key itself says what it is.
    #[serde(rename = "keyDetails")]
    _key_details: Option<IgnoredAny>,
    public_key: Option<RawBytes>,
    x509_certificate: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawBytes {
    raw_bytes: String,
}

impl HashedRekord002 {
    fn read(spec: &RawValue) -> Option<Named> {
        let Self { entry } = serde_json::from_str(spec.get()).ok()?;
        let key = match (
            entry.signature.verifier.public_key,
            entry.signature.verifier.x509_certificate,
        ) {
            (Some(key), None) => {
                PublicKey::from_spki_der(&STANDARD.decode(key.raw_bytes).ok()?).ok()
            }
            (None, Some(_)) => None,
            _ => return None,
        };
        let algorithm = match entry.data.algorithm.as_str() {
            "SHA2_256" => &SHA256,
            "SHA2_384" => &SHA384,
            "SHA2_512" => &SHA512,
            _ => return None,
        };
        Some(Named {
            signature: STANDARD.decode(entry.signature.content).ok()?,
            key,
            hashed: Hashed::Message,
            algorithm,
            hash: STANDARD.decode(entry.data.digest).ok()?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HexHash {
    algorithm: String,
    value: String,
}

impl HexHash {
    fn read(&self) -> Option<(&'static Algorithm, Vec<u8>)> {
        let algorithm = match self.algorithm.as_str() {
            "sha256" => &SHA256,
            "sha384" => &SHA384,
            "sha512" => &SHA512,
            _ => return None,
        };
        Some((algorithm, read_hex(&self.value)?))
    }
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

/// The key in base64 of PEM, if it is one of a kind that civ accepts.
fn key_in_pem(encoded: &str) -> Option<PublicKey> {
    let pem = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    PublicKey::from_pem(&pem).ok()
}
