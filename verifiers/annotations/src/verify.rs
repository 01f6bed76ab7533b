//! Does an image say of itself what a statement asks for?

use std::fmt;

use civ_oci::text::one_line;
use civ_oci::{ImageId, RegistryRead};
use civ_policy::annotations::{Clause, Matcher, Place, Rule, Statement};
use civ_policy::{Evidence, UtcTime};

use crate::Rejection;
use crate::documents::{Documents, Failure};
use crate::rejection::NotAsAsked;

/// Proof that an image is described as a statement asks. Made only by [`verify_annotations`].
#[derive(Clone, Debug)]
pub struct DescribedImage {
    image: ImageId,
    statement: String,
    /// The names of the annotations and labels that decided.
    names: Vec<String>,
}

impl Evidence for DescribedImage {
    fn image(&self) -> &ImageId {
        &self.image
    }
}

impl fmt::Display for DescribedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.names.iter().map(|name| one_line(name, 64)).collect();
        write!(f, "described as statement {:?} asks: {}", self.statement, names.join(", "))
    }
}

/// Checks what `image` says of itself against every rule of `statement`, in order, up to the first
/// that does not hold. `now` is what the clock says.
///
/// It takes one request for what is pulled, one for each manifest of an index that a rule is about,
/// and one for each configuration: whatever fails is not asked for again. What is read is bounded
/// ([`DOCUMENTS_MAX`](crate::documents::DOCUMENTS_MAX)).
pub fn verify_annotations<R: RegistryRead>(
    statement: &Statement,
    image: &ImageId,
    now: UtcTime,
    registry: &R,
) -> Result<DescribedImage, VerifyError<R::Error>> {
    let name = &statement.name;
    if statement.clauses.is_empty() {
        return Err(Rejection::NothingAsked { statement: name.clone() }.into());
    }
    let documents = Documents::of(image, statement, registry)?;
    let mut check = Check { statement: name, now, documents };
    match check.clauses(&statement.clauses) {
        Ok(names) => {
            let names = names.into_iter().cloned().collect();
            Ok(DescribedImage { image: image.clone(), statement: name.clone(), names })
        }
        Err(failure) => Err(check.documents.into_error(failure)),
    }
}

struct Check<'a, R: RegistryRead> {
    statement: &'a str,
    now: UtcTime,
    documents: Documents<'a, R>,
}

impl<R: RegistryRead> Check<'_, R> {
    /// The names of the annotations that decided.
    fn clauses<'p>(&mut self, clauses: &'p [Clause]) -> Result<Vec<&'p String>, Failure> {
        let decided = clauses.iter().map(|clause| match clause {
            Clause::Rule(rule) => self.rule(rule).map(|()| &rule.annotation),
            Clause::AnyOf(rules) => self.any_of(rules),
        });
        decided.collect()
    }

    fn rule(&mut self, rule: &Rule) -> Result<(), Failure> {
        for site in self.documents.sites(rule, self.statement)? {
            let found = self.documents.value(rule, &site)?;
            if let Err(mismatch) = rule.matcher.check(found, self.now) {
                let found = found.filter(|_| !matches!(rule.matcher, Matcher::Absent));
                let rejection = NotAsAsked {
                    name: rule.annotation.clone(),
                    is_label: matches!(rule.place, Place::Labels(_)),
                    site,
                    found: found.map(str::to_owned),
                    mismatch,
                    asked: rule.matcher.clone(),
                    statement: self.statement.to_owned(),
                };
                return Err(Rejection::NotAsAsked(Box::new(rejection)).into());
            }
        }
        Ok(())
    }

    /// The annotation of the first rule that holds.
    fn any_of<'p>(&mut self, rules: &'p [Rule]) -> Result<&'p String, Failure> {
        let mut unread = None;
        let mut first = None;
        for rule in rules {
            match self.rule(rule) {
                Ok(()) => return Ok(&rule.annotation),
                Err(Failure::Rejected(rejection)) => {
                    first.get_or_insert(rejection);
                }
                Err(failure) => {
                    unread.get_or_insert(failure);
                }
            }
        }
        // What could not be read might have been what was asked for: say so first.
        Err(match (unread, first) {
            (Some(failure), _) => failure,
            (None, Some(first)) => {
                Rejection::NoneHolds { count: rules.len(), first: Box::new(first) }.into()
            }
            (None, None) => Rejection::NothingAsked { statement: self.statement.to_owned() }.into(),
        })
    }
}

/// Why an image is not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError<E: std::error::Error + 'static> {
    /// The registry has not what is pulled, or what that consists of.
    #[error("registry has no {image}; push all of the image again")]
    NotStored {
        /// What it should have.
        image: ImageId,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(E),
    /// The image is not as asked.
    #[error(transparent)]
    Rejected(Rejection),
}

