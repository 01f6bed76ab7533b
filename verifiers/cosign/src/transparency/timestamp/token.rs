//! A timestamp's form: a `TimeStampResp` (RFC 3161, 2.4.2) that holds CMS signed data (RFC 5652) over
//! a `TSTInfo`.
//!
//! It must be DER throughout. There is one signer, and what a signer states under its signature
//! must agree with what it is stated of: the type and hash of the content, and the certificate.

use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use der::asn1::{AnyRef, OctetString, SetOfVec};
use der::{DateTime, Decode, Encode, Tag, Tagged};
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use spki::ObjectIdentifier;
use x509_cert::attr::Attribute;

use super::asn1::{Response, SigningCertificate, SigningCertificateV2, TstInfo};

/// The longest timestamp read, in bytes. Those with three certificates have six thousand.
const TOKEN_MAX: usize = 64 << 10;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// A well-formed timestamp that anybody may have made.
pub(super) struct UntrustedToken {
    imprint_algorithm: &'static Algorithm,
    imprint: Vec<u8>,
    unix_seconds: u64,
    pub(super) signer: SignerInfo,
    pub(super) attributes: SignedAttributes,
}

/// What the signer signed.
pub(super) struct SignedAttributes {
    /// All attributes, as they are signed.
    pub(super) bytes: Vec<u8>,
    /// The hash of the signer's certificate that they state, and its algorithm.
    pub(super) certificate_hash: Vec<u8>,
    pub(super) certificate_algorithm: &'static Algorithm,
}

impl UntrustedToken {
    pub(super) fn parse(timestamp: &[u8]) -> Result<Self, TokenError> {
        if timestamp.len() > TOKEN_MAX {
            return Err(TokenError::TooLarge { size: timestamp.len(), max: TOKEN_MAX });
        }
        let malformed = |_| TokenError::Malformed;
        let response = Response::from_der(timestamp).map_err(malformed)?;
        // Granted, or granted with modifications.
        if response.status.code > 1 {
            return Err(TokenError::NotGranted { status: response.status.code });
        }
        let content = response.token.ok_or(TokenError::Malformed)?;
        if content.content_type != SIGNED_DATA {
            return Err(TokenError::Malformed);
        }
        let data: SignedData = content.content.decode_as().map_err(malformed)?;
        let [signer] = data.signer_infos.0.as_slice() else {
            return Err(TokenError::Malformed);
        };
        let info = data.encap_content_info;
        let info = info.econtent.filter(|_| info.econtent_type == TST_INFO);
        let info: OctetString =
            info.ok_or(TokenError::Malformed)?.decode_as().map_err(malformed)?;
        let attributes =
            SignedAttributes::read(signer, info.as_bytes()).ok_or(TokenError::Malformed)?;
        let info = TstInfo::from_der(info.as_bytes()).map_err(malformed)?;
        // None is known, so that a critical one is not understood.
        let extensions = info.extensions.as_deref().unwrap_or_default();
        if info.version != 1 || extensions.iter().any(|extension| extension.critical) {
            return Err(TokenError::Malformed);
        }
        let imprint_algorithm =
            algorithm(info.imprint.algorithm.oid).ok_or(TokenError::Malformed)?;
        Ok(Self {
            imprint_algorithm,
            imprint: info.imprint.hash.as_bytes().to_vec(),
            unix_seconds: read_time(info.gen_time).ok_or(TokenError::Malformed)?,
            signer: signer.clone(),
            attributes,
        })
    }

    /// Is it of these bytes?
    pub(super) fn is_of(&self, signature: &[u8]) -> bool {
        digest(self.imprint_algorithm, signature).as_ref() == self.imprint
    }

    /// The time stated, without its fraction of a second.
    pub(super) fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }

    /// Whom the signer says it is.
    pub(super) fn signer_id(&self) -> &SignerIdentifier {
        &self.signer.sid
    }
}

/// The hash algorithms that timestamps may use.
pub(super) fn algorithm(oid: ObjectIdentifier) -> Option<&'static Algorithm> {
    match oid {
        SHA256_OID => Some(&SHA256),
        SHA384_OID => Some(&SHA384),
        SHA512_OID => Some(&SHA512),
        _ => None,
    }
}

impl SignedAttributes {
    /// Three attributes (RFC 5652, 5.4) must be there and say what is so.
    fn read(signer: &SignerInfo, content: &[u8]) -> Option<Self> {
        let attributes = signer.signed_attrs.as_ref()?;
        let value = |oid| single_value(attributes, oid);
        let content_type: ObjectIdentifier = value(CONTENT_TYPE)?.decode_as().ok()?;
        let message_digest: OctetString = value(MESSAGE_DIGEST)?.decode_as().ok()?;
        let hashed = digest(algorithm(signer.digest_alg.oid)?, content);
        if content_type != TST_INFO || message_digest.as_bytes() != hashed.as_ref() {
            return None;
        }
        let (certificate_algorithm, hash) = if let Some(value) = value(SIGNING_CERTIFICATE_V2) {
            let stated: SigningCertificateV2 = value.decode_as().ok()?;
            let stated = stated.certificates.into_iter().next()?;
            let oid = stated.algorithm.map_or(SHA256_OID, |algorithm| algorithm.oid);
            (algorithm(oid)?, stated.hash)
        } else {
            let stated: SigningCertificate = value(SIGNING_CERTIFICATE)?.decode_as().ok()?;
            (&SHA1_FOR_LEGACY_USE_ONLY, stated.certificates.into_iter().next()?.hash)
        };
        Some(Self {
            bytes: attributes.to_der().ok()?,
            certificate_hash: hash.into_bytes(),
            certificate_algorithm,
        })
    }
}

/// The value of an attribute that is there once and has one value.
fn single_value(attributes: &SetOfVec<Attribute>, oid: ObjectIdentifier) -> Option<&der::Any> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
    match (found.next().map(|attribute| attribute.values.as_slice()), found.next()) {
        (Some([value]), None) => Some(value),
        _ => None,
    }
}

/// `YYYYMMDDhhmmss[.s…]Z` (RFC 3161, 2.4.2), in seconds since 1970.
fn read_time(time: AnyRef<'_>) -> Option<u64> {
    if time.tag() != Tag::GeneralizedTime {
        return None;
    }
    let text = std::str::from_utf8(time.value()).ok()?.strip_suffix('Z')?;
    let (text, fraction) = text.split_once('.').unwrap_or((text, "1"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if text.len() != 14 || !digits(text) || !digits(fraction) {
        return None;
    }
    let pair = |at: usize| text.get(at..at + 2)?.parse::<u8>().ok();
    let year = text.get(..4)?.parse().ok()?;
    let time = DateTime::new(year, pair(4)?, pair(6)?, pair(8)?, pair(10)?, pair(12)?).ok()?;
    Some(time.unix_duration().as_secs())
}

/// Why a timestamp cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no timestamp.
    #[error("timestamp is malformed")]
    Malformed,
    /// The authority refused to give one.
    #[error("timestamp was not granted: status {status}")]
    NotGranted {
        /// The authority's answer (RFC 3161, `PKIStatus`).
        status: u8,
    },
    /// It is longer than civ reads.
    #[error("timestamp of {size} bytes is larger than {max}")]
    TooLarge {
        /// The length found.
        size: usize,
        /// The length read.
        max: usize,
    },
}
