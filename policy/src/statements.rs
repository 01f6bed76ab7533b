//! The statements of a document, each found by the repositories that it is for. All documents whose
//! statements have `registryScopes` with patterns are read and asked here, so that the same scopes
//! mean the same in each. (The Notary Project's has no patterns: see [`crate::notation`].)

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Deref;

use civ_oci::Repository;

use crate::{PolicyError, Scope};

/// The longest name of a statement, or of a key in it, in bytes: a reason that names both has room for
/// what it is about.
pub const NAME_MAX: usize = 76;

/// A document's statements in its order: at least one, and no two with the same name or scope.
#[derive(Clone, Debug)]
pub struct Statements<S> {
    all: Vec<S>,
    /// The index of the statement that states a scope.
    scopes: HashMap<Scope, usize>,
}

/// What every statement says, whatever it asks for.
pub(crate) trait UntrustedStatement {
    /// The statement that it is, once it is valid.
    type Valid;

    /// The `name`.
    fn name(&self) -> &str;

    /// The `registryScopes`.
    fn registry_scopes(&self) -> &[String];

    /// Checks all the rest.
    fn validate(self) -> Result<Self::Valid, PolicyError>;
}

impl<S> Statements<S> {
    /// Checks each of `untrusted`, that there is one, and that none has a name or a scope of another.
    pub(crate) fn validate<U: UntrustedStatement<Valid = S>>(
        untrusted: Vec<U>,
    ) -> Result<Self, PolicyError> {
        if untrusted.is_empty() {
            return Err(PolicyError::NoStatements);
        }
        let mut all = Vec::with_capacity(untrusted.len());
        let mut names = HashSet::with_capacity(untrusted.len());
        let mut scopes = HashMap::with_capacity(untrusted.len());
        for statement in untrusted {
            if !is_name(statement.name()) {
                let statement = statement.name().to_owned();
                return Err(PolicyError::StatementName { statement });
            }
            if !names.insert(statement.name().to_owned()) {
                let statement = statement.name().to_owned();
                return Err(PolicyError::DuplicateStatement { statement });
            }
            add_scopes(&mut scopes, all.len(), &statement)?;
            all.push(statement.validate()?);
        }
        Ok(Self { all, scopes })
    }

    /// The statement whose scope describes `repository` most closely.
    ///
    /// No order is needed: of two different scopes that match one repository, one is always the closer.
    pub fn find(&self, repository: &Repository) -> Result<&S, NoStatement> {
        self.index_of(repository)
            .and_then(|index| self.all.get(index))
            .ok_or_else(|| NoStatement { repository: repository.clone() })
    }

    /// Where in the document that statement is.
    pub fn index_of(&self, repository: &Repository) -> Option<usize> {
        self.scopes
            .iter()
            .filter(|(scope, _)| scope.matches(repository))
            .max_by(|(a, _), (b, _)| a.compare_specificity(b))
            .map(|(_, index)| *index)
    }

    /// The scopes that match `repository`, each with its statement: the closest first.
    pub fn matching(&self, repository: &Repository) -> Vec<(&Scope, &S)> {
        let matching = self.scopes.iter().filter(|(scope, _)| scope.matches(repository));
        let mut matching: Vec<_> =
            matching.filter_map(|(scope, index)| Some((scope, self.all.get(*index)?))).collect();
        matching.sort_by(|(a, _), (b, _)| b.compare_specificity(a));
        matching
    }
}

/// May a statement or a key be called this?
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
}

fn add_scopes(
    scopes: &mut HashMap<Scope, usize>,
    index: usize,
    untrusted: &impl UntrustedStatement,
) -> Result<(), PolicyError> {
    let statement = || untrusted.name().to_owned();
    if untrusted.registry_scopes().is_empty() {
        return Err(PolicyError::NoScopes { statement: statement() });
    }
    for text in untrusted.registry_scopes() {
        let scope: Scope = text.parse().map_err(|source| PolicyError::Scope {
            statement: statement(),
            scope: text.clone(),
            source,
        })?;
        match scopes.entry(scope) {
            Entry::Vacant(entry) => entry.insert(index),
            Entry::Occupied(entry) => {
                return Err(PolicyError::DuplicateScope {
                    statement: statement(),
                    scope: entry.key().to_string(),
                });
            }
        };
    }
    Ok(())
}

impl<S> Deref for Statements<S> {
    type Target = [S];

    fn deref(&self) -> &[S] {
        &self.all
    }
}

/// No statement of the policy speaks of the repository, and silence refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no statement for {repository}: no registryScopes of the policy match it")]
pub struct NoStatement {
    /// The repository pulled from.
    pub repository: Repository,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement that asks for nothing: its name, and its scope.
    struct Bare(String, [String; 1]);

    impl UntrustedStatement for Bare {
        type Valid = String;

        fn name(&self) -> &str {
            &self.0
        }

        fn registry_scopes(&self) -> &[String] {
            &self.1
        }

        fn validate(self) -> Result<String, PolicyError> {
            Ok(self.0)
        }
    }

    /// Statements for these scopes, of the same names.
    fn statements(scopes: &[&str]) -> Result<Statements<String>, PolicyError> {
        let bare = |scope: &&str| Bare((*scope).to_owned(), [(*scope).to_owned()]);
        Statements::validate(scopes.iter().map(bare).collect())
    }

    #[test]
    fn the_closest_scope_wins_whatever_the_order() {
        let closest_first = [
            "x.r.io/a/b",
            "x.r.io/a/*",
            "x.r.io/a/**",
            "x.r.io/*/b",
            "x.r.io/*/**",
            "x.r.io/**",
            "*.r.io/a/b",
            "x.*.io/a/b",
            "*.*.io/**",
            "*",
        ];
        let repository: Repository = "x.r.io/a/b".parse().unwrap();
        for skipped in 0..closest_first.len() {
            let mut scopes = closest_first[skipped..].to_vec();
            for _ in 0..scopes.len() {
                scopes.rotate_left(1);
                let statements = statements(&scopes).unwrap();
                assert_eq!(statements.find(&repository).unwrap(), closest_first[skipped]);
                let matching: Vec<_> =
                    statements.matching(&repository).into_iter().map(|(_, name)| name).collect();
                assert_eq!(matching, closest_first[skipped..].iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn one_scope_stated_twice_is_an_error_however_it_is_spelt() {
        let error = statements(&["busybox", "index.docker.io/library/busybox"]);
        assert!(matches!(error, Err(PolicyError::DuplicateScope { .. })));
    }
}
