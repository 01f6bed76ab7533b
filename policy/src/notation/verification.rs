//! Which checks a statement makes, and what a failed one leads to.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::OverrideError;
use super::{NotationPolicyError, TrustStore, TrustedIdentities};

/// What a statement checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: level `skip`.
    Skip,
    /// Signatures.
    Check(Check),
}

/// What a statement checks of signatures. Integrity is always enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The level that the actions below were taken from.
    pub level: Level,
    /// If a signature is of nobody trusted.
    pub authenticity: Action,
    /// If nothing trusted says that it was made while its certificates were valid.
    pub authentic_timestamp: Action,
    /// If the signer's own date has passed.
    pub expiry: Action,
    /// If a certificate is revoked, or that cannot be found out.
    pub revocation: Action,
    /// When a timestamp is needed.
    pub verify_timestamp: VerifyTimestamp,
    /// The certificates that are trusted: at least one store.
    pub trust_stores: Vec<TrustStore>,
    /// Whom among those that they vouch for.
    pub trusted_identities: TrustedIdentities,
}

/// What stands for a set of actions. `skip` is [`Verification::Skip`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every check is enforced.
    Strict,
    /// Integrity and authenticity are enforced.
    Permissive,
    /// Integrity alone is enforced.
    Audit,
}

/// What a failed check leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The signature does not count.
    Enforce,
    /// It is recorded, and the signature counts.
    Log,
    /// It is not made.
    Skip,
}

/// When a trusted timestamp is needed, where a trust store of type `tsa` is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyTimestamp {
    /// Always. The default.
    Always,
    /// Only once a certificate of the signer's has expired.
    AfterCertExpiry,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Untrusted {
    level: String,
    #[serde(rename = "override")]
    overrides: Option<BTreeMap<String, String>>,
    verify_timestamp: Option<String>,
}

/// The actions of a statement, without whom it trusts.
pub(super) struct Actions {
    pub(super) level: Level,
    pub(super) authenticity: Action,
    pub(super) authentic_timestamp: Action,
    pub(super) expiry: Action,
    pub(super) revocation: Action,
    pub(super) verify_timestamp: VerifyTimestamp,
}

impl Untrusted {
    /// `None` at level `skip`.
    pub(super) fn validate(self, statement: &str) -> Result<Option<Actions>, NotationPolicyError> {
        let statement = || statement.to_owned();
        let verify_timestamp = match self.verify_timestamp.as_deref() {
            None | Some("" | "always") => VerifyTimestamp::Always,
            Some("afterCertExpiry") => VerifyTimestamp::AfterCertExpiry,
            Some(found) => {
                let found = found.to_owned();
                return Err(NotationPolicyError::VerifyTimestamp { statement: statement(), found });
            }
        };
        let level = match self.level.as_str() {
            "strict" => Some(Level::Strict),
            "permissive" => Some(Level::Permissive),
            "audit" => Some(Level::Audit),
            "skip" => None,
            _ => {
                let found = self.level;
                return Err(NotationPolicyError::Level { statement: statement(), found });
            }
        };
        let mut actions = level.map(|level| Actions::of(level, verify_timestamp));
        for (check, action) in self.overrides.unwrap_or_default() {
            let changed = match &mut actions {
                None => Err(OverrideError::AtSkip),
                Some(actions) => actions.change(&check, &action),
            };
            changed.map_err(|source| NotationPolicyError::Override {
                statement: statement(),
                check,
                source,
            })?;
        }
        Ok(actions)
    }
}

impl Actions {
    fn of(level: Level, verify_timestamp: VerifyTimestamp) -> Self {
        let (authenticity, rest) = match level {
            Level::Strict => (Action::Enforce, Action::Enforce),
            Level::Permissive => (Action::Enforce, Action::Log),
            Level::Audit => (Action::Log, Action::Log),
        };
        Self {
            level,
            authenticity,
            authentic_timestamp: rest,
            expiry: rest,
            revocation: rest,
            verify_timestamp,
        }
    }

    fn change(&mut self, check: &str, action: &str) -> Result<(), OverrideError> {
        let (place, may_skip) = match check {
            "authenticity" => (&mut self.authenticity, false),
            "authenticTimestamp" => (&mut self.authentic_timestamp, false),
            "expiry" => (&mut self.expiry, false),
            "revocation" => (&mut self.revocation, true),
            "integrity" => return Err(OverrideError::Integrity),
            _ => return Err(OverrideError::Check),
        };
        *place = match action {
            "enforce" => Action::Enforce,
            "log" => Action::Log,
            "skip" if may_skip => Action::Skip,
            "skip" => return Err(OverrideError::Skip),
            _ => return Err(OverrideError::Action { found: action.to_owned() }),
        };
        Ok(())
    }
}
