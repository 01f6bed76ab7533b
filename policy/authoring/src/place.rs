//! Where in a document its parser's errors are, and what they are called.

use civ_cosign::trust::TrustPolicyError;
use civ_oci::strict_json::JsonError;
use civ_policy::notation::NotationPolicyError;
use civ_policy::{PolicyError, Scope};

use crate::DocumentError;
use crate::located::{Node, Value};

/// A step from a value towards what an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To the member of this name.
    Member(&'static str),
    /// To the last element whose `name` this is.
    Named(String),
    /// To the last element that is this text.
    Text(String),
    /// To the last element that is this scope, however it is spelt.
    Scope(String),
    /// To the member whose name is this text.
    Key(String),
    /// To the element at this index.
    Index(usize),
}

/// What an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The statement, if it is about one.
    pub(crate) statement: Option<String>,
    /// The way to it, from the statement or else from the document.
    pub(crate) steps: Vec<Step>,
}

impl DocumentError {
    /// What kind of error it is, in kebab case; it stays the same from release to release.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cosign(TrustPolicyError::Document(error))
            | Self::Annotations(error)
            | Self::Digestion(error) => code_of_document(error),
            Self::Cosign(TrustPolicyError::Key { .. }) => "bad-key",
            Self::Cosign(TrustPolicyError::SameKey { .. }) => "same-key",
            Self::Cosign(TrustPolicyError::Transparency { .. }) => "bad-transparency",
            Self::Notation(error) => code_of_notation(error),
            Self::Cosign(_) => "refused",
        }
    }

    /// Is it about JSON, or about members that are unknown, missing or of the wrong type?
    pub fn is_about_form(&self) -> bool {
        self.json().is_some()
    }

    /// The error about JSON or the document's form, if it is one.
    pub(crate) fn json(&self) -> Option<&JsonError> {
        match self {
            Self::Cosign(TrustPolicyError::Document(PolicyError::Json(error)))
            | Self::Annotations(PolicyError::Json(error))
            | Self::Digestion(PolicyError::Json(error))
            | Self::Notation(NotationPolicyError::Json(error)) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        use TrustPolicyError as Cosign;
        match self {
            Self::Cosign(Cosign::Document(error))
            | Self::Annotations(error)
            | Self::Digestion(error) => subject_in_document(error),
            Self::Cosign(
                Cosign::Key { statement, key, .. } | Cosign::SameKey { statement, key, .. },
            ) => in_statement(statement, [of_key(key), vec![Step::Member("publicKey")]].concat()),
            Self::Cosign(Cosign::Transparency { statement, .. }) => in_statement(statement, vec![]),
            Self::Notation(error) => subject_in_notation(error),
            Self::Cosign(_) => Subject::default(),
        }
    }
}

fn code_of_document(error: &PolicyError) -> &'static str {
    match error {
        PolicyError::ChildrenMissing { .. } => "children-missing",
        PolicyError::ChildrenNotResolved { .. } => "children-not-resolved",
        PolicyError::ImageName { .. } => "bad-image-name",
        PolicyError::NoRules { .. } => "no-rules",
        PolicyError::NothingToResolve { .. } => "nothing-to-resolve",
        PolicyError::Rule { .. } => "bad-rule",
        PolicyError::TooManyRules { .. } => "too-many-rules",
        PolicyError::DuplicateKeyName { .. } => "duplicate-key-name",
        PolicyError::DuplicateScope { .. } => "duplicate-scope",
        PolicyError::DuplicateStatement { .. } => "duplicate-statement",
        PolicyError::EmptyDigestList => "no-digests",
        PolicyError::Identity { .. } => "bad-identity",
        PolicyError::Json(_) => "bad-form",
        PolicyError::KeyWithoutMaterial { .. } => "key-without-material",
        PolicyError::Kms { .. } => "bad-kms-reference",
        PolicyError::KeyName { .. } | PolicyError::StatementName { .. } => "bad-name",
        PolicyError::KmsCacheAge { .. } => "bad-age",
        PolicyError::KmsEndpoint { .. } => "kms-endpoint",
        PolicyError::KmsWithoutArn { .. } => "kms-without-arn",
        PolicyError::NeverValid { .. } => "never-valid",
        PolicyError::NoCertificateChains { .. } => "no-certificate-chains",
        PolicyError::NoKeys { .. } => "no-keys",
        PolicyError::NoLogKeys { .. } => "no-log-keys",
        PolicyError::NoScopes { .. } => "no-scopes",
        PolicyError::NoStatements => "no-statements",
        PolicyError::Scope { .. } => "bad-scope",
        PolicyError::SkipWithChecks { .. } => "skip-with-checks",
        PolicyError::Threshold { .. } => "bad-threshold",
        PolicyError::Version { .. } => "unknown-version",
        _ => "refused",
    }
}

