//! Does an image say of itself what a statement asks for?

use std::fmt;

use civ_oci::text::one_line;
use civ_oci::{ImageId, RegistryRead};
use civ_policy::annotations::{Clause, Place, Rule, Statement};
use civ_policy::{Evidence, UtcTime};

use crate::Rejection;
use crate::documents::Documents;
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
/// and one for each configuration.
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
    let mut check = Check { statement: name, now, documents: Documents::of(image, registry)? };
    let mut names = Vec::with_capacity(statement.clauses.len());
    for clause in &statement.clauses {
        names.push(match clause {
            Clause::Rule(rule) => check.rule(rule).map(|()| &rule.annotation)?,
            Clause::AnyOf(rules) => check.any_of(rules)?,
        });
    }
    let names = names.into_iter().cloned().collect();
    Ok(DescribedImage { image: image.clone(), statement: name.clone(), names })
}

struct Check<'a, R> {
    statement: &'a str,
    now: UtcTime,
    documents: Documents<'a, R>,
}

impl<R: RegistryRead> Check<'_, R> {
    fn rule(&mut self, rule: &Rule) -> Result<(), VerifyError<R::Error>> {
        for site in self.documents.sites(rule, self.statement)? {
            let found = self.documents.value(rule, &site)?;
            if let Err(mismatch) = rule.matcher.check(found, self.now) {
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
    fn any_of<'p>(&mut self, rules: &'p [Rule]) -> Result<&'p String, VerifyError<R::Error>> {
        let mut unread = None;
        let mut first = None;
        for rule in rules {
            match self.rule(rule) {
                Ok(()) => return Ok(&rule.annotation),
                Err(VerifyError::Rejected(rejection)) => {
                    first.get_or_insert(rejection);
                }
                Err(error) => {
                    unread.get_or_insert(error);
                }
            }
        }
        // What could not be read might have been what was asked for: say so first.
        Err(match (unread, first) {
            (Some(error), _) => error,
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
