//! Timestamps (RFC 3161): an authority's signature over the hash of another signature and a time.
//!
//! The policy gives the authority's whole chain, the certificate that signs timestamps first. Only
//! that certificate's key verifies a timestamp, and only that chain leads to its root: certificates
//! that come inside a timestamp are not looked at, so that none of them can take another's place
//! (CVE-2026-39984, CVE-2025-52556).
//!
//! | module | what it holds |
//! |---|---|
//! | `asn1` | the structures of timestamps |
//! | `authority` | the policy's chains |
//! | `token` | a timestamp's form, and what the authority signed in it |

mod asn1;
mod authority;
#[cfg(test)]
mod tests;
mod token;

use authority::Authority;
pub use authority::ChainError;
pub use token::TokenError;
use token::UntrustedToken;

use super::error::{TransparencyError, TransparencyPolicyError};
use super::proofs::UntrustedProofs;
use super::{Signed, SigningTime, TimeSource};

/// The authorities of one statement. A timestamp of any of them will do.
#[derive(Clone, Debug)]
pub(super) struct Authorities(Vec<Authority>);

impl Authorities {
    pub(super) fn parse(certificate_chains: &[String]) -> Result<Self, TransparencyPolicyError> {
        let authorities = certificate_chains.iter().enumerate().map(|(index, pem)| {
            Authority::parse(pem)
                .map_err(|source| TransparencyPolicyError::Chain { number: index + 1, source })
        });
        Ok(Self(authorities.collect::<Result<_, _>>()?))
    }

    /// When did one of the authorities see the signature of `signed`?
    pub(super) fn check(
        &self,
        proofs: &UntrustedProofs,
        signed: &Signed<'_>,
    ) -> Result<SigningTime, TransparencyError> {
        let mut closest: Option<TimestampError> = None;
        for timestamp in proofs.timestamps()? {
            let checked = match timestamp {
                Some(timestamp) => self.check_one(&timestamp, signed.signature),
                None => Err(TimestampError::Token(TokenError::Malformed)),
            };
            match checked {
                Ok(unix_seconds) => {
                    return Ok(SigningTime {
                        unix_seconds,
                        source: TimeSource::TimestampAuthority,
                    });
                }
                Err(error) if closest.as_ref().is_none_or(|known| error.rank() > known.rank()) => {
                    closest = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(closest.map_or(TransparencyError::NoTimestamp, |closest| {
            TransparencyError::NotTimestamped { closest }
        }))
    }

    fn check_one(&self, timestamp: &[u8], signature: &[u8]) -> Result<u64, TimestampError> {
        let token = UntrustedToken::parse(timestamp)?;
        if !token.is_of(signature) {
            return Err(TimestampError::OtherSignature);
        }
        let mut closest = TimestampError::OtherAuthority;
        for authority in self.0.iter().filter(|authority| authority.is_signer(&token)) {
            match authority.verify(&token) {
                Ok(()) => return Ok(token.unix_seconds()),
                Err(error) if error.rank() > closest.rank() => closest = error,
                Err(_) => {}
            }
        }
        Err(closest)
    }
}

/// Why a timestamp does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// It cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is of another signature.
    #[error("timestamp is for another signature")]
    OtherSignature,
    /// None of the policy's authorities made it.
    #[error("timestamp is of an authority that the policy does not list")]
    OtherAuthority,
    /// The authority's key did not sign it.
    #[error("timestamp is not signed by its authority")]
    Signature,
    /// A certificate of the authority's chain was not valid when the authority signed.
    #[error("timestamp is of a time when its authority's certificates were not valid")]
    Validity,
    /// The authority's chain does not hold at that time.
    #[error("timestamp's authority does not chain to its root: {0}")]
    Chain(ChainError),
}

impl TimestampError {
    /// How close the timestamp came: the reason names the closest.
    fn rank(&self) -> u8 {
        match self {
            Self::Token(_) => 0,
            Self::OtherSignature => 1,
            Self::OtherAuthority => 2,
            Self::Signature => 3,
            Self::Validity => 4,
            Self::Chain(_) => 5,
        }
    }
}
