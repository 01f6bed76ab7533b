//! The record of one verdict, as `civ_bindir::Record` writes it. Fields that are not known are those of
//! a later version, and passed over.

use civ_policy::UtcTime;
use serde::{Deserialize, Serialize};

/// What a verifier wrote about one call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The executable's file name.
    pub verifier: String,
    /// The verifier's version.
    #[serde(default)]
    pub version: String,
    /// When, by the node's clock.
    pub time: Option<UtcTime>,
    /// The plugin whose policy was asked. Absent if the call itself was malformed.
    pub plugin: Option<String>,
    /// The policy's path.
    pub policy: Option<String>,
    /// The SHA-256 of the policy's bytes, in hex. Absent if it could not be read.
    pub policy_sha256: Option<String>,
    /// The statement that spoke of the repository.
    pub statement: Option<String>,
    /// The statement's level.
    pub level: Option<String>,
    /// The reference that was pulled.
    pub image: Option<String>,
    /// The digest that it resolved to.
    pub digest: Option<String>,
    /// How many requests the registry was sent.
    pub requests: Option<u64>,
    /// What was said.
    pub verdict: Outcome,
    /// The exit code.
    pub exit: u8,
    /// The exit code that `strict` would have had, where that is another.
    pub audited_exit: Option<u8>,
    /// The reason that containerd was given.
    #[serde(default)]
    pub reason: String,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub ms: u64,
}

/// What a verifier said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The pull could go on.
    Allow,
    /// The pull could go on, and at level `strict` it could not have.
    Audit,
    /// The pull could not go on.
    Refuse,
}
