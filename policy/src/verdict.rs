//! What can be said about a pull, and how it is told while it is found out.
//!
//! The words are the policy's, so that the verifier on a node and whoever asks beforehand what it
//! would say come to them by the same code.

use std::fmt;

use civ_oci::ImageId;

use crate::{Evidence, Level};

/// How a verifier's process ends. containerd prints the number, so operators can alert on it.
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
    /// A defect of the verifier, or of the machine that it runs on.
    Internal = 70,
}

/// An answer that lets the pull go on.
///
/// It is made from a proof about the very image that was asked about, or from a refusal that the
/// policy's level says to record only; there is no other constructor.
#[derive(Debug)]
pub struct Verdict {
    reason: String,
    audited: Option<Exit>,
}

impl Verdict {
    /// The verdict on `image` under a statement of `level`, given the outcome of its checks.
    ///
    /// # Errors
    /// The refusal itself, unless the level is `audit`; and evidence about another image.
    pub fn at_level(
        level: Level,
        image: &ImageId,
        outcome: Result<Box<dyn Evidence>, Refusal>,
    ) -> Result<Self, Refusal> {
        match outcome {
            Ok(evidence) if evidence.image() == image => {
                Ok(Self { reason: evidence.to_string(), audited: None })
            }
            Ok(evidence) => {
                Err(Refusal::internal(format_args!("checked {} instead", evidence.image())))
            }
            Err(refusal) if level == Level::Audit => Ok(Self {
                reason: format!("audit only, would refuse: {}", refusal.reason),
                audited: Some(refusal.exit),
            }),
            Err(refusal) => Err(refusal),
        }
    }

    /// What the operator reads.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How the process would have ended, had the level been `strict`.
    pub fn audited(&self) -> Option<Exit> {
        self.audited
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

    /// The document at `path` is not valid. What is wrong comes first: the path may be long.
    pub fn invalid_policy(path: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::bad_policy(format_args!("policy not valid: {error} ({path})"))
    }

    /// The registry, or the way to it, failed.
    pub fn registry(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::Registry, reason: reason.to_string() }
    }

    /// Time ran out.
    pub fn deadline(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::Deadline, reason: reason.to_string() }
    }

    /// The verifier, or the machine that it runs on, is at fault.
    pub fn internal(reason: impl fmt::Display) -> Self {
        Self { exit: Exit::Internal, reason: reason.to_string() }
    }
}

/// Hears how a verdict comes about: a verifier's record, or whoever explains one.
pub trait Observer {
    /// A fact about the verdict.
    fn set(&self, key: &'static str, value: &dyn ToString);

    /// A number that belongs to the verdict.
    fn count(&self, key: &'static str, number: u64);

    /// One step on the way, with its details.
    fn step(&self, step: &'static str, details: &[(&'static str, &dyn ToString)]);

    /// The statement that the verdict goes by, and its level.
    fn statement(&self, name: &str, level: Level) {
        self.set("statement", &name);
        self.set("level", &level);
        self.step("statement", &[("name", &name), ("level", &level)]);
    }
}

/// Hears nothing.
impl Observer for () {
    fn set(&self, _: &'static str, _: &dyn ToString) {}

    fn count(&self, _: &'static str, _: u64) {}

    fn step(&self, _: &'static str, _: &[(&'static str, &dyn ToString)]) {}
}
