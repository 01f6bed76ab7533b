//! Why a registry did not do as asked, with what it said for itself on one line.

use std::time::Duration;

use civ_oci::{Digest, DigestMismatch, DocumentError, text::one_line};

use super::credentials::CredentialsError;
use super::diagnostic::{Diagnostic, MESSAGE_MAX};

/// The most that is read of an error body, in bytes.
pub(super) const ERROR_BODY_MAX: usize = 64 << 10;

/// Why a request to a registry failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry answered with a status that means no.
    #[error("the registry answers {status}{diagnostic}")]
    Answer {
        /// The HTTP status.
        status: u16,
        /// What the registry says about it.
        diagnostic: Diagnostic,
    },
    /// The token service or the registry refused the credentials.
    #[error("the credentials for {host} are refused: {realm} answers {status}{diagnostic}")]
    BadCredentials {
        /// The registry whose credentials were used.
        host: String,
        /// The host that refused them.
        realm: String,
        /// The HTTP status.
        status: u16,
        /// What it says about it.
        diagnostic: Diagnostic,
    },
    /// The bytes are not those asked for.
    #[error(transparent)]
    BadContent(#[from] DigestMismatch),
    /// A header that a request needs cannot be written.
    #[error("the registry's token cannot be sent: it has characters that no header may have")]
    BadToken,
    /// The token service's answer is not what it should be.
    #[error("{realm} answers with something that is not a token")]
    BadTokenAnswer {
        /// The token service's host.
        realm: String,
    },
    /// The registry asks to be asked again later.
    #[error(
        "the registry answers {status}{diagnostic}, and asks to come back in {} s",
        after.as_secs()
    )]
    Busy {
        /// The HTTP status.
        status: u16,
        /// How long it asks to wait.
        after: Duration,
        /// What the registry says about it.
        diagnostic: Diagnostic,
    },
    /// The connection could not be made, or broke.
    #[error("no connection: {}", one_line(&root_cause(.0), MESSAGE_MAX))]
    Connection(#[source] reqwest::Error),
    /// The local credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The registry has something there, but it is no manifest.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A name that the registry gave leads to this machine alone.
    #[error(
        "the registry leads to {host}, which is refused: the name leads to no address outside this machine"
    )]
    LeadsHere {
        /// The name.
        host: String,
    },
    /// The registry's name makes no address.
    #[error("{host} is no address of a registry")]
    NoAddress {
        /// The registry.
        host: String,
    },
    /// The registry asks for credentials and there are none.
    #[error("{host} asks for credentials and there are none for it")]
    NoCredentials {
        /// The registry.
        host: String,
    },
    /// An answer lacks the header that the protocol asks for.
    #[error("the registry's answer has no usable {header} header")]
    NoHeader {
        /// The header.
        header: &'static str,
    },
    /// The registry asks for a password, and what there is is something else.
    #[error("{host} asks for a password, and there is only an identity token for it")]
    NoPassword {
        /// The registry.
        host: String,
    },
    /// A stream stopped moving.
    #[error("nothing moved for {} s", after.as_secs())]
    Stalled {
        /// How long civ waited.
        after: Duration,
    },
    /// More bytes than the descriptor states.
    #[error("content is longer than {limit} bytes")]
    TooLarge {
        /// The length stated.
        limit: u64,
    },
    /// More bytes than civ reads of such a thing.
    #[error("limit reached: the answer is longer than {limit} bytes, and civ reads no more")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// It takes too long, all attempts and pauses together.
    #[error("no complete answer within {} s", limit.as_secs())]
    TooSlow {
        /// The most time that there is.
        limit: Duration,
    },
    /// Redirects without end.
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// The most that are followed.
        limit: usize,
    },
    /// Fewer bytes than the descriptor states.
    #[error("content ends after {actual} of {expected} bytes")]
    Truncated {
        /// The length stated.
        expected: u64,
        /// The length that came.
        actual: u64,
    },
    /// The token was refused where it cannot be renewed in passing.
    #[error("the registry no longer accepts the token")]
    Unauthorized,
    /// The registry asks for an authentication scheme that civ does not have.
    #[error("{host} asks for neither Basic nor Bearer authentication")]
    UnknownScheme {
        /// The registry.
        host: String,
    },
    /// The registry has another length of it than the manifest.
    #[error("the registry has {actual} bytes of it, and the manifest says {stated}")]
    WrongLength {
        /// What the manifest says.
        stated: u64,
        /// What the registry says.
        actual: u64,
    },
    /// The registry points to a place that civ does not go to.
    #[error("the registry's {what} leads to {to}, which is refused: {why}")]
    WrongPlace {
        /// What points there: `redirect`, `realm` or `Location`.
        what: &'static str,
        /// The host it points to.
        to: String,
        /// Why that is refused.
        why: &'static str,
    },
}

