//! Transparency and time: is a signature in a log, and who says when it was made?
//!
//! Both are optional, for each statement of a policy, which gives the logs' keys and the authorities'
//! certificates itself. Nothing is fetched: what shows it comes with the signature.
//!
//! A log entry counts only if it names this very signature, this key and this payload, and if the
//! log shows that it recorded it. A timestamp counts only if it is of the signature's bytes. Those
//! that cannot be verified are passed over; what the policy asks for and nobody shows refuses.
//!
//! | module | what it holds |
//! |---|---|
//! | [`proofs`] | [`UntrustedProofs`]: entries and timestamps as they are stored |
//! | `entry` | what an entry says |
//! | `fields` | reading JSON objects |
//! | `log` | whether a log recorded it |
//! | `checkpoint` | signed notes |
//! | `merkle` | trees and audit paths |
//! | `timestamp` | RFC 3161; in builds with the feature `timestamps` |
//! | [`error`] | why not |

mod checkpoint;
mod entry;
pub mod error;
mod fields;
mod log;
mod merkle;
pub mod proofs;
#[cfg(test)]
mod tests;
#[cfg(feature = "timestamps")]
pub mod timestamp;

use civ_policy::transparency::Requirements;

pub use error::{CheckpointError, EntryError, TransparencyError, TransparencyPolicyError};
use log::Logs;
pub use proofs::UntrustedProofs;

/// What a statement asks of each signature beside a trusted key, ready to be checked.
#[derive(Clone, Debug, Default)]
pub struct Transparency {
    logs: Option<Logs>,
    #[cfg(feature = "timestamps")]
    authorities: Option<timestamp::Authorities>,
}

/// A signature that a trusted key has been seen to make, of which more is asked.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The key that made it.
    pub key: &'a crate::PublicKey,
    /// The bytes signed: a simple-signing payload, or the pre-authentication encoding of an envelope.
    pub message: &'a [u8],
    /// The raw signature.
    pub signature: &'a [u8],
    /// What the bytes are.
    pub form: Form<'a>,
}

/// What a signature is over.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// A simple-signing payload.
    SimpleSigning,
    /// A DSSE envelope.
    Dsse {
        /// The payload in it, decoded.
        payload: &'a [u8],
    },
}

/// When a signature was there already, by the word of somebody whom the policy trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningTime {
    /// In seconds since 1970, UTC.
    pub unix_seconds: u64,
    /// Whose word it is.
    pub source: TimeSource,
}

/// Who states a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeSource {
    /// A log, in a promise that it signed. An inclusion proof does not vouch for the time beside it.
    TransparencyLog,
    /// A timestamp authority.
    TimestampAuthority,
}

impl Transparency {
    /// Reads the keys and certificates of `requirements`.
    pub fn new(requirements: &Requirements) -> Result<Self, TransparencyPolicyError> {
        #[cfg(not(feature = "timestamps"))]
        if requirements.timestamp_authority.is_some() {
            return Err(TransparencyPolicyError::TimestampsNotBuilt);
        }
        let logs = requirements.transparency_log.as_ref();
        #[cfg(feature = "timestamps")]
        let authorities = requirements.timestamp_authority.as_ref();
        Ok(Self {
            logs: logs.map(|log| Logs::parse(&log.public_keys)).transpose()?,
            #[cfg(feature = "timestamps")]
            authorities: authorities
                .map(|authority| timestamp::Authorities::parse(&authority.certificate_chains))
                .transpose()?,
        })
    }

    /// Checks that `signed` bears all that is asked of it. The caller has verified the signature.
    ///
    /// The time is the log's if it vouches for one, else the authority's; if neither is asked for,
    /// or the log states none, there is none.
    pub fn check(
        &self,
        proofs: &UntrustedProofs,
        signed: &Signed<'_>,
    ) -> Result<Option<SigningTime>, TransparencyError> {
        let logged = match &self.logs {
            Some(logs) => logs.check(proofs, signed)?,
            None => None,
        };
        #[cfg(feature = "timestamps")]
        if let Some(authorities) = &self.authorities {
            let stamped = authorities.check(proofs, signed)?;
            return Ok(logged.or(Some(stamped)));
        }
        Ok(logged)
    }
}
