//! The bundle in which cosign 3 keeps a signature: version 0.3 of
//! [sigstore's](https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto),
//! with a DSSE envelope and, for a key, nothing that says which.
//!
//! What a bundle says about its key is a hint to people. The key is the policy's; a bundle that
//! brings a certificate was made without a key, and is not read as if it were made with one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::strict_json;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::PublicKey;
use crate::dsse::IN_TOTO;

/// The bundle's media type, as written.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// How the media types of bundles of every version begin.
pub const BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";
/// What the bundle itself may say that it is.
const BUNDLES: [&str; 2] = [BUNDLE, "application/vnd.dev.sigstore.bundle+json;version=0.3"];
/// The largest bundle read, in bytes. Real ones have one or two thousand, and some more with a log
/// entry and a timestamp.
pub const BUNDLE_MAX: u64 = 1 << 20;

/// What a bundle holds. None of it is trusted.
#[derive(Clone, Debug)]
pub struct UntrustedBundle {
    /// The in-toto statement.
    pub payload: Vec<u8>,
    /// The raw signature over the payload's [`pre_authentication_encoding`].
    ///
    /// [`pre_authentication_encoding`]: crate::dsse::pre_authentication_encoding
    pub signature: Vec<u8>,
    /// The key's hint, as written.
    pub hint: String,
    /// `verificationMaterial` as it stands, in which there may be log entries and timestamps.
    pub material: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Untrusted {
    media_type: String,
    verification_material: Box<RawValue>,
    dsse_envelope: Option<UntrustedEnvelope>,
    message_signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntrustedEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<UntrustedSig>,
}

#[derive(Deserialize)]
struct UntrustedSig {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntrustedMaterial {
    public_key: Option<UntrustedHint>,
    certificate: Option<IgnoredAny>,
    #[serde(rename = "x509CertificateChain")]
    certificate_chain: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct UntrustedHint {
    #[serde(default)]
    hint: String,
}

impl UntrustedBundle {
    /// Reads a bundle, of which the caller has bounded the length.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let bundle: Untrusted = strict_json::from_slice(bytes).map_err(BundleError::Json)?;
        if !BUNDLES.contains(&bundle.media_type.as_str()) {
            return Err(BundleError::MediaType { found: bundle.media_type });
        }
        let material: UntrustedMaterial = strict_json::from_part(&bundle.verification_material)
            .map_err(|_| BundleError::Material)?;
        // Of each kind a bundle has one; of two, two readers may take different ones.
        let (None, None) = (material.certificate, material.certificate_chain) else {
            return Err(BundleError::NoKey);
        };
        let hint = material.public_key.ok_or(BundleError::NoKey)?.hint;
        let (Some(envelope), None) = (bundle.dsse_envelope, bundle.message_signature) else {
            return Err(BundleError::NoEnvelope);
        };
        if envelope.payload_type != IN_TOTO {
            return Err(BundleError::PayloadType { found: envelope.payload_type });
        }
        let [signature] = envelope.signatures.as_slice() else {
            return Err(BundleError::Signatures { count: envelope.signatures.len() });
        };
        Ok(Self {
            payload: STANDARD.decode(&envelope.payload).map_err(|_| BundleError::Base64)?,
            signature: STANDARD.decode(&signature.sig).map_err(|_| BundleError::Base64)?,
            hint,
            material: bundle.verification_material,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    media_type: &'a str,
    verification_material: Material,
    dsse_envelope: Envelope<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Hint,
}

#[derive(Serialize)]
struct Hint {
    hint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    payload: String,
    payload_type: &'a str,
    signatures: [Signature; 1],
}

#[derive(Serialize)]
struct Signature {
    sig: String,
}

/// The bundle that says: `key` made `signature` over this statement (its pre-authentication
/// encoding).
pub fn to_bytes(key: &PublicKey, statement: &[u8], signature: &[u8]) -> Vec<u8> {
    let bundle = Bundle {
        media_type: BUNDLE,
        verification_material: Material { public_key: Hint { hint: hint_of(key) } },
        dsse_envelope: Envelope {
            payload: STANDARD.encode(statement),
            payload_type: IN_TOTO,
            signatures: [Signature { sig: STANDARD.encode(signature) }],
        },
    };
    // Structs of strings always serialise.
    serde_json::to_vec(&bundle).unwrap_or_default()
}

/// What a bundle says about the key that made it: the SHA-256 of its `SubjectPublicKeyInfo`, in
/// base64. It proves nothing.
pub fn hint_of(key: &PublicKey) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, key.spki_der()))
}

/// Why bytes are not a bundle with a signature of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Something that should be base64 is not.
    #[error("its base64 is malformed")]
    Base64,
    /// Not JSON as civ accepts it, or not of the bundle's form.
    #[error("malformed: {0}")]
    Json(strict_json::JsonError),
    /// Its verification material is malformed.
    #[error("its verificationMaterial is malformed")]
    Material,
    /// Another version, or another document.
    #[error("its mediaType is {found:?}, not {BUNDLE:?}")]
    MediaType {
        /// The type found.
        found: String,
    },
    /// It signs a blob and not an image.
    #[error("it does not hold a dsseEnvelope alone")]
    NoEnvelope,
    /// It was made with a certificate instead of a key.
    #[error("it was not made with a key alone (verificationMaterial.publicKey)")]
    NoKey,
    /// It signs something else than a statement.
    #[error("its payload is of type {found:?}, not {IN_TOTO:?}")]
    PayloadType {
        /// The type found.
        found: String,
    },
    /// Not exactly one signature.
    #[error("it has {count} signatures, not one")]
    Signatures {
        /// How many there are.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> PublicKey {
        let pem = include_str!("../testdata/keys/p256.pem");
        PublicKey::from_pem(pem).unwrap()
    }