impl<E: std::error::Error + 'static> From<Rejection> for VerifyError<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use civ_oci::{
        Digest, NextPage, ReferrersPage, Repository, Selector, StoredManifest, media_type,
    };
    use civ_policy::annotations::Policy;
    use proptest::prelude::*;

    use super::*;

    /// Answers every question with the next of these.
    struct Answers(RefCell<Vec<String>>);

    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct NoAnswer;

    impl Answers {
        fn next(&self) -> Result<Vec<u8>, NoAnswer> {
            self.0.borrow_mut().pop().map(String::into_bytes).ok_or(NoAnswer)
        }
    }

    impl RegistryRead for Answers {
        type Error = NoAnswer;

        fn manifest(
            &self,
            _: &Repository,
            selector: &Selector,
        ) -> Result<Option<StoredManifest>, NoAnswer> {
            let Selector::Digest(digest) = selector else { panic!("asked for a tag") };
            let (bytes, digest) = (self.next()?, digest.clone());
            let is_index = bytes.windows(11).any(|part| part == b"\"manifests\"");
            let kind = if is_index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
            Ok(Some(StoredManifest { media_type: kind.to_owned(), digest, bytes }))
        }

        fn blob(&self, _: &Repository, _: &Digest, _: u64) -> Result<Vec<u8>, NoAnswer> {
            self.next()
        }

        fn referrers(
            &self,
            _: &Repository,
            _: &Digest,
            _: Option<&NextPage>,
        ) -> Result<Option<ReferrersPage>, NoAnswer> {
            panic!("asked for referrers")
        }
    }

    const D: &str = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,
        "digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;

    fn judge(rules: &str, answers: &[&str]) -> Result<DescribedImage, VerifyError<NoAnswer>> {
        let document = format!(
            r#"{{"version":"1.0","trustPolicies":[{{"name":"p","registryScopes":["*"],"rules":[{rules}]}}]}}"#
        );
        let policy = Policy::parse(document.as_bytes()).unwrap();
        let image = "r.io/a".parse::<Repository>().unwrap().image(Digest::sha256(b""));
        let answers = answers.iter().rev().map(|answer| answer.replace("$D", D)).collect();
        let now = "2026-11-22T05:00:00Z".parse().unwrap();
        let statement = policy.statement_for(&image).unwrap();
        let described = verify_annotations(statement, &image, now, &Answers(RefCell::new(answers)));
        described.inspect(|described| assert_eq!(described.image(), &image))
    }

    const MANIFEST: &str = r#"{"schemaVersion":2,"config":$D,"layers":[]}"#;
    const INDEX: &str = r#"{"schemaVersion":2,"manifests":[$D]}"#;

    #[test]
    fn labels_are_found_below_an_index() {
        let rule = r#"{"annotation":"a","from":"labels","equals":"1"}"#;
        let described = judge(rule, &[INDEX, MANIFEST, r#"{"config":{"Labels":{"a":"1"}}}"#]);
        assert_eq!(described.unwrap().to_string(), r#"described as statement "p" asks: a"#);
        let lost = judge(rule, &[INDEX, MANIFEST]);
        assert!(matches!(lost, Err(VerifyError::Registry(NoAnswer))));
    }

    #[test]
    fn a_statement_that_asks_for_nothing_proves_nothing() {
        let statement = Statement {
            name: "p".to_owned(),
            level: civ_policy::Level::Strict,
            clauses: Vec::new(),
        };
        let image = "r.io/a".parse::<Repository>().unwrap().image(Digest::sha256(b""));
        let now = "2026-11-22T05:00:00Z".parse().unwrap();
        let answers = Answers(RefCell::new(vec![MANIFEST.replace("$D", D)]));
        let outcome = verify_annotations(&statement, &image, now, &answers);
        assert!(matches!(outcome, Err(VerifyError::Rejected(Rejection::NothingAsked { .. }))));
    }

    proptest! {
        #[test]
        fn no_configuration_has_a_label_and_has_it_not(
            text in r#"(\{"config":\{"Labels":\{"(a|b)":("1"|1|null)(,"a":"")?\}\}\}|\PC{0,40})"#,
        ) {
            let rules = r#"{"annotation":"a","from":"labels","present":true},
                           {"annotation":"a","from":"labels","absent":true}"#;
            let outcome = judge(rules, &[MANIFEST, &text]);
            prop_assert!(matches!(outcome, Err(VerifyError::Rejected(_))));
        }

        #[test]
        fn no_document_is_allowed_without_what_was_asked(text in "\\PC{0,60}") {
            let rule = r#"{"annotation":"never","present":true}"#;
            let outcome = judge(rule, &[&text]);
            prop_assert!(matches!(outcome, Err(VerifyError::Rejected(_))));
        }
    }
}