fn code_of_notation(error: &NotationPolicyError) -> &'static str {
    match error {
        NotationPolicyError::AnyIdentityWithOthers { .. } => "any-identity-with-others",
        NotationPolicyError::AnyScopeWithOthers { .. } => "any-scope-with-others",
        NotationPolicyError::DuplicateScope { .. } => "duplicate-scope",
        NotationPolicyError::DuplicateStatement { .. } => "duplicate-statement",
        NotationPolicyError::Identity { .. } => "bad-identity",
        NotationPolicyError::Json(_) => "bad-form",
        NotationPolicyError::Level { .. } => "bad-level",
        NotationPolicyError::NoScopes { .. } => "no-scopes",
        NotationPolicyError::NoStatements => "no-statements",
        NotationPolicyError::NoTrust { .. } => "no-trust",
        NotationPolicyError::OverlappingIdentities { .. } => "overlapping-identities",
        NotationPolicyError::Override { .. } => "bad-override",
        NotationPolicyError::Scope { .. } => "bad-scope",
        NotationPolicyError::SkipWithTrust { .. } => "skip-with-checks",
        NotationPolicyError::TrustStore { .. } => "bad-trust-store",
        NotationPolicyError::UnnamedStatement => "unnamed-statement",
        NotationPolicyError::VerifyTimestamp { .. } => "bad-verify-timestamp",
        NotationPolicyError::Version { .. } => "unknown-version",
        _ => "refused",
    }
}

fn subject_in_document(error: &PolicyError) -> Subject {
    use PolicyError as E;
    use Step::{Member, Scope, Text};
    match error {
        E::DuplicateKeyName { statement, key } | E::KeyWithoutMaterial { statement, key } => {
            in_statement(statement, of_key(key))
        }
        E::Kms { statement, key, .. }
        | E::KmsEndpoint { statement, key, .. }
        | E::KmsWithoutArn { statement, key } => {
            in_statement(statement, [of_key(key), vec![Member("kms")]].concat())
        }
        E::NeverValid { statement, key } => {
            in_statement(statement, [of_key(key), vec![Member("validBefore")]].concat())
        }
        E::DuplicateScope { statement, scope } => {
            in_statement(statement, vec![Member("registryScopes"), Scope(scope.clone())])
        }
        E::Scope { statement, scope, .. } => {
            in_statement(statement, vec![Member("registryScopes"), Text(scope.clone())])
        }
        E::DuplicateStatement { statement } | E::StatementName { statement } => {
            in_statement(statement, vec![Member("name")])
        }
        E::Identity { statement, .. } => in_statement(statement, vec![Member("signedIdentity")]),
        E::NoCertificateChains { statement } => {
            in_statement(statement, vec![Member("timestampAuthority"), Member("certificateChains")])
        }
        E::NoLogKeys { statement } => {
            in_statement(statement, vec![Member("transparencyLog"), Member("publicKeys")])
        }
        E::NoKeys { statement } => in_statement(statement, vec![Member("keys")]),
        E::NoScopes { statement } => in_statement(statement, vec![Member("registryScopes")]),
        E::SkipWithChecks { statement } => {
            in_statement(statement, vec![Member("signatureVerification"), Member("level")])
        }
        E::Threshold { statement, .. } => in_statement(statement, vec![Member("threshold")]),
        E::NoRules { statement } => in_statement(statement, vec![Member("rules")]),
        E::Rule { statement, rule, .. } => in_statement(statement, to_rule(rule)),
        E::ChildrenMissing { statement, image } | E::ChildrenNotResolved { statement, image } => {
            Subject {
                statement: statement.clone(),
                steps: vec![Member("images"), Step::Named(image.clone())],
            }
        }
        E::ImageName { statement, .. } => {
            Subject { statement: statement.clone(), steps: vec![Member("images")] }
        }
        E::NothingToResolve { statement } => {
            Subject { statement: statement.clone(), steps: vec![Member("children")] }
        }
        E::EmptyDigestList => in_document(vec![Member("trustedDigests")]),
        E::KeyName { statement, index, .. } => {
            in_statement(statement, vec![Member("keys"), Step::Index(*index), Member("name")])
        }
        E::KmsCacheAge { .. } => in_document(vec![Member("kmsCache"), Member("maxAge")]),
        E::NoStatements => in_document(vec![Member("trustPolicies")]),
        E::Version { .. } => in_document(vec![Member("version")]),
        _ => Subject::default(),
    }
}

