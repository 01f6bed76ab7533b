//! Why a Notary Project trust policy is not valid.

use civ_oci::strict_json::JsonError;

use super::distinguished_name::DistinguishedNameError;

/// Why a Notary Project trust policy is not valid. Any of these refuses every pull.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotationPolicyError {
    /// `*` beside other identities.
    #[error(
        "trustedIdentities of statement {statement:?}: \"*\" trusts everybody and stands alone; remove it or the others"
    )]
    AnyIdentityWithOthers {
        /// The statement.
        statement: String,
    },
    /// `*` beside other scopes.
    #[error(
        "registryScopes of statement {statement:?}: \"*\" is for all repositories and stands alone; put the others into a statement of their own"
    )]
    AnyScopeWithOthers {
        /// The statement.
        statement: String,
    },
    /// One scope is stated twice.
    #[error("scope {scope} of statement {statement:?} is stated twice; each may be stated once")]
    DuplicateScope {
        /// The statement that states it again.
        statement: String,
        /// The scope.
        scope: String,
    },
    /// Two statements have the same name.
    #[error("two statements are called {statement:?}")]
    DuplicateStatement {
        /// The name.
        statement: String,
    },
    /// An identity is not one.
    #[error("trusted identity {identity:?} of statement {statement:?}: {source}")]
    Identity {
        /// The statement.
        statement: String,
        /// The identity as written.
        identity: String,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// Not JSON as civ accepts it, or not of the document's form.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A level that there is not.
    #[error(
        "level {found:?} of statement {statement:?} is not known; strict, permissive, audit and skip are"
    )]
    Level {
        /// The statement.
        statement: String,
        /// The level as written.
        found: String,
    },
    /// A statement names no scope.
    #[error("statement {statement:?} has no registryScopes")]
    NoScopes {
        /// The statement.
        statement: String,
    },
    /// The document has no statement.
    #[error("no statement in \"trustPolicies\"")]
    NoStatements,
    /// A statement that checks signatures does not say whom it trusts.
    #[error(
        "statement {statement:?} needs both trustStores and trustedIdentities; only level \"skip\" needs neither"
    )]
    NoTrust {
        /// The statement.
        statement: String,
    },
    /// One identity is a part of another.
    #[error(
        "trusted identities {identity:?} and {other:?} of statement {statement:?} overlap: whoever is the one is the other"
    )]
    OverlappingIdentities {
        /// The statement.
        statement: String,
        /// The one that says less.
        identity: String,
        /// The one that says more.
        other: String,
    },
    /// A check's action is changed where it may not be.
    #[error("override of {check:?} in statement {statement:?}: {source}")]
    Override {
        /// The statement.
        statement: String,
        /// The check as written.
        check: String,
        /// Why not.
        source: OverrideError,
    },
    /// A scope is not one.
    #[error("scope {scope:?} of statement {statement:?}: {source}")]
    Scope {
        /// The statement.
        statement: String,
        /// The scope as written.
        scope: String,
        /// What is wrong with it.
        source: RegistryScopeError,
    },
    /// A statement skips and yet says whom to trust.
    #[error(
        "statement {statement:?} has level \"skip\" and yet lists trustStores or trustedIdentities; remove one"
    )]
    SkipWithTrust {
        /// The statement.
        statement: String,
    },
    /// A trust store is not one.
    #[error("trust store {store:?} of statement {statement:?}: {source}")]
    TrustStore {
        /// The statement.
        statement: String,
        /// The trust store as written.
        store: String,
        /// What is wrong with it.
        source: TrustStoreError,
    },
    /// A statement has an empty name.
    #[error("a statement has an empty name")]
    UnnamedStatement,
    /// When timestamps are verified is not said as it should be.
    #[error(
        "verifyTimestamp {found:?} of statement {statement:?} is not known; always and afterCertExpiry are"
    )]
    VerifyTimestamp {
        /// The statement.
        statement: String,
        /// What was written.
        found: String,
    },
    /// A document version that this program does not know.
    #[error("version {found:?} is not known; \"1.0\" is")]
    Version {
        /// The version found.
        found: String,
    },
}

/// Why a text is not a trusted identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// No colon after what kind of identity it is.
    #[error("write what it is before a colon, such as \"x509.subject: C=US, ST=WA, O=example\"")]
    NoSeparator,
    /// `x509.subject` and no name.
    #[error("no name follows x509.subject")]
    NoSubject,
    /// `x509.subject` and not a name, or too little of one.
    #[error(transparent)]
    Subject(#[from] DistinguishedNameError),
}

/// Why the action of a check may not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverrideError {
    /// A statement that skips makes no check.
    #[error("level \"skip\" makes no check")]
    AtSkip,
    /// An action that there is not.
    #[error("action {found:?} is not known; enforce, log and skip are")]
    Action {
        /// The action as written.
        found: String,
    },
    /// A check that there is not.
    #[error("no such check; authenticity, authenticTimestamp, expiry and revocation are")]
    Check,
    /// Integrity, without which nothing is known.
    #[error("integrity is always enforced")]
    Integrity,
    /// A check that can be logged at most.
    #[error("only revocation can be skipped; write log")]
    Skip,
}

/// Why a text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryScopeError {
    /// The registry is not one.
    #[error("the registry is not a host with an optional port")]
    Domain,
    /// No slash.
    #[error("it names no repository; write registry/repository in full")]
    NoRepository,
    /// The repository is not one, perhaps since a tag or a digest follows it.
    #[error("the repository is not lower-case path components, without tag and digest")]
    Repository,
    /// A wildcard within a name.
    #[error("the Notary Project has no wildcard but \"*\" alone; name each repository")]
    Wildcard,
}

/// Why a text is not a trust store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustStoreError {
    /// A type that there is not.
    #[error("type {found:?} is not known; ca, signingAuthority and tsa are")]
    Kind {
        /// The type as written.
        found: String,
    },
    /// A name that is no plain directory's.
    #[error("a name is A-Z a-z 0-9 _ . - only, and neither \".\" nor \"..\"")]
    Name,
    /// No colon after the type.
    #[error("write it as type:name, such as \"ca:example\"")]
    NoSeparator,
}
