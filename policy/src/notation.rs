//! The document of `notation-image-verifier`: the Notary Project's trust policy 1.0, unchanged.
//!
//! What it may say is stated by the Notary Project's `trust-store-trust-policy.md`; where that leaves
//! room, notation-go (`verifier/trustpolicy`) decides, and where notation-go lets pass what nobody can
//! mean (unknown or wrongly written members, a trust store called `..`) the document is refused.
//!
//! | module | what it holds |
//! |---|---|
//! | [`distinguished_name`] | [`DistinguishedName`]: the certificate subjects that are trusted |
//! | [`error`] | [`NotationPolicyError`] |
//! | [`scope`] | [`RegistryScope`]: one repository, or all |
//! | [`trust`] | [`TrustStore`] and [`TrustedIdentity`] |
//! | [`verification`] | [`Verification`]: which checks are made, and what a failed one leads to |

use std::collections::HashSet;

use civ_oci::{ImageId, strict_json};
use serde::Deserialize;

pub mod distinguished_name;
pub mod error;
pub mod scope;
pub mod trust;
pub mod verification;

pub use distinguished_name::DistinguishedName;
pub use error::NotationPolicyError;
pub use scope::RegistryScope;
pub use trust::{TrustStore, TrustStoreKind, TrustedIdentities, TrustedIdentity};
pub use verification::{Action, Check, Level, Verification, VerifyTimestamp};

use crate::NoStatement;

/// A parsed and validated document.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// What is asked of the images of some repositories.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement's name, unique in its document and not empty.
    pub name: String,
    /// The repositories that it is for: at least one, each once in the document.
    pub registry_scopes: Vec<RegistryScope>,
    /// What is checked of their images.
    pub verification: Verification,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Untrusted {
    version: String,
    trust_policies: Vec<UntrustedStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntrustedStatement {
    name: String,
    registry_scopes: Vec<String>,
    signature_verification: verification::Untrusted,
    trust_stores: Option<Vec<String>>,
    trusted_identities: Option<Vec<String>>,
}

impl Policy {
    /// Parses and validates a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotationPolicyError> {
        let document: Untrusted = strict_json::from_slice(bytes)?;
        if document.version != "1.0" {
            return Err(NotationPolicyError::Version { found: document.version });
        }
        if document.trust_policies.is_empty() {
            return Err(NotationPolicyError::NoStatements);
        }
        let mut names = HashSet::with_capacity(document.trust_policies.len());
        let mut scopes: HashSet<RegistryScope> = HashSet::new();
        let mut statements: Vec<Statement> = Vec::with_capacity(document.trust_policies.len());
        for untrusted in document.trust_policies {
            if !names.insert(untrusted.name.clone()) {
                return Err(NotationPolicyError::DuplicateStatement { statement: untrusted.name });
            }
            let statement = untrusted.validate()?;
            let mut stated = statement.registry_scopes.iter();
            if let Some(scope) = stated.find(|scope| !scopes.insert((*scope).clone())) {
                return Err(NotationPolicyError::DuplicateScope {
                    scope: scope.to_string(),
                    statement: statement.name,
                });
            }
            statements.push(statement);
        }
        Ok(Self { statements })
    }

    /// The statement for `image`'s repository: the one that names it, or else the one for all.
    pub fn statement_for(&self, image: &ImageId) -> Result<&Statement, NoStatement> {
        let find = |matches: &dyn Fn(&RegistryScope) -> bool| {
            self.statements.iter().find(|statement| statement.registry_scopes.iter().any(matches))
        };
        find(&|scope| scope.names(&image.repository))
            .or_else(|| find(&|scope| *scope == RegistryScope::Everything))
            .ok_or_else(|| NoStatement { repository: image.repository.clone() })
    }

    /// All statements, in the document's order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }
}

impl UntrustedStatement {
    fn validate(self) -> Result<Statement, NotationPolicyError> {
        let name = self.name;
        if name.is_empty() {
            return Err(NotationPolicyError::UnnamedStatement);
        }
        let registry_scopes = scope::validate(&self.registry_scopes, &name)?;
        let stores = self.trust_stores.unwrap_or_default();
        let identities = self.trusted_identities.unwrap_or_default();
        let verification = match self.signature_verification.validate(&name)? {
            None if stores.is_empty() && identities.is_empty() => Verification::Skip,
            None => return Err(NotationPolicyError::SkipWithTrust { statement: name }),
            Some(_) if stores.is_empty() || identities.is_empty() => {
                return Err(NotationPolicyError::NoTrust { statement: name });
            }
            Some(checks) => Verification::Check(Check {
                level: checks.level,
                authenticity: checks.authenticity,
                authentic_timestamp: checks.authentic_timestamp,
                expiry: checks.expiry,
                revocation: checks.revocation,
                verify_timestamp: checks.verify_timestamp,
                trust_stores: trust::validate_stores(&stores, &name)?,
                trusted_identities: trust::validate_identities(&identities, &name)?,
            }),
        };
        Ok(Statement { name, registry_scopes, verification })
    }
}

#[cfg(test)]
mod tests;
