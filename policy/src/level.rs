//! What a failed check leads to.

use std::fmt;

use serde::Deserialize;

/// The verification level of a statement, in the words of the Notary Project's trust policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A failed check refuses the pull.
    Strict,
    /// A failed check is recorded, and the pull goes on.
    Audit,
    /// Nothing is checked.
    Skip,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Audit => "audit",
            Self::Skip => "skip",
        })
    }
}
