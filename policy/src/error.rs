//! Why a trust policy is not valid.

use civ_oci::Digest;
use civ_oci::strict_json::JsonError;
use civ_oci::text::one_line;

use crate::annotations::RuleError;
use crate::kms::KmsKeyRefError;
use crate::scope::ScopeError;
use crate::statements::NAME_MAX;

/// As much of a name that is too long is shown, in bytes.
const SHOWN_MAX: usize = 32;

/// Why a trust policy is not valid. Any of these refuses every pull.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A list that resolves children has an image without its own.
    #[error(
        "image {image:?} of {} has no \"children\", and the list says \"children\": \"resolve\"; let civ policy digests write the list",
        list(statement.as_deref())
    )]
    ChildrenMissing {
        /// The statement, or the document itself.
        statement: Option<String>,
        /// The image's name.
        image: String,
    },
    /// An image has children, and its list does not resolve them.
    #[error(
        "image {image:?} of {} has \"children\", and the list does not say \"children\": \"resolve\"; add that, or remove them",
        list(statement.as_deref())
    )]
    ChildrenNotResolved {
        /// The statement, or the document itself.
        statement: Option<String>,
        /// The image's name.
        image: String,
    },
    /// Two keys of a statement have the same name.
    #[error("two keys of statement {statement:?} are called {key:?}")]
    DuplicateKeyName {
        /// The statement.
        statement: String,
        /// The name.
        key: String,
    },
    /// One scope is stated twice, so that no statement would be the closest.
    #[error("scope {scope} of statement {statement:?} is stated twice; each may be stated once")]
    DuplicateScope {
        /// The statement that states it again.
        statement: String,
        /// The scope, normalised.
        scope: String,
    },
    /// Two statements have the same name.
    #[error("two statements are called {statement:?}")]
    DuplicateStatement {
        /// The name.
        statement: String,
    },
    /// No digest is trusted by the document.
    #[error("no digest is listed; list the trusted ones in \"trustedDigests\"")]
    EmptyDigestList,
    /// A signed identity that names no repository.
    #[error(
        "signedIdentity of statement {statement:?}: {text:?} is not a repository or a prefix of one"
    )]
    Identity {
        /// The statement.
        statement: String,
        /// The repository or prefix as written.
        text: String,
    },
    /// An image's name is empty or too long.
    #[error(
        "the name of {digest} in {} has {length} bytes; a name has at least 1 and at most {max}",
        list(statement.as_deref()), max = crate::digestion::NAME_MAX
    )]
    ImageName {
        /// The statement, or the document itself.
        statement: Option<String>,
        /// The image.
        digest: Digest,
        /// The bytes of the name.
        length: usize,
    },
    /// Not JSON as civ accepts it, or not of the document's form.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A key has neither a public key nor a KMS reference.
    #[error("key {key:?} of statement {statement:?} has neither \"publicKey\" nor \"kms\"")]
    KeyWithoutMaterial {
        /// The statement.
        statement: String,
        /// The key.
        key: String,
    },
    /// A key's name is empty or too long.
    #[error(
        "the name of keys[{index}] of statement {statement:?} has {length} bytes; a name has at least 1 and at most {NAME_MAX}"
    )]
    KeyName {
        /// The statement.
        statement: String,
        /// Which of its keys, from 0.
        index: usize,
        /// The bytes of the name.
        length: usize,
    },
    /// A KMS reference is malformed.
    #[error("key {key:?} of statement {statement:?}: {source}")]
    Kms {
        /// The statement.
        statement: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        source: KmsKeyRefError,
    },
    /// How long an answer of KMS may be used is not said as it should be.
    #[error(
        "kmsCache: {text:?} is no maxAge; write a number and s, m, h or d, at least 1s and at most 7d"
    )]
    KmsCacheAge {
        /// The age as written.
        text: String,
    },
    /// A key is asked for where any user of the node may answer.
    #[error(
        "key {key:?} of statement {statement:?} has no \"publicKey\", and any user of a node may answer for KMS at {endpoint}; use a port below 1024 there, or let civ policy pin write the public key"
    )]
    KmsEndpoint {
        /// The statement.
        statement: String,
        /// The key.
        key: String,
        /// The endpoint.
        endpoint: String,
    },
    /// A KMS key without a public key is named by something else than an ARN.
    #[error(
        "key {key:?} of statement {statement:?} has no \"publicKey\", and its \"kms\" is no ARN, so which key it is depends on who asks; write the ARN, or let civ policy pin write the public key"
    )]
    KmsWithoutArn {
        /// The statement.
        statement: String,
        /// The key.
        key: String,
    },
    /// A key's validity ends before it begins.
    #[error(
        "key {key:?} of statement {statement:?} is never valid: validBefore must be later than validAfter"
    )]
    NeverValid {
        /// The statement.
        statement: String,
        /// The key.
        key: String,
    },
    /// A statement asks for timestamps of no authority.
    #[error("timestampAuthority of statement {statement:?} lists no certificateChains")]
    NoCertificateChains {
        /// The statement.
        statement: String,
    },
    /// A statement that checks signatures names no key.
    #[error("statement {statement:?} has no keys; only level \"skip\" needs none")]
    NoKeys {
        /// The statement.
        statement: String,
    },
    /// A statement asks for entries of no log.
    #[error("transparencyLog of statement {statement:?} lists no publicKeys")]
    NoLogKeys {
        /// The statement.
        statement: String,
    },
    /// A statement that checks annotations has no rule.
    #[error("statement {statement:?} has no rules; only level \"skip\" needs none")]
    NoRules {
        /// The statement.
        statement: String,
    },
    /// A statement has no scope.
    #[error("statement {statement:?} has no registryScopes")]
    NoScopes {
        /// The statement.
        statement: String,
    },
    /// The document has no statement.
    #[error("no statement in \"trustPolicies\"")]
    NoStatements,
    /// A list resolves children, and has no image that could have any.
    #[error(
        "{} says \"children\": \"resolve\" and lists no \"images\", so there is nothing to resolve; let civ policy digests write the list",
        list(statement.as_deref())
    )]
    NothingToResolve {
        /// The statement, or the document itself.
        statement: Option<String>,
    },
    /// A rule about annotations is not valid.
    #[error("{rule} of statement {statement:?}: {source}")]
    Rule {
        /// The statement.
        statement: String,
        /// Where the rule is in it, such as `rules[1].anyOf[0]`.
        rule: String,
        /// What is wrong with it.
        source: RuleError,
    },
    /// A scope is malformed.
    #[error("scope {scope:?} of statement {statement:?}: {source}")]
    Scope {
        /// The statement.
        statement: String,
        /// The scope as written.
        scope: String,
        /// What is wrong with it.
        source: ScopeError,
    },
    /// A statement skips and yet says what to check.
    #[error("statement {statement:?} has level \"skip\" and yet lists what to check; remove one")]
    SkipWithChecks {
        /// The statement.
        statement: String,
    },
    /// A statement's name is empty or too long.
    #[error(
        "the name of statement {:?} has {} bytes; a name has at least 1 and at most {NAME_MAX}",
        one_line(statement, SHOWN_MAX), statement.len()
    )]
    StatementName {
        /// The statement.
        statement: String,
    },
    /// The threshold cannot be met, or is none.
    #[error(
        "statement {statement:?} asks for {threshold} keys of {keys}; a threshold is at least 1 and at most the number of keys"
    )]
    Threshold {
        /// The statement.
        statement: String,
        /// The threshold asked for.
        threshold: usize,
        /// The keys there are.
        keys: usize,
    },
    /// More rules about annotations than are read.
    #[error("more than {limit} rules; those within anyOf count")]
    TooManyRules {
        /// How many a document may have.
        limit: usize,
    },
    /// A document version that this program does not know.
    #[error("version {found:?} is not known; \"1.0\" is")]
    Version {
        /// The version found.
        found: String,
    },
}

/// Checks a document's `version`.
pub(crate) fn check_version(version: &str) -> Result<(), PolicyError> {
    if version == "1.0" { Ok(()) } else { Err(PolicyError::Version { found: version.to_owned() }) }
}

/// A list of digests by the statement it is in.
fn list(statement: Option<&str>) -> String {
    match statement {
        Some(statement) => format!("statement {statement:?}"),
        None => "the list for all repositories".to_owned(),
    }
}
