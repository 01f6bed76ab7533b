//! Why a key or a signature is not accepted.

use spki::ObjectIdentifier;

/// Kinds of keys that exist and are not accepted, so that they can be called by name.
const NOT_ACCEPTED: [(&str, &str); 7] = [
    ("1.3.132.0.10", "ECDSA secp256k1 (KMS ECC_SECG_P256K1)"),
    ("1.2.156.10197.1.301", "SM2 (KMS SM2)"),
    ("1.3.101.113", "Ed448"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS-only RSA"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44 (KMS ML_DSA_44)"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65 (KMS ML_DSA_65)"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87 (KMS ML_DSA_87)"),
];

/// Not this key's signature over this message. There is nothing more to know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature does not verify")]
pub struct SignatureError;

/// Why a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Text or another block after the key.
    #[error("not one public key in PEM: something follows its END line; remove it")]
    AfterPem,
    /// A certificate where a key belongs.
    #[error("a certificate is no public key; extract it with openssl x509 -pubkey -noout")]
    Certificate,
    /// An ECDSA key that states only half of its point.
    #[error(
        "a compressed point is no key here; write it with openssl ec -pubin -pubout -conv_form uncompressed"
    )]
    CompressedPoint,
    /// A kind of key that is not accepted.
    #[error(
        "{kind} keys are not accepted; use ECDSA P-256, P-384, P-521, Ed25519 or RSA 2048 to 4096"
    )]
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
    /// No PEM block.
    #[error("not a public key in PEM: no line begins with -----BEGIN")]
    NoPem,
    /// The numbers of an ECDSA key are no point of its curve.
    #[error(
        "not a public key: it is no point of {curve}, so it was changed on its way; copy it again"
    )]
    NotOnCurve {
        /// The curve.
        curve: &'static str,
    },
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
    pub(super) fn not_accepted(oid: ObjectIdentifier) -> Self {
        let oid = oid.to_string();
        let name = NOT_ACCEPTED.iter().find(|(known, _)| *known == oid).map(|(_, name)| *name);
        Self::Kind { kind: name.map_or(oid, str::to_owned) }
    }
}
