//! The document of `digestion-image-verifier`: digests that may be pulled. Bottlerocket's own form,
//! a single list, is accepted unchanged; `trustPolicies` bind lists to repositories.

use std::collections::BTreeSet;
use std::fmt;

use civ_oci::{Digest, ImageId, strict_json};
use serde::Deserialize;

use crate::error::check_version;
use crate::{Evidence, Exempt, Level, PolicyError, ScopeTable};

/// A parsed and validated document.
#[derive(Clone, Debug)]
pub struct Policy {
    trusted_everywhere: BTreeSet<Digest>,
    has_statements: bool,
    statements: Vec<Statement>,
    scopes: ScopeTable,
}

/// What is trusted in some repositories.
#[derive(Clone, Debug)]
pub struct Statement {
    name: String,
    level: Level,
    trusted: BTreeSet<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Untrusted {
    version: String,
    #[serde(default)]
    trusted_digests: Vec<Digest>,
    trust_policies: Option<Vec<UntrustedStatement>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntrustedStatement {
    name: String,
    registry_scopes: Vec<String>,
    level: Option<Level>,
    #[serde(default)]
    trusted_digests: Vec<Digest>,
}

impl Policy {
    /// Parses and validates a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let document: Untrusted = strict_json::from_slice(bytes)?;
        check_version(&document.version)?;
        let has_statements = document.trust_policies.is_some();
        let untrusted = document.trust_policies.unwrap_or_default();
        if has_statements && untrusted.is_empty() {
            return Err(PolicyError::NoStatements);
        }
        if !has_statements && document.trusted_digests.is_empty() {
            return Err(PolicyError::EmptyDigestList);
        }
        let mut scopes = ScopeTable::default();
        let mut statements: Vec<Statement> = Vec::with_capacity(untrusted.len());
        for statement in untrusted {
            let name = statement.name;
            if statements.iter().any(|known| known.name == name) {
                return Err(PolicyError::DuplicateStatement { statement: name });
            }
            let level = statement.level.unwrap_or(Level::Strict);
            if level == Level::Skip && !statement.trusted_digests.is_empty() {
                return Err(PolicyError::SkipWithChecks { statement: name });
            }
            scopes.add(statements.len(), &name, &statement.registry_scopes)?;
            let trusted = statement.trusted_digests.into_iter().collect();
            statements.push(Statement { name, level, trusted });
        }
        let trusted_everywhere = document.trusted_digests.into_iter().collect();
        Ok(Self { trusted_everywhere, has_statements, statements, scopes })
    }

    /// The level that applies to `image`: that of the statement for its repository.
    pub fn level_for(&self, image: &ImageId) -> Level {
        self.statement_for(image).map_or(Level::Strict, |statement| statement.level)
    }

    /// Looks `image` up: in the list for every repository, then in the statement for its own.
    pub fn check_listed(&self, image: &ImageId) -> Result<Box<dyn Evidence>, NotListed> {
        if self.trusted_everywhere.contains(&image.digest) {
            return Ok(Box::new(ListedImage { image: image.clone(), statement: None }));
        }
        let Some(statement) = self.statement_for(image) else {
            return Err(if self.has_statements {
                NotListed::NoStatement { image: image.clone() }
            } else {
                let listed = self.trusted_everywhere.len();
                NotListed::Everywhere { digest: image.digest.clone(), listed }
            });
        };
        if statement.level == Level::Skip {
            return Ok(Box::new(Exempt::new(image, &statement.name)));
        }
        if statement.trusted.contains(&image.digest) {
            let statement = Some(statement.name.clone());
            return Ok(Box::new(ListedImage { image: image.clone(), statement }));
        }
        Err(NotListed::InStatement {
            digest: image.digest.clone(),
            statement: statement.name.clone(),
            listed: statement.trusted.len(),
        })
    }

    fn statement_for(&self, image: &ImageId) -> Option<&Statement> {
        self.statements.get(self.scopes.find(&image.repository)?)
    }
}

/// Proof that an image's digest is listed. Made only by [`Policy::check_listed`].
#[derive(Clone, Debug)]
struct ListedImage {
    image: ImageId,
    statement: Option<String>,
}

impl Evidence for ListedImage {
    fn image(&self) -> &ImageId {
        &self.image
    }
}

impl fmt::Display for ListedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "digest listed: {}", self.image.digest)?;
        match &self.statement {
            Some(statement) => write!(f, " in statement {statement:?}"),
            None => Ok(()),
        }
    }
}

