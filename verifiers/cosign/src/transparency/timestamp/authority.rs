//! Timestamp authorities: the chains that a policy gives.

use cms::signed_data::SignerIdentifier;
use der::Decode as _;
use ring::digest::digest;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use spki::ObjectIdentifier;
use webpki::{EndEntityCert, KeyUsage, ring as algorithms};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectKeyIdentifier};

use super::TimestampError;
use super::token::UntrustedToken;

/// The most certificates in a chain.
const CHAIN_MAX: usize = 8;
const END: &str = "-----END CERTIFICATE-----";

const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// The same, as it stands in a certificate.
const TIME_STAMPING_DER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];

const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

type Algorithm = &'static dyn rustls_pki_types::SignatureVerificationAlgorithm;

/// The algorithms that certificates may be signed with.
const CHAIN_ALGORITHMS: [Algorithm; 7] = [
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
];

/// An authority: the certificate that signs timestamps, and what leads from it to a root.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    signer: Certificate,
    signer_der: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    root: TrustAnchor<'static>,
    /// From when to when all of the chain is valid, in seconds since 1970.
    valid: std::ops::RangeInclusive<u64>,
}

impl Authority {
    /// Reads a chain of certificates in PEM, which is in order.
    pub(super) fn parse(pem: &str) -> Result<Self, ChainError> {
        let chain = split(pem)?;
        if chain.len() > CHAIN_MAX {
            return Err(ChainError::TooLong { count: chain.len(), max: CHAIN_MAX });
        }
        let parsed: Vec<Certificate> = chain
            .iter()
            .map(|der| Certificate::from_der(der).map_err(|_| ChainError::Malformed))
            .collect::<Result<_, _>>()?;
        let ([signer_der, intermediates @ .., root], Some(signer)) =
            (chain.as_slice(), parsed.first())
        else {
            return Err(ChainError::TooShort);
        };
        check_usage(signer)?;
        let validity = |certificate: &Certificate| certificate.tbs_certificate.validity;
        let from = parsed
            .iter()
            .map(|certificate| validity(certificate).not_before.to_unix_duration().as_secs());
        let until = parsed
            .iter()
            .map(|certificate| validity(certificate).not_after.to_unix_duration().as_secs());
        let valid = from.max().unwrap_or(u64::MAX)..=until.min().unwrap_or(0);
        if valid.is_empty() {
            return Err(ChainError::NeverValid);
        }
        let root = webpki::anchor_from_trusted_cert(root).map_err(ChainError::Path)?.to_owned();
        let authority = Self {
            signer: signer.clone(),
            signer_der: signer_der.clone(),
            intermediates: intermediates.to_vec(),
            root,
            valid,
        };
        // It must hold at some time, or it is a mistake of the policy's.
        authority.check_path(*authority.valid.start())?;
        Ok(authority)
    }

    /// Does the token say that this authority signed it?
    pub(super) fn is_signer(&self, token: &UntrustedToken) -> bool {
        let signer = &self.signer.tbs_certificate;
        match token.signer_id() {
            SignerIdentifier::IssuerAndSerialNumber(id) => {
                id.issuer == signer.issuer && id.serial_number == signer.serial_number
            }
            SignerIdentifier::SubjectKeyIdentifier(id) => {
                signer.get::<SubjectKeyIdentifier>().is_ok_and(|found| {
                    found.is_some_and(|(_, known)| known.0.as_bytes() == id.0.as_bytes())
                })
            }
        }
    }

    /// Did it?
    pub(super) fn verify(&self, token: &UntrustedToken) -> Result<(), TimestampError> {
        let attributes = &token.attributes;
        let hash = digest(attributes.certificate_algorithm, &self.signer_der);
        if hash.as_ref() != attributes.certificate_hash {
            return Err(TimestampError::Signature);
        }
        let key = EndEntityCert::try_from(&self.signer_der)
            .map_err(|error| TimestampError::Chain(ChainError::Path(error)))?;
        let info = &token.signer;
        let verified = signature_algorithms(info.signature_algorithm.oid, info.digest_alg.oid)
            .iter()
            .any(|algorithm| {
                key.verify_signature(*algorithm, &attributes.bytes, info.signature.as_bytes())
                    .is_ok()
            });
        if !verified {
            return Err(TimestampError::Signature);
        }
        if !self.valid.contains(&token.unix_seconds()) {
            return Err(TimestampError::Validity);
        }
        self.check_path(token.unix_seconds()).map_err(TimestampError::Chain)
    }

