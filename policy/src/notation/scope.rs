//! Which repositories a statement is for: one each, by its full name, or all.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use civ_oci::Repository;
use civ_oci::reference::reads_as_host;

use super::NotationPolicyError;
use super::error::RegistryScopeError;

/// One entry of a statement's `registryScopes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegistryScope {
    /// `*`: every repository that no other statement names.
    Everything,
    /// One repository, however its registry's host is spelt.
    Repository(Repository),
    /// A name whose first part is no host, as in `library/busybox`. notation accepts it; containerd
    /// never pulls from one, so it matches nothing.
    Unreachable(String),
}

impl RegistryScope {
    /// Does this scope name `repository`? `*` names none.
    pub fn names(&self, repository: &Repository) -> bool {
        matches!(self, Self::Repository(named) if named == repository)
    }
}

impl FromStr for RegistryScope {
    type Err = RegistryScopeError;

    fn from_str(text: &str) -> Result<Self, RegistryScopeError> {
        if text == "*" {
            return Ok(Self::Everything);
        }
        if text.contains('*') {
            return Err(RegistryScopeError::Wildcard);
        }
        let (domain, path) = text.split_once('/').ok_or(RegistryScopeError::NoRepository)?;
        if !is_domain(domain) {
            return Err(RegistryScopeError::Domain);
        }
        if !path.split('/').all(is_path_component) {
            return Err(RegistryScopeError::Repository);
        }
        if !reads_as_host(domain) {
            return Ok(Self::Unreachable(text.to_owned()));
        }
        text.parse().map(Self::Repository).map_err(|_| RegistryScopeError::Repository)
    }
}

impl fmt::Display for RegistryScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Repository(repository) => repository.fmt(f),
            Self::Unreachable(text) => f.write_str(text),
        }
    }
}

/// The scopes of `statement`: at least one, each once, and `*` alone.
pub(super) fn validate(
    texts: &[String],
    statement: &str,
) -> Result<Vec<RegistryScope>, NotationPolicyError> {
    let statement = || statement.to_owned();
    if texts.is_empty() {
        return Err(NotationPolicyError::NoScopes { statement: statement() });
    }
    if texts.len() > 1 && texts.iter().any(|text| text == "*") {
        return Err(NotationPolicyError::AnyScopeWithOthers { statement: statement() });
    }
    let mut stated = HashSet::with_capacity(texts.len());
    let mut scopes = Vec::with_capacity(texts.len());
    for text in texts {
        let scope: RegistryScope = text.parse().map_err(|source| NotationPolicyError::Scope {
            statement: statement(),
            scope: text.clone(),
            source,
        })?;
        if !stated.insert(scope.clone()) {
            let scope = scope.to_string();
            return Err(NotationPolicyError::DuplicateScope { statement: statement(), scope });
        }
        scopes.push(scope);
    }
    Ok(scopes)
}

/// Labels of letters, digits and inner dashes, joined by dots, and perhaps a port.
fn is_domain(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_path_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.chunk_by(|a, b| is_word(a) == is_word(b)).all(|run| {
            run.iter().all(is_word)
                || matches!(run, b"." | b"_" | b"__")
                || run.iter().all(|byte| *byte == b'-')
        })
}
