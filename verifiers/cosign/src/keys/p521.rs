//! ECDSA over P-521, which ring does not know.

use p521::ecdsa::signature::hazmat::PrehashVerifier as _;
use p521::ecdsa::{Signature, VerifyingKey};
use rsa::sha2::{Digest as _, Sha256, Sha512};

use super::SignatureError;

/// Checks a DER signature over `message` with the uncompressed `point`.
pub(super) fn verify(point: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_sec1_bytes(point).map_err(|_| SignatureError)?;
    let signature = Signature::from_der(signature).map_err(|_| SignatureError)?;
    let verifies = |hash: &[u8]| key.verify_prehash(hash, &signature).is_ok();
    if verifies(&Sha512::digest(message)) || verifies(&Sha256::digest(message)) {
        Ok(())
    } else {
        Err(SignatureError)
    }
}