/// Why a digest is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotListed {
    /// The document has one list, and the digest is not in it.
    #[error(
        "digest not listed: {digest} is not among the {listed} trusted digests; add it to trustedDigests if it should be pulled"
    )]
    Everywhere {
        /// The digest pulled.
        digest: Digest,
        /// How many are listed.
        listed: usize,
    },
    /// The statement for the repository does not list the digest.
    #[error(
        "digest not listed: {digest} is not among the {listed} trusted digests of statement {statement:?}"
    )]
    InStatement {
        /// The digest pulled.
        digest: Digest,
        /// The statement.
        statement: String,
        /// How many it lists.
        listed: usize,
    },
    /// No statement speaks of the repository, and the digest is not listed for all.
    #[error("no statement for {}: no registryScopes of the policy match it, and {} is not listed for all", image.repository, image.digest)]
    NoStatement {
        /// The image pulled.
        image: ImageId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn policy(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.replace("$A", A).replace("$B", B).as_bytes())
    }

    fn image(repository: &str, digest: &str) -> ImageId {
        repository.parse::<civ_oci::Repository>().unwrap().image(digest.parse().unwrap())
    }

    #[test]
    fn bottlerockets_document_admits_what_it_lists_and_nothing_else() {
        let policy = policy(r#"{"version":"1.0","trustedDigests":["$A"]}"#).unwrap();
        let listed = policy.check_listed(&image("r.io/a", A)).unwrap();
        assert_eq!(listed.image(), &image("r.io/a", A));
        let refused = policy.check_listed(&image("r.io/a", B)).err().unwrap();
        assert!(refused.to_string().starts_with("digest not listed"), "{refused}");
    }

    #[test]
    fn a_scoped_list_admits_a_digest_in_its_repositories_only() {
        let policy = policy(
            r#"{"version":"1.0","trustedDigests":["$B"],"trustPolicies":[
                {"name":"prod","registryScopes":["r.io/prod/**"],"trustedDigests":["$A"]},
                {"name":"watch","registryScopes":["r.io/watch"],"level":"audit"},
                {"name":"free","registryScopes":["r.io/free"],"level":"skip"}]}"#,
        )
        .unwrap();
        for (repository, digest, allowed) in [
            ("r.io/prod/a", A, true),
            ("r.io/prod/a", B, true),
            ("r.io/other", A, false),
            ("r.io/other", B, true),
            ("r.io/watch", A, false),
            ("r.io/free", A, true),
        ] {
            let image = image(repository, digest);
            assert_eq!(policy.check_listed(&image).is_ok(), allowed, "{image}");
        }
        assert_eq!(policy.level_for(&image("r.io/watch", A)), Level::Audit);
        assert_eq!(policy.level_for(&image("r.io/other", A)), Level::Strict);
    }

    #[test]
    fn refuses_documents_that_are_not_to_the_letter() {
        for text in [
            r"{}",
            r#"{"version":"1.0"}"#,
            r#"{"version":"1.0","trustedDigests":[]}"#,
            r#"{"version":"1.0","trustedDigests":null}"#,
            r#"{"version":"2.0","trustedDigests":["$A"]}"#,
            r#"{"version":1.0,"trustedDigests":["$A"]}"#,
            r#"{"version":"1.0","trustedDigests":["$A"],"trustPolicies":[]}"#,
            r#"{"version":"1.0","trustedDigests":["SHA256:aa"]}"#,
            r#"{"version":"1.0","trustedDigests":["$A"],"extra":1}"#,
            r#"{"version":"1.0","trustedDigests":["$A"],"trustedDigests":["$B"]}"#,
            r#"{"version":"1.0","trustedDigests":["$A"]} x"#,
            r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":[],"trustedDigests":["$A"]}]}"#,
            r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"level":"skip","trustedDigests":["$A"]}]}"#,
            r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"level":"permissive"}]}"#,
            r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"]},{"name":"a","registryScopes":["r.io/a"]}]}"#,
        ] {
            assert!(policy(text).is_err(), "{text}");
        }
    }
}
