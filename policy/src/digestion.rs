//! The document of `digestion-image-verifier`: digests that may be pulled. Bottlerocket's own form,
//! a single list, is accepted unchanged; `trustPolicies` bind lists to repositories, and `images` are
//! digests with a name beside each and, where the list says `"children": "resolve"`, the manifests of
//! all platforms. `civ policy digests` writes such lists.
//!
//! A name is for people and binds nothing: an image listed for all repositories may be pulled from any
//! of them, by any name. Scopes are what binds.

use std::fmt;

use civ_oci::strict_json::{self, not_null};
use civ_oci::{Digest, ImageId};
use serde::Deserialize;

use self::list::{Children, Entry, Image, TrustedList};
use crate::error::check_version;
use crate::{
    Evidence, Exempt, Level, Observer, PolicyError, Refusal, Statements, Verdict, statements,
};

pub use self::list::NAME_MAX;

mod list;

/// A parsed and validated document.
#[derive(Clone, Debug)]
pub struct Policy {
    trusted_everywhere: TrustedList,
    statements: Option<Statements<Statement>>,
}

/// What is trusted in some repositories.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its name.
    pub name: String,
    /// What a digest that is not listed leads to.
    pub level: Level,
    trusted: TrustedList,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Untrusted {
    version: String,
    #[serde(default)]
    trusted_digests: Vec<Digest>,
    #[serde(default)]
    images: Vec<Image>,
    #[serde(default, deserialize_with = "not_null")]
    children: Option<Children>,
    #[serde(default, deserialize_with = "not_null")]
    trust_policies: Option<Vec<UntrustedStatement>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntrustedStatement {
    name: String,
    registry_scopes: Vec<String>,
    #[serde(default, deserialize_with = "not_null")]
    level: Option<Level>,
    #[serde(default)]
    trusted_digests: Vec<Digest>,
    #[serde(default)]
    images: Vec<Image>,
    #[serde(default, deserialize_with = "not_null")]
    children: Option<Children>,
}

impl statements::UntrustedStatement for UntrustedStatement {
    type Valid = Statement;

    fn name(&self) -> &str {
        &self.name
    }

    fn registry_scopes(&self) -> &[String] {
        &self.registry_scopes
    }

    fn validate(self) -> Result<Statement, PolicyError> {
        let Self { name, level, trusted_digests, images, children, .. } = self;
        let trusted = TrustedList::new(Some(&name), trusted_digests, images, children)?;
        let level = level.unwrap_or(Level::Strict);
        if level == Level::Skip && !trusted.is_empty() {
            return Err(PolicyError::SkipWithChecks { statement: name });
        }
        Ok(Statement { name, level, trusted })
    }
}

impl Statement {
    /// How many digests it lists.
    pub fn listed(&self) -> usize {
        self.trusted.len()
    }
}

impl Policy {
    /// Parses and validates a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let document: Untrusted = strict_json::from_slice_of_structs(bytes)?;
        check_version(&document.version)?;
        let statements = document.trust_policies.map(Statements::validate).transpose()?;
        let Untrusted { trusted_digests, images, children, .. } = document;
        let trusted_everywhere = TrustedList::new(None, trusted_digests, images, children)?;
        if statements.is_none() && trusted_everywhere.is_empty() {
            return Err(PolicyError::EmptyDigestList);
        }
        Ok(Self { trusted_everywhere, statements })
    }

    /// Decides about `image`.
    ///
    /// # Errors
    /// The refusal, with the exit code that it has on a node.
    pub fn decide(&self, image: &ImageId, observer: &dyn Observer) -> Result<Verdict, Refusal> {
        if let Some(listed) = self.find_everywhere(image) {
            // No statement's doing.
            observer.set("level", &Level::Strict);
            return Verdict::at_level(Level::Strict, image, Ok(Box::new(listed)));
        }
        let statement = self.statement_for(image);
        let level = statement.map_or(Level::Strict, |statement| statement.level);
        match statement {
            Some(Statement { name, .. }) => observer.statement(name, level),
            None => observer.set("level", &level),
        }
        let outcome = self.check_in(statement, image).map_err(Refusal::by_policy);
        Verdict::at_level(level, image, outcome)
    }

    /// Looks `image` up: in the list for every repository, then in the statement for its own.
    pub fn check_listed(&self, image: &ImageId) -> Result<Box<dyn Evidence>, NotListed> {
        match self.find_everywhere(image) {
            Some(listed) => Ok(Box::new(listed)),
            None => self.check_in(self.statement_for(image), image),
        }
    }

    fn find_everywhere(&self, image: &ImageId) -> Option<ListedImage> {
        let entry = self.trusted_everywhere.find(&image.digest)?;
        Some(ListedImage::new(image, None, entry))
    }

    fn check_in(
        &self,
        statement: Option<&Statement>,
        image: &ImageId,
    ) -> Result<Box<dyn Evidence>, NotListed> {
        let Some(statement) = statement else {
            return Err(if self.statements.is_some() {
                NotListed::NoStatement { image: image.clone() }
            } else {
                let listed = self.trusted_everywhere.len();
                NotListed::Everywhere { digest: image.digest.clone(), listed }
            });
        };
        if statement.level == Level::Skip {
            return Ok(Box::new(Exempt::new(image, &statement.name)));
        }
        if let Some(entry) = statement.trusted.find(&image.digest) {
            return Ok(Box::new(ListedImage::new(image, Some(statement), entry)));
        }
        Err(NotListed::InStatement {
            digest: image.digest.clone(),
            statement: statement.name.clone(),
            listed: statement.trusted.len(),
        })
    }

    /// How many digests are admitted whatever the repository.
    pub fn trusted_everywhere(&self) -> usize {
        self.trusted_everywhere.len()
    }

    /// All statements, if the document binds lists to repositories.
    pub fn statements(&self) -> Option<&Statements<Statement>> {
        self.statements.as_ref()
    }

    /// The statement for the repository of `image`, if one speaks of it.
    pub fn statement_for(&self, image: &ImageId) -> Option<&Statement> {
        self.statements.as_ref()?.find(&image.repository).ok()
    }
}

