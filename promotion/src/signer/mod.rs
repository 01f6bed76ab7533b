//! Who signs: a key in AWS KMS, which never leaves it, or a private key in a file.
//!
//! Whatever signs, the signature is checked with the public key before anybody sees it, by the same
//! code that the gate runs. A key that the gate could not verify is refused when it is opened.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use civ_cosign::{KeyError as PublicKeyError, PublicKey};
use civ_policy::KmsKeyRef;
use civ_policy::kms::KmsKeyRefError;

pub(crate) use kms::GateKeys;
pub use kms::{Kms, KmsError};
pub use local::{KeyKind, LocalKey, LocalKeyError, NewKey};
pub use password::{NoPassword, Password, PasswordError, PasswordSource};

mod kms;
mod local;
mod password;

/// Where a signing key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRef {
    /// In a file: PEM.
    File(PathBuf),
    /// In AWS KMS.
    Kms(KmsKeyRef),
}

impl FromStr for KeyRef {
    type Err = SignerError;

    fn from_str(text: &str) -> Result<Self, SignerError> {
        if KmsKeyRef::is_meant_by(text) {
            return Ok(Self::Kms(text.parse()?));
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(SignerError::Scheme { scheme: scheme.to_owned() }),
            None if text.is_empty() => Err(SignerError::NoKey),
            None => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Kms(key) => key.fmt(f),
        }
    }
}

/// A signing key, ready to sign.
#[derive(Clone, Debug)]
pub enum Signer {
    /// In AWS KMS.
    Kms(Kms),
    /// In this process.
    Local(LocalKey),
}

impl Signer {
    /// Finds the key and its public half; `passwords` is asked if its file is encrypted. Signs
    /// nothing yet.
    pub async fn open(
        key: &KeyRef,
        passwords: Arc<dyn PasswordSource>,
    ) -> Result<Self, SignerError> {
        Ok(match key {
            KeyRef::File(path) => {
                let path = path.clone();
                // A person may have to type a password, which then takes its time to check.
                let read = tokio::task::spawn_blocking(move || LocalKey::read(&path, &*passwords));
                Self::Local(read.await.map_err(|_| SignerError::Stopped)??)
            }
            KeyRef::Kms(key) => Self::Kms(Kms::open(key).await?),
        })
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> &PublicKey {
        match self {
            Self::Kms(key) => key.public_key(),
            Self::Local(key) => key.public_key(),
        }
    }

    /// What the key calls its way of signing, such as `ECDSA_SHA_256`.
    pub fn algorithm(&self) -> &str {
        match self {
            Self::Kms(key) => key.algorithm(),
            Self::Local(key) => key.algorithm(),
        }
    }

    /// A signature over `message` that [`Self::public_key`] verifies.
    pub async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        let signature = match self {
            Self::Kms(key) => key.sign(message).await?,
            Self::Local(key) => key.sign(message)?,
        };
        match self.public_key().verify_signature(message, &signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(SignerError::DoesNotVerify { algorithm: self.algorithm().to_owned() }),
        }
    }
}

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// What was signed does not verify.
    #[error(
        "the key's own signature ({algorithm}) does not verify with its public key; nothing is written"
    )]
    DoesNotVerify {
        /// The algorithm.
        algorithm: String,
    },
    /// KMS does not do as asked.
    #[error(transparent)]
    Kms(#[from] Box<KmsError>),
    /// The reference looks like KMS but is not one.
    #[error(transparent)]
    KmsReference(#[from] KmsKeyRefError),
    /// The file holds no key that can sign.
    #[error(transparent)]
    Local(#[from] LocalKeyError),
    /// No reference at all.
    #[error("no key is named: give awskms:///… or the path of a PEM file")]
    NoKey,
    /// The gate would not accept the public key.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another key management service.
    #[error("{scheme}:// keys are not supported: give awskms:///… or the path of a PEM file")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// The program ends while the key is read.
    #[error("stopped while reading the key")]
    Stopped,
}

impl SignerError {
    /// Whether the key's service could not be asked, or not now: nothing is known of the key.
    pub fn is_about_service(&self) -> bool {
        matches!(self, Self::Kms(error) if error.is_about_service())
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => {
                Some("give the path of a PEM file that you may read, or awskms:///…")
            }
            Self::Kms(error) => error.hint(),
            Self::Local(error) => error.hint(),
            Self::KmsReference(_) => {
                Some("write awskms:///KEY-ID, awskms:///alias/NAME or awskms:///ARN")
            }
            _ => None,
        }
    }
}

impl From<KmsError> for SignerError {
    fn from(error: KmsError) -> Self {
        Self::Kms(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_kms_keys_from_files() {
        let kms = "awskms:///alias/release".parse::<KeyRef>().unwrap();
        assert!(matches!(&kms, KeyRef::Kms(key) if key.key_id() == "alias/release"));
        assert_eq!(kms.to_string(), "awskms:///alias/release");
        assert_eq!("k/cosign.key".parse::<KeyRef>().unwrap(), KeyRef::File("k/cosign.key".into()));
        for (text, part) in [
            ("", "no key"),
            ("awskms://alias/x", "not a KMS key reference"),
            ("gcpkms://projects/p", "gcpkms:// keys are not supported"),
            ("env://COSIGN_KEY", "env:// keys are not supported"),
        ] {
            let error = text.parse::<KeyRef>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
