//! What a verifier can answer.

use std::fmt;

use civ_policy::{Evidence, Level};

use crate::Request;

/// How the process ends. containerd prints the number, so operators can alert on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The pull may go on.
    Allow = 0,
    /// The policy refuses the image.
    Refused = 1,
    /// The call itself is malformed.
    BadCall = 2,
    /// The policy is absent or not valid.
    BadPolicy = 3,
    /// The registry, or the way to it, failed.
    Registry = 4,
    /// Time ran out.
    Deadline = 5,
    /// A defect of the verifier.
    Internal = 70,
}

/// An answer that lets the pull go on.
///
/// It is made from a proof about the very image that was asked about, or from a refusal that the
/// policy's level says to record only; there is no other constructor.
#[derive(Debug)]
pub struct Verdict {
    pub(crate) reason: String,
    pub(crate) audited: Option<Exit>,
}

impl Verdict {
    /// The verdict on `request` under a statement of `level`, given the outcome of its checks.
    ///
    /// # Errors
    /// The refusal itself, unless the level is `audit`; and evidence about another image.
    pub fn at_level(
        level: Level,
        request: &Request,
        outcome: Result<Box<dyn Evidence>, Refusal>,
    ) -> Result<Self, Refusal> {
        match outcome {
            Ok(evidence) if evidence.image() == &request.image => {
                Ok(Self { reason: evidence.to_string(), audited: None })
            }
            Ok(evidence) => Err(Refusal {
                exit: Exit::Internal,
                reason: format!("checked {} instead", evidence.image()),
            }),
            Err(refusal) if level == Level::Audit => Ok(Self {
                reason: format!("audit only, would refuse: {}", refusal.reason),
                audited: Some(refusal.exit),
            }),
            Err(refusal) => Err(refusal),
        }
    }
}

/// An answer that ends the pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How the process ends.
    pub exit: Exit,
    /// What the operator reads, decisive fact first.
    pub reason: String,
}

impl Refusal {
    /// The policy refuses the image.
    pub fn by_policy(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::Refused, reason: reason.to_string() }
    }

    /// The call is malformed.
    pub fn bad_call(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::BadCall, reason: reason.to_string() }
    }

    /// The policy is absent or not valid.
    pub fn bad_policy(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::BadPolicy, reason: reason.to_string() }
    }

    /// The registry, or the way to it, failed.
    pub fn registry(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::Registry, reason: reason.to_string() }
    }

    /// Time ran out.
    pub fn deadline(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::Deadline, reason: reason.to_string() }
    }
}