/// Proof that an image's digest is listed. Made only by [`Policy::check_listed`].
#[derive(Clone, Debug)]
struct ListedImage {
    image: ImageId,
    /// What it is listed as, in words.
    listed: String,
}

impl ListedImage {
    fn new(image: &ImageId, statement: Option<&Statement>, entry: Entry<'_>) -> Self {
        let statement = statement.map(|statement| format!(" in statement {:?}", statement.name));
        let entry = match entry {
            Entry::Digest => String::new(),
            Entry::Image(name) => format!(" as {name:?}"),
            Entry::ChildOf(name) => format!(" as a child of {name:?}"),
        };
        Self { image: image.clone(), listed: statement.unwrap_or_default() + &entry }
    }
}

impl Evidence for ListedImage {
    fn image(&self) -> &ImageId {
        &self.image
    }
}

impl fmt::Display for ListedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "digest listed: {}{}", self.image.digest, self.listed)
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
    use civ_oci::strict_json::JsonError;
    use proptest::prelude::*;

    use super::*;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const C: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
    const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn policy(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.replace("$A", A).replace("$B", B).replace("$C", C).as_bytes())
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
        let level_for = |image: &ImageId| {
            policy.statement_for(image).map_or(Level::Strict, |statement| statement.level)
        };
        assert_eq!(level_for(&image("r.io/watch", A)), Level::Audit);
        assert_eq!(level_for(&image("r.io/other", A)), Level::Strict);
    }

    #[test]
    fn an_index_admits_its_children_if_its_list_resolves_them() {
        let image = |digest| image("r.io/prod/app", digest);
        let resolved = r#""children":"resolve","images":[{"name":"r.io/prod/app:1","digest":"$A","children":["$B"]}]"#;
        let plain = r#""images":[{"name":"r.io/prod/app:1","digest":"$A"}]"#;
        for (list, child_allowed) in [(resolved, true), (plain, false)] {
            let everywhere = format!(r#"{{"version":"1.0",{list}}}"#);
            let scoped = format!(
                r#"{{"version":"1.0","trustPolicies":[{{"name":"prod","registryScopes":["r.io/prod/*"],{list}}}]}}"#
            );
            for document in [everywhere, scoped] {
                let policy = policy(&document).unwrap();
                let found = policy.check_listed(&image(A)).unwrap().to_string();
                assert!(found.ends_with(r#" as "r.io/prod/app:1""#), "{found}");
                assert_eq!(policy.check_listed(&image(B)).is_ok(), child_allowed, "{document}");
                let listed = if child_allowed { "among the 2 " } else { "among the 1 " };
                let refused = policy.check_listed(&image(C)).err().unwrap().to_string();
                assert!(refused.contains(listed), "{refused}");
            }
        }
    }

    #[test]
    fn a_name_binds_nothing_and_scopes_do() {
        let list = r#""images":[{"name":"r.io/prod/app:1","digest":"$A"}]"#;
        let everywhere = policy(&format!(r#"{{"version":"1.0",{list}}}"#)).unwrap();
        assert!(everywhere.check_listed(&image("other.io/x", A)).is_ok());
        let scoped = format!(
            r#"{{"version":"1.0","trustPolicies":[{{"name":"s","registryScopes":["r.io/test"],{list}}}]}}"#
        );
        assert!(policy(&scoped).unwrap().check_listed(&image("r.io/prod/app", A)).is_err());
    }

    #[test]
    fn refuses_lists_that_would_be_narrower_or_wider_than_they_read() {
        for (list, words) in [
            (
                r#""children":"resolve","images":[{"name":"n","digest":"$A"}]"#,
                "let civ policy digests write",
            ),
            (
                r#""children":"resolve","images":[{"name":"m","digest":"$A","children":[]},{"name":"n","digest":"$B"}]"#,
                r#"image "n" of"#,
            ),
            (r#""images":[{"name":"n","digest":"$A","children":["$B"]}]"#, "does not say"),
            (r#""children":"resolve","trustedDigests":["$A"]"#, "nothing to resolve"),
            (r#""children":"resolve","images":[],"trustedDigests":["$A"]"#, "nothing to resolve"),
            (r#""children":"ignore","images":[{"name":"n","digest":"$A"}]"#, "unknown variant"),
            (r#""children":null,"images":[{"name":"n","digest":"$A"}]"#, "invalid type: null"),
            (r#""images":[["n","$A",null]]"#, "invalid type: an array, expected an object"),
            (
                r#""children":{"resolve":null},"images":[{"name":"n","digest":"$A","children":[]}]"#,
                r#"invalid type: an object, expected one of ["resolve"]"#,
            ),
            (r#""images":[{"name":"n","digest":"$A","children":null}]"#, "invalid type: null"),
            (r#""images":[{"digest":"$A"}]"#, "missing field `name`"),
            (r#""images":[{"name":"n"}]"#, "missing field `digest`"),
            (r#""images":[{"name":"","digest":"$A"}]"#, "has 0 bytes"),
            (r#""images":[{"name":"n","digest":"$A","platform":"x"}]"#, "unknown field"),
            (r#""images":[{"name":"n","name":"m","digest":"$A"}]"#, r#"duplicate key "name""#),
            (r#""images":[{"name":"n","digest":"sha256:A"}]"#, "not a digest"),
            (
                r#""children":"resolve","images":[{"name":"n","digest":"$A","children":["x"]}]"#,
                "not a digest",
            ),
        ] {
            for text in [
                format!(r#"{{"version":"1.0",{list}}}"#),
                format!(
                    r#"{{"version":"1.0","trustPolicies":[{{"name":"s","registryScopes":["*"],{list}}}]}}"#
                ),
            ] {
                let error = policy(&text).unwrap_err().to_string();
                assert!(error.contains(words), "{text}: {error}");
            }
        }
        let long = |length| {
            format!(
                r#"{{"version":"1.0","images":[{{"name":"{}","digest":"$A"}}]}}"#,
                "x".repeat(length)
            )
        };
        policy(&long(NAME_MAX)).unwrap();
        assert!(policy(&long(NAME_MAX + 1)).is_err());
    }

    proptest! {
        /// One pass must refuse what two passes did, in their words.
        #[test]
        fn no_edit_makes_a_document_that_only_one_pass_accepts(
            at in any::<prop::sample::Index>(),
            from in any::<prop::sample::Index>(),
            length in 0_usize..40,
            with in any::<Option<u8>>(),
        ) {
            let document = format!(
                r#"{{"version":"1.0","children":"resolve","images":[{{"name":"n","digest":"{A}","children":["{B}"]}}],"trustPolicies":[{{"name":"s","registryScopes":["*"],"level":"audit","trustedDigests":["{C}"]}}]}}"#
            );
            let mut bytes = document.into_bytes();
            let (at, from) = (at.index(bytes.len()), from.index(bytes.len()));
            let piece: Vec<u8> = match with {
                Some(byte) => vec![byte],
                None => bytes[from..].iter().copied().take(length).collect(),
            };
            bytes.splice(at..at, piece);
            let twice = strict_json::from_slice::<Untrusted>(&bytes);
            let once = strict_json::from_slice_of_structs::<Untrusted>(&bytes);
            let words = |parsed: Result<Untrusted, JsonError>| parsed.map(drop).map_err(|e| e.to_string());
            prop_assert_eq!(words(once), words(twice));
        }
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
            r#"{"version":"1.0","trustedDigests":["$A"],"trustPolicies":null}"#,
            r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],"level":null,"trustedDigests":["$A"]}]}"#,
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
