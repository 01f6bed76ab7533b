//! Why a file holds no key that can sign.

use crate::signer::PasswordError;

/// Why a file holds no key that can sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalKeyError {
    /// Not what cosign or openssl writes.
    #[error("the encrypted private key is malformed")]
    EncryptedMalformed,
    /// No key could be made.
    #[error("no key can be made: the system gives no random numbers or no memory")]
    Generate,
    /// No private key in the file.
    #[error("not a private key in PEM")]
    NoPrivateKey,
    /// A private key of a kind that the gate does not verify.
    #[error(
        "the private key is malformed or of a kind that is not accepted; use ECDSA P-256, P-384, P-521, Ed25519 or RSA 2048 to 4096"
    )]
    NotAccepted,
    /// OpenSSH's own format.
    #[error("this is an OpenSSH private key, not PKCS #8, SEC 1 or PKCS #1")]
    OpenSsh,
    /// No password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A public key where the private one belongs.
    #[error("this is a public key, which cannot sign")]
    Public,
    /// The library would not sign.
    #[error("the private key cannot sign")]
    Sign,
    /// A password hash that only an attacker asks for.
    #[error("the encrypted private key asks for more computing than any key needs")]
    TooCostly,
    /// Not a key file.
    #[error("the file is larger than {limit} bytes, which no key is")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// Encryption of before PKCS #5 version 2.
    #[error("the private key is encrypted in a way that is too weak to be supported")]
    WeakEncryption,
    /// The password is another one, or the file was damaged.
    #[error("the password does not open the private key")]
    WrongPassword,
}

impl LocalKeyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Password(PasswordError::Unknown) => {
                "set COSIGN_PASSWORD, or run civ on a terminal to be asked for it"
            }
            Self::WeakEncryption => {
                "encrypt it anew with: openssl pkcs8 -topk8 -in KEY -out KEY.pem"
            }
            Self::WrongPassword => "check the password (COSIGN_PASSWORD, if that is set)",
            Self::NoPrivateKey | Self::NotAccepted | Self::OpenSsh => {
                "make one with: civ key generate"
            }
            Self::Public => "give the private key to sign with; verify takes the public one",
            Self::EncryptedMalformed
            | Self::Generate
            | Self::Password(_)
            | Self::Sign
            | Self::TooCostly
            | Self::TooLarge { .. } => return None,
        })
    }
}