impl AsRef<Self> for RegistryError {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl RegistryError {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Answer { status, .. } => is_busy(*status),
            Self::Connection(error) => !error.is_builder(),
            Self::Busy { .. }
            | Self::Stalled { .. }
            | Self::TooSlow { .. }
            | Self::Truncated { .. } => true,
            _ => false,
        }
    }

    /// Whether civ waited, and nothing came.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Stalled { .. } | Self::TooSlow { .. })
    }

    /// Whether there was nobody to ask.
    pub(super) fn is_nobody_there(&self) -> bool {
        matches!(self, Self::Connection(error) if error.is_connect())
    }

    /// How long the registry asks to wait.
    pub(crate) fn asked(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } => Some(*after),
            _ => None,
        }
    }

    /// The registry's error code, such as `TAG_INVALID`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Answer { diagnostic, .. } | Self::Busy { diagnostic, .. } => {
                diagnostic.code.as_deref()
            }
            _ => None,
        }
    }

    /// The HTTP status of the registry's answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. }
            | Self::BadCredentials { status, .. }
            | Self::Busy { status, .. } => Some(*status),
            Self::Unauthorized => Some(401),
            _ => None,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Answer { diagnostic, .. }
                if diagnostic.code.as_deref() == Some("NAME_UNKNOWN") =>
            {
                "create the repository, or check its name"
            }
            Self::Answer { status: 403, .. } => {
                "ask for permission to do this in the repository (push needs pull as well)"
            }
            Self::Answer { diagnostic, .. }
                if diagnostic.code.as_deref() == Some("MANIFEST_BLOB_UNKNOWN") =>
            {
                "the registry said that it has all of it: have its storage mended, or use another \
                 repository"
            }
            Self::Answer { status: 413 | 507, .. } => {
                "make room: raise the registry's quota or limit (or that of the proxy before it)"
            }
            Self::Answer { status: 300..=399, .. } => {
                "name the registry by the address that it redirects to"
            }
            Self::Answer { status: 401, .. } | Self::Unauthorized | Self::NoCredentials { .. } => {
                "log in to the registry (docker login), with permission for this repository"
            }
            Self::NoPassword { .. } => {
                "log in to the registry with user and password (docker login --username)"
            }
            Self::BadCredentials { .. } => "log in to the registry again (docker login)",
            Self::Answer { status, .. } if is_busy(*status) => "run the same command again later",
            Self::Busy { .. } => "run the same command again then",
            Self::BadTokenAnswer { .. } | Self::NoHeader { .. } | Self::UnknownScheme { .. } => {
                "check that a registry answers there, and not a proxy or another service"
            }
            Self::Credentials(error) => return error.hint(),
            Self::Document(DocumentError::SchemaOne | DocumentError::SchemaVersion { .. }) => {
                "push the image again with a current tool"
            }
            Self::LeadsHere { .. } => {
                "let that name lead to its public address, or to the proxy that civ is to use"
            }
            Self::TooLong { .. } => "verifiers read no more either: make it smaller",
            Self::WrongLength { .. } => "the manifest is wrong: build the image and push it again",
            Self::WrongPlace { what: "Location", .. } => {
                "set the registry's public URL (behind a proxy: X-Forwarded-Proto and -Host)"
            }
            Self::WrongPlace { .. } => {
                "have the registry name an https address outside this machine"
            }
            Self::BadContent(_) | Self::Truncated { .. } | Self::TooLarge { .. } => {
                "the registry's copy is damaged: push the image to it again"
            }
            Self::Connection(_) | Self::Stalled { .. } | Self::TooSlow { .. } => {
                "check the registry's name and the network, then run the same command again"
            }
            _ => return None,
        })
    }
}

/// Statuses that ask to try again.
pub(crate) fn is_busy(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// The innermost cause, which is the one that says something (`Connection refused`).
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Compares a length with the one expected.
pub(super) fn check_length(expected: u64, actual: u64) -> Result<(), RegistryError> {
    match actual.cmp(&expected) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(RegistryError::Truncated { expected, actual }),
        std::cmp::Ordering::Greater => Err(RegistryError::TooLarge { limit: expected }),
    }
}

/// Compares a digest with the one expected.
pub(super) fn check_digest(expected: &Digest, actual: Digest) -> Result<(), RegistryError> {
    if *expected == actual {
        Ok(())
    } else {
        Err(DigestMismatch { expected: expected.clone(), actual }.into())
    }
}
