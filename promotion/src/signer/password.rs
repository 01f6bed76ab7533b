//! Where the password of an encrypted key file comes from. The library asks no environment and no
//! terminal: its caller says.

use std::fmt;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

/// A password: bytes, overwritten when dropped, and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// The bytes, for what decrypts with them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Password {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Who knows the passwords of key files.
pub trait PasswordSource: fmt::Debug + Send + Sync {
    /// The password of the key in `file`. Called at most once per file, and only if its key is
    /// encrypted. May block.
    fn password(&self, file: &Path) -> Result<Password, PasswordError>;
}

/// For programs that take no passwords.
#[derive(Clone, Copy, Debug)]
pub struct NoPassword;

impl PasswordSource for NoPassword {
    fn password(&self, _: &Path) -> Result<Password, PasswordError> {
        Err(PasswordError::Unknown)
    }
}

/// The password of every file.
impl PasswordSource for Password {
    fn password(&self, _: &Path) -> Result<Password, PasswordError> {
        Ok(self.clone())
    }
}

/// Why there is no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The terminal cannot be read.
    #[error("the password cannot be read from the terminal: {kind}")]
    Terminal {
        /// What is wrong.
        kind: io::ErrorKind,
    },
    /// Nobody has said it, and there is nobody to ask.
    #[error("the private key is encrypted and its password is not known")]
    Unknown,
}