fn subject_in_notation(error: &NotationPolicyError) -> Subject {
    use NotationPolicyError as E;
    use Step::{Key, Member, Scope, Text};
    match error {
        E::AnyIdentityWithOthers { statement } => {
            in_statement(statement, vec![Member("trustedIdentities"), Text("*".to_owned())])
        }
        E::AnyScopeWithOthers { statement } => {
            in_statement(statement, vec![Member("registryScopes"), Text("*".to_owned())])
        }
        E::DuplicateScope { statement, scope } => {
            in_statement(statement, vec![Member("registryScopes"), Scope(scope.clone())])
        }
        E::DuplicateStatement { statement } => in_statement(statement, vec![Member("name")]),
        E::Identity { statement, identity, .. } => {
            in_statement(statement, vec![Member("trustedIdentities"), Text(identity.clone())])
        }
        E::OverlappingIdentities { statement, other, .. } => {
            in_statement(statement, vec![Member("trustedIdentities"), Text(other.clone())])
        }
        E::Level { statement, .. } | E::SkipWithTrust { statement } => {
            in_statement(statement, vec![Member("signatureVerification"), Member("level")])
        }
        E::NoScopes { statement } => in_statement(statement, vec![Member("registryScopes")]),
        E::NoTrust { statement } => in_statement(statement, vec![]),
        E::Override { statement, check, .. } => in_statement(
            statement,
            vec![Member("signatureVerification"), Member("override"), Key(check.clone())],
        ),
        E::Scope { statement, scope, .. } => {
            in_statement(statement, vec![Member("registryScopes"), Text(scope.clone())])
        }
        E::TrustStore { statement, store, .. } => {
            in_statement(statement, vec![Member("trustStores"), Text(store.clone())])
        }
        E::UnnamedStatement => in_statement("", vec![Member("name")]),
        E::VerifyTimestamp { statement, .. } => in_statement(
            statement,
            vec![Member("signatureVerification"), Member("verifyTimestamp")],
        ),
        E::NoStatements => in_document(vec![Member("trustPolicies")]),
        E::Version { .. } => in_document(vec![Member("version")]),
        _ => Subject::default(),
    }
}

fn in_statement(statement: &str, steps: Vec<Step>) -> Subject {
    Subject { statement: Some(statement.to_owned()), steps }
}

fn in_document(steps: Vec<Step>) -> Subject {
    Subject { statement: None, steps }
}

/// The way to `rules[1].anyOf[0]`.
fn to_rule(rule: &str) -> Vec<Step> {
    let parts = rule.split(['.', '[', ']']).filter(|part| !part.is_empty());
    let step = |part: &str| part.parse().map_or_else(|_| Step::Key(part.to_owned()), Step::Index);
    parts.map(step).collect()
}

fn of_key(name: &str) -> Vec<Step> {
    vec![Step::Member("keys"), Step::Named(name.to_owned())]
}

impl Subject {
    /// Where it is in `document`: as far as the way leads.
    pub(crate) fn find<'n>(&self, document: &'n Node) -> &'n Node {
        let named = |node: &&Node, name: &str| node.text("name") == Some(name);
        let start = self.statement.as_deref().and_then(|name| {
            let statements = document.member("trustPolicies")?.elements();
            statements.iter().rev().find(|node| named(node, name))
        });
        self.find_from(start.unwrap_or(document))
    }

    /// Where it is in the statement or document that the way starts from.
    pub(crate) fn find_from<'n>(&self, start: &'n Node) -> &'n Node {
        let named = |node: &&Node, name: &str| node.text("name") == Some(name);
        let mut node = start;
        for step in &self.steps {
            let mut last_first = node.elements().iter().rev();
            let next = match step {
                Step::Member(name) => node.member(name),
                Step::Key(name) => node.member(name),
                Step::Index(index) => node.elements().get(*index),
                Step::Named(name) => last_first.find(|node| named(node, name)),
                Step::Text(text) => {
                    last_first.find(|node| matches!(&node.value, Value::String(is) if is == text))
                }
                Step::Scope(scope) => last_first.find(|node| is_scope(node, scope)),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }
}

fn is_scope(node: &Node, scope: &str) -> bool {
    node.as_str().is_some_and(|text| {
        text == scope || text.parse::<Scope>().is_ok_and(|parsed| parsed.to_string() == scope)
    })
}