    fn text() -> String {
        String::from_utf8(to_bytes(&key(), b"statement", b"signature")).unwrap()
    }

    #[test]
    fn writes_the_fields_that_cosign_writes() {
        let hint = hint_of(&key());
        assert_eq!(STANDARD.decode(&hint).unwrap().len(), 32);
        assert_eq!(
            text(),
            format!(
                r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{{"publicKey":{{"hint":"{hint}"}}}},"dsseEnvelope":{{"payload":"c3RhdGVtZW50","payloadType":"application/vnd.in-toto+json","signatures":[{{"sig":"c2lnbmF0dXJl"}}]}}}}"#
            )
        );
    }

    #[test]
    fn reads_a_bundle_made_with_a_key() {
        let good = text();
        for text in [
            good.clone(),
            good.replace(BUNDLE, BUNDLES[1]),
            good.replace("{\"hint\":", "{\"x\":1,\"hint\":"),
            good.replace("{\"publicKey\":", "{\"tlogEntries\":[],\"publicKey\":"),
            good.replace("{\"sig\":", "{\"keyid\":\"\",\"sig\":"),
        ] {
            let bundle = UntrustedBundle::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (bundle.payload, bundle.signature),
                (b"statement".into(), b"signature".into())
            );
        }
    }

    #[test]
    fn refuses_every_other_form() {
        let good = text();
        let signature = r#"{"sig":"c2lnbmF0dXJl"}"#;
        for text in [
            good.replace("v0.3", "v0.2"),
            good.replace("v0.3", "v0.4"),
            good.replace("publicKey", "certificate"),
            good.replace("{\"publicKey\":", "{\"certificate\":{},\"publicKey\":"),
            good.replace("{\"publicKey\":", "{\"x509CertificateChain\":{},\"publicKey\":"),
            good.replace("\"dsseEnvelope\":", "\"messageSignature\":{},\"dsseEnvelope\":"),
            good.replace("publicKey", "x509CertificateChain"),
            good.replace("dsseEnvelope", "messageSignature"),
            good.replace(IN_TOTO, "application/json"),
            good.replace(signature, ""),
            good.replace(signature, &format!("{signature},{signature}")),
            good.replace("c2lnbmF0dXJl", "c2lnbmF0dXJ"),
            good.replace("c3RhdGVtZW50", "c3RhdGVtZW5\\u000a"),
            good.replacen("{\"mediaType\"", "{\"mediaType\":\"x\",\"mediaType\"", 1),
            good.replace("\"payload\":", "\"payload\":\"eA==\",\"payload\":"),
            format!("{good}x"),
        ] {
            assert!(UntrustedBundle::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = UntrustedBundle::parse(&bytes);
        }
    }
}
