//! Why a signature does not bear what the policy asks for.

use crate::KeyError;

/// Why a policy's requirements cannot be checked. It is known when the policy is loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransparencyPolicyError {
    /// A log's key is not accepted.
    #[error("public key {number} of transparencyLog: {source}")]
    LogKey {
        /// The key's place in the list, from 1.
        number: usize,
        /// Why not.
        source: KeyError,
    },
    /// A log's key is of a kind that no log signs with.
    #[error("public key {number} of transparencyLog: logs sign with ECDSA or Ed25519, not {kind}")]
    LogKeyKind {
        /// The key's place in the list, from 1.
        number: usize,
        /// The kind found.
        kind: String,
    },
    /// Two of the keys are one.
    #[error("public keys {twin} and {number} of transparencyLog are the same key")]
    SameLogKey {
        /// The second's place in the list, from 1.
        number: usize,
        /// The first's.
        twin: usize,
    },
    /// A chain of certificates cannot be used.
    #[cfg(feature = "timestamps")]
    #[error("certificate chain {number} of timestampAuthority: {source}")]
    Chain {
        /// The chain's place in the list, from 1.
        number: usize,
        /// Why not.
        source: super::timestamp::ChainError,
    },
    /// The policy asks for timestamps, of which this build knows nothing.
    #[cfg(not(feature = "timestamps"))]
    #[error(
        "this build cannot check timestamps, and the policy has a timestampAuthority; install the build with timestamps"
    )]
    TimestampsNotBuilt,
}

/// Why a signature does not bear what a statement requires of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransparencyError {
    /// What came with the signature is not of the form of log entries and timestamps.
    #[error("log entries and timestamps of the signature are malformed")]
    Malformed,
    /// What came with the signature is longer than civ reads.
    #[error("limit reached: log entries and timestamps of {size} bytes are larger than {max}")]
    TooLarge {
        /// The length found.
        size: usize,
        /// The length read.
        max: usize,
    },
    /// There are more log entries than civ reads.
    #[error("limit reached: {count} log entries on one signature; {max} are read")]
    TooManyEntries {
        /// How many there are.
        count: usize,
        /// How many are read.
        max: usize,
    },
    /// There are more timestamps than civ reads.
    #[error("limit reached: {count} timestamps on one signature; {max} are read")]
    TooManyTimestamps {
        /// How many there are.
        count: usize,
        /// How many are read.
        max: usize,
    },
    /// There is no log entry.
    #[error(
        "not logged: signature has no transparency log entry, the policy asks for one; sign with a log"
    )]
    NoEntry,
    /// There are log entries, and none counts.
    #[error("not logged: {closest}")]
    NotLogged {
        /// The failure of the entry that came closest.
        closest: EntryError,
    },
    /// There is no timestamp.
    #[error(
        "not timestamped: signature has no timestamp, the policy asks for one; sign with a timestamp authority"
    )]
    NoTimestamp,
    /// There are timestamps, and none counts.
    #[cfg(feature = "timestamps")]
    #[error("not timestamped: {closest}")]
    NotTimestamped {
        /// The failure of the one that came closest.
        closest: super::timestamp::TimestampError,
    },
}

/// Why a log entry does not count. From the least to the most that was right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It is not of an entry's form.
    #[error("log entry is malformed")]
    Malformed,
    /// It is longer than civ reads.
    #[error("log entry of {size} bytes is larger than {max}")]
    BodyTooLarge {
        /// The length found.
        size: usize,
        /// The length read.
        max: usize,
    },
    /// A kind of entry that civ does not read.
    #[error("log entry is a {kind:?} {version:?}, not a hashedrekord or dsse")]
    Kind {
        /// The kind.
        kind: String,
        /// Its version.
        version: String,
    },
    /// It is about another signature.
    #[error("log entry is for another signature")]
    OtherSignature,
    /// It is about this signature, and says that another key made it.
    #[error("log entry names another key")]
    OtherKey,
    /// It is about this signature, and says that it is over something else.
    #[error("log entry is for another payload")]
    OtherContent,
    /// It is of a log that the policy does not name.
    #[error("log entry is of log {id}, which the policy does not list")]
    OtherLog {
        /// The log's id, in base64 as log entries state it.
        id: String,
    },
    /// It comes in a bundle, and nothing shows that the log holds it.
    #[error("log entry has no inclusion proof")]
    NoProof,
    /// It comes with a `.sig` image, and the log promises nothing.
    #[error("log entry has no signed entry timestamp")]
    NoPromise,
    /// The log did not sign the promise.
    #[error("log entry's signed entry timestamp does not verify")]
    Promise,
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log did not sign the checkpoint.
    #[error("checkpoint of the log entry is not signed by the log")]
    CheckpointSignature,
    /// The proof is about another tree than the checkpoint.
    #[error("inclusion proof is for another tree than its checkpoint")]
    OtherTree,
    /// The entry is not in the tree.
    #[error("inclusion proof does not lead to the checkpoint's root")]
    Inclusion,
}

/// Why a checkpoint cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is not a checkpoint.
    #[error("checkpoint of the log entry is malformed")]
    Malformed,
    /// It is longer than civ reads.
    #[error("checkpoint of {size} bytes is larger than {max}")]
    TooLarge {
        /// The length found.
        size: usize,
        /// The length read.
        max: usize,
    },
}
