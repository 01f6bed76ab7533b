//! RSA: what ring knows, and PSS with the longest salt.

use ring::signature as algorithms;
use rsa::sha2::{Digest as _, Sha256, Sha384, Sha512};
use rsa::traits::PublicKeyParts as _;
use spki::der::Decode as _;

use super::{KeyError, SignatureError, verify_with};

/// RSA moduli accepted, in bits.
const BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Refuses a PKCS #1 `RSAPublicKey` by the length of its modulus, before anything is computed with
/// it.
pub(super) fn check_size(key: &[u8]) -> Result<(), KeyError> {
    let key = rsa::pkcs1::RsaPublicKey::from_der(key).map_err(|_| KeyError::Malformed)?;
    let bits = bit_length(key.modulus.as_bytes());
    if BITS.contains(&bits) { Ok(()) } else { Err(KeyError::RsaSize { bits }) }
}

/// Checks a signature with `key`, which is `der` parsed.
pub(super) fn verify(
    der: &[u8],
    key: &rsa::RsaPublicKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    if signature.len() != key.size() {
        return Err(SignatureError);
    }
    verify_with(
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
    .or_else(|_| verify_pss_with_longest_salt(key, message, signature))
}

/// The length of a big-endian number without leading zero bytes.
fn bit_length(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| byte.leading_zeros() as usize);
    number.len() * 8 - unused
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
