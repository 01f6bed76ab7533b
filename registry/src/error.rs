//! Why a registry did not answer the question.

use std::time::Duration;

use civ_oci::{DigestMismatch, text::one_line};

/// Why a read failed. Each names what was asked for, and shows text of the registry's only escaped
/// and cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Whoever was to answer the registry's challenge could not. No verifier has one.
    #[error("no permission to ask for {what}: {}", one_line(&source.to_string(), 200))]
    Authorizer {
        /// What was asked for.
        what: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's certificate is not one for it, or of nobody whom the system trusts.
    #[error(
        "registry's certificate is not trusted, for {what}: {}{}",
        one_line(&source.to_string(), 100),
        if *on_loopback {
            "; it is checked on loopback, too, where containerd does not: let the system trust its authority, or offer http"
        } else {
            ""
        }
    )]
    Certificate {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        source: std::io::Error,
        /// Whether the registry is on this machine.
        on_loopback: bool,
    },
    /// Time ran out.
    #[error("deadline passed while asking for {what}")]
    Deadline {
        /// What was asked for.
        what: String,
    },
    /// The registry sent something else.
    #[error("registry sent other content for {what}: {source}")]
    Digest {
        /// What was asked for.
        what: String,
        /// Both digests.
        source: DigestMismatch,
    },
    /// A redirect or token server where the registry may not send its clients.
    #[error(
        "registry wants to send us to {}, which is not followed, for {what}",
        one_line(target, 80)
    )]
    ForbiddenTarget {
        /// What was asked for.
        what: String,
        /// Where to.
        target: String,
    },
    /// The registry could not be reached before, and is not asked again.
    #[error("{what} is not asked for: the registry could not be reached")]
    GivenUp {
        /// What would have been asked for.
        what: String,
    },
    /// The registry answered, and not in HTTP.
    #[error("registry's answer for {what} is no valid HTTP: {}", one_line(&source.to_string(), 100))]
    NoHttp {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        source: ureq::Error,
    },
    /// The server does not speak TLS.
    #[error(
        "registry does not speak TLS, for {what}: verifiers speak plain http on loopback alone, so it needs a certificate"
    )]
    NoTls {
        /// What was asked for.
        what: String,
    },
    /// Too many redirects.
    #[error("limit reached: more than {limit} redirects for {what}")]
    Redirects {
        /// What was asked for.
        what: String,
        /// How many are followed.
        limit: u32,
    },
    /// Too many requests for one verdict.
    #[error("limit reached: {what} would take more than {limit} requests")]
    Requests {
        /// What was asked for.
        what: String,
        /// How many are made.
        limit: u32,
    },
    /// An answer that civ has no use for.
    #[error("registry answered {status}{} for {what}", OfficialCode(code.as_deref()))]
    Status {
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The error code in the body, as the distribution specification defines them.
        code: Option<String>,
    },
    /// The token server did not answer with a token.
    #[error("no token for {what}: {problem}")]
    Token {
        /// What was asked for.
        what: String,
        /// What the token server did.
        problem: TokenProblem,
    },
    /// The answer is too large.
    #[error("limit reached: {what} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// How much is read, in bytes.
        limit: u64,
    },
    /// The registry wants credentials, or other ones.
    #[error(
        "registry answered {status}: no permission to read {what}; {}",
        if *of_somebody {
            "it was asked with your credentials"
        } else {
            "verifiers ask without credentials (see signatureRepository)"
        }
    )]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// The HTTP status, 401 or 403.
        status: u16,
        /// Whether it was asked with what an [`Authorizer`](crate::Authorizer) gave.
        of_somebody: bool,
    },
    /// A redirect that says nowhere to go.
    #[error("registry answered {what} with a redirect without a usable Location")]
    NoLocation {
        /// What was asked for.
        what: String,
    },
    /// No connection, or it broke.
    #[error("registry unreachable for {what}: {}", one_line(&source.to_string(), 100))]
    Unreachable {
        /// What was asked for.
        what: String,
        /// What the transport says.
        source: ureq::Error,
    },
    /// No connection within the time for one.
    #[error("registry unreachable for {what}: no connection within {} s", limit.as_secs())]
    UnreachableInTime {
        /// What was asked for.
        what: String,
        /// The time for a connection.
        limit: Duration,
    },
}

/// What a token server did instead of giving a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenProblem {
    /// It could not be reached or broke off.
    #[error("token server unreachable: {}", one_line(&.0.to_string(), 100))]
    Unreachable(#[source] ureq::Error),
    /// It answered with another status.
    #[error("token server answered {0}")]
    Status(u16),
    /// The registry asks for yet another token.
    #[error("limit reached: the registry asks for more than {limit}")]
    TooOften {
        /// How many are fetched.
        limit: u32,
    },
    /// The token is longer than fits into a request, or the answer that holds it larger than any is.
    #[error("limit reached: the token, or the token server's answer, is too large")]
    TooLarge,
    /// Its answer holds no token.
    #[error("token server's answer is malformed")]
    Malformed,
}

struct OfficialCode<'a>(Option<&'a str>);

impl std::fmt::Display for OfficialCode<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(code) => write!(f, " {}", one_line(code, 40)),
            None => Ok(()),
        }
    }
}
