//! Ed25519ph (RFC 8032, 5.1), which ring does not know and cosign signs with.
//!
//! Its hash begins with a prefix of its own, so that no signature is good in both forms over two
//! different messages.

use ed25519_dalek::{Signature, VerifyingKey};
use rsa::sha2::{Digest as _, Sha512};

use super::{KeyError, SignatureError};

/// Refuses what is no point of the curve, and the few points under which one signature fits many
/// messages, which ring would take.
pub(super) fn check(key: &[u8]) -> Result<[u8; 32], KeyError> {
    let bytes: [u8; 32] = key.try_into().map_err(|_| KeyError::Malformed)?;
    match VerifyingKey::from_bytes(&bytes) {
        Ok(key) if !key.is_weak() => Ok(bytes),
        _ => Err(KeyError::Malformed),
    }
}

/// Checks a signature over the SHA-512 of `message`, without a context.
pub(super) fn verify_prehashed(
    key: &[u8; 32],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| SignatureError)?;
    let signature = Signature::from_slice(signature).map_err(|_| SignatureError)?;
    let hash = Sha512::new_with_prefix(message);
    key.verify_prehashed_strict(hash, None, &signature).map_err(|_| SignatureError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PublicKey;

    /// RFC 8032, 7.3.
    const KEY: &str = "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf";
    const SIGNATURE: &str = "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41\
                             31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406";
    /// RFC 8410, 4: what precedes the point in a `SubjectPublicKeyInfo`.
    const SPKI: &str = "302a300506032b6570032100";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }

    #[test]
    fn verifies_the_vector_of_the_rfc_and_nothing_near_it() {
        let key = PublicKey::from_spki_der(&bytes(&format!("{SPKI}{KEY}"))).unwrap();
        let signature = bytes(SIGNATURE);
        key.verify_signature(b"abc", &signature).unwrap();
        key.verify_signature(b"abd", &signature).unwrap_err();
        // The hash as the message is the other form of the same key.
        key.verify_signature(&Sha512::digest(b"abc"), &signature).unwrap_err();
        for index in 0..signature.len() {
            let mut tampered = signature.clone();
            tampered[index] ^= 1;
            key.verify_signature(b"abc", &tampered).unwrap_err();
        }
        key.verify_signature(b"abc", &signature[..63]).unwrap_err();
    }

    #[test]
    fn refuses_keys_under_which_one_signature_fits_every_message() {
        // The neutral element, as key and as R, with S = 0.
        let neutral = format!("01{}", "00".repeat(31));
        let signature = bytes(&format!("{neutral}{}", "00".repeat(32)));
        let key: [u8; 32] = bytes(&neutral).try_into().unwrap();
        verify_prehashed(&key, b"any", &signature).unwrap_err();
        for point in [neutral, "00".repeat(32), "02".repeat(32), "01".repeat(31)] {
            let key = PublicKey::from_spki_der(&bytes(&format!("{SPKI}{point}")));
            assert_eq!(key, Err(KeyError::Malformed), "{point}");
        }
    }
}