    fn check_path(&self, unix_seconds: u64) -> Result<(), ChainError> {
        let signer = EndEntityCert::try_from(&self.signer_der).map_err(ChainError::Path)?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(unix_seconds));
        let path = signer.verify_for_usage(
            &CHAIN_ALGORITHMS,
            std::slice::from_ref(&self.root),
            &self.intermediates,
            time,
            // The signer's was seen when the policy was loaded; an issuer may do without.
            KeyUsage::required_if_present(TIME_STAMPING_DER),
            None,
            None,
        );
        path.map(drop).map_err(ChainError::Path)
    }
}

/// The certificate is for timestamps and for nothing else (RFC 3161, 2.3).
fn check_usage(signer: &Certificate) -> Result<(), ChainError> {
    let usage = signer.tbs_certificate.get::<ExtendedKeyUsage>();
    match usage.map_err(|_| ChainError::Malformed)? {
        Some((true, ExtendedKeyUsage(usages))) if *usages == [TIME_STAMPING] => Ok(()),
        _ => Err(ChainError::Usage),
    }
}

/// What a signer may mean by a signature algorithm, which names the hash or leaves it to another
/// field.
fn signature_algorithms(signature: ObjectIdentifier, hash: ObjectIdentifier) -> Vec<Algorithm> {
    let rsa_of_hash = match super::token::algorithm(hash).map(ring::digest::Algorithm::output_len) {
        Some(32) => RSA_SHA256,
        Some(48) => RSA_SHA384,
        Some(64) => RSA_SHA512,
        _ => return Vec::new(),
    };
    match if signature == RSA { rsa_of_hash } else { signature } {
        ECDSA_SHA256 => vec![algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256],
        ECDSA_SHA384 => vec![algorithms::ECDSA_P256_SHA384, algorithms::ECDSA_P384_SHA384],
        RSA_SHA256 => vec![algorithms::RSA_PKCS1_2048_8192_SHA256],
        RSA_SHA384 => vec![algorithms::RSA_PKCS1_2048_8192_SHA384],
        RSA_SHA512 => vec![algorithms::RSA_PKCS1_2048_8192_SHA512],
        _ => Vec::new(),
    }
}

/// The certificates of a text that holds nothing else.
fn split(pem: &str) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let mut chain = Vec::new();
    let mut rest = pem.trim();
    while !rest.is_empty() {
        let (block, after) = rest.split_once(END).ok_or(ChainError::Pem)?;
        let block = format!("{block}{END}");
        let (label, der) =
            pem_rfc7468::decode_vec(block.as_bytes()).map_err(|_| ChainError::Pem)?;
        if label != "CERTIFICATE" {
            return Err(ChainError::Pem);
        }
        chain.push(der.into());
        rest = after.trim_start();
    }
    Ok(chain)
}

/// Why a chain of certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A certificate is no X.509.
    #[error("a certificate's DER is malformed")]
    Malformed,
    /// There is no time at which all certificates are valid.
    #[error("its certificates are at no time all valid")]
    NeverValid,
    /// One does not vouch for the next.
    #[error(
        "its certificates are not a chain, the timestamp signer's first and the root last: {0}"
    )]
    Path(webpki::Error),
    /// It is not a list of certificates.
    #[error("not certificates in PEM, one after the other and nothing else")]
    Pem,
    /// It has too many certificates.
    #[error("{count} certificates are more than {max}")]
    TooLong {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The certificate that signs timestamps or the root is missing.
    #[error("fewer than two certificates; list the timestamp signer's first and the root last")]
    TooShort,
    /// The first certificate is not one that signs timestamps.
    #[error(
        "its first certificate is not a timestamp signer's: the critical extended key usage must be timeStamping alone"
    )]
    Usage,
}
