//! Which repositories a statement is for.
//!
//! A scope is an exact repository, a pattern whose wildcards stand for whole parts of a name, or `*`
//! for everything. Wildcards never match within a part, so `registry/team-*` cannot be written and
//! `registry/team` never covers `registry/team-evil`.
//!
//! | pattern | matches |
//! |---|---|
//! | `registry.example/team/app` | that repository |
//! | `registry.example/team/*` | one more path component |
//! | `registry.example/**` | one or more path components |
//! | `*.dkr.ecr.us-east-1.amazonaws.com/**` | any one DNS label |
//! | `*` | every repository |

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use civ_oci::reference::{DOCKER_HUB, OFFICIAL, reads_as_host, split_host};
use civ_oci::{ReferenceError, Repository};

mod relation;

/// One entry of a statement's `registryScopes`, normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope(Pattern);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Pattern {
    Everything,
    Names { host: Vec<Part>, path: Vec<Part> },
}

/// A DNS label or a path component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// Exactly this.
    Literal(String),
    /// `*`: any one.
    One,
    /// `**`: this one and all that follow.
    Rest,
}

impl Scope {
    /// Does this scope speak of `repository`?
    pub fn matches(&self, repository: &Repository) -> bool {
        match &self.0 {
            Pattern::Everything => true,
            Pattern::Names { host, path } => {
                parts_match(host, repository.host().split('.'))
                    && parts_match(path, repository.path().split('/'))
            }
        }
    }

    /// Orders scopes by how closely they describe a repository that both match: a literal part is
    /// closer than `*`, which is closer than `**`; the host's right-most labels are compared first,
    /// then the path from left to right.
    pub(crate) fn compare_specificity(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Pattern::Everything, Pattern::Everything) => Ordering::Equal,
            (Pattern::Everything, _) => Ordering::Less,
            (_, Pattern::Everything) => Ordering::Greater,
            (
                Pattern::Names { host: a_host, path: a_path },
                Pattern::Names { host: b_host, path: b_path },
            ) => {
                let rank = |part: &Part| match part {
                    Part::Literal(_) => 2,
                    Part::One => 1,
                    Part::Rest => 0,
                };
                let host = a_host.iter().rev().map(rank).cmp(b_host.iter().rev().map(rank));
                host.then_with(|| a_path.iter().map(rank).cmp(b_path.iter().map(rank)))
            }
        }
    }
}

fn parts_match<'a>(pattern: &[Part], mut name: impl Iterator<Item = &'a str>) -> bool {
    for part in pattern {
        let matches = match (part, name.next()) {
            (_, None) => false,
            (Part::Rest, Some(_)) => return true,
            (Part::One, Some(_)) => true,
            (Part::Literal(literal), Some(actual)) => literal == actual,
        };
        if !matches {
            return false;
        }
    }
    name.next().is_none()
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text == "*" {
            return Ok(Self(Pattern::Everything));
        }
        if text.starts_with("*/") || text.starts_with("**") {
            return Err(ScopeError::AnyHost);
        }
        if !text.contains('/') && reads_as_host(text) {
            return Err(ScopeError::OnlyRegistry { registry: text.to_owned() });
        }
        // A name in which each wildcard is a plain character obeys the grammar if the pattern does.
        text.replace('*', "0").parse::<Repository>()?;

        let (host, path) = split_host(text);
        // Without wildcards the host is normalised like any other; with them it names no Docker Hub,
        // no loopback and no IPv6 address.
        let host = format!("{host}/a").parse::<Repository>().map_or_else(
            |_| {
                let host = host.to_ascii_lowercase();
                let bare = host.strip_suffix(":443").filter(|bare| reads_as_host(bare));
                bare.map(str::to_owned).unwrap_or(host)
            },
            |repository| repository.host().to_owned(),
        );
        let host_parts = parse_parts(&host, '.')?;
        let mut path_parts = parse_parts(path, '/')?;
        if host_parts.contains(&Part::Rest) {
            return Err(ScopeError::RestInside);
        }
        if path_parts.iter().rev().skip(1).any(|part| *part == Part::Rest) {
            return Err(ScopeError::RestInside);
        }
        if host == DOCKER_HUB && path_parts.len() == 1 && path_parts != [Part::Rest] {
            path_parts.insert(0, Part::Literal(OFFICIAL.to_owned()));
        }
        Ok(Self(Pattern::Names { host: host_parts, path: path_parts }))
    }
}

fn parse_parts(text: &str, separator: char) -> Result<Vec<Part>, ScopeError> {
    text.split(separator)
        .map(|part| match part {
            "*" => Ok(Part::One),
            "**" => Ok(Part::Rest),
            _ if part.contains('*') => Err(ScopeError::PartialWildcard),
            _ => Ok(Part::Literal(part.to_owned())),
        })
        .collect()
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |parts: &[Part], separator: &str| {
            let parts: Vec<&str> = parts
                .iter()
                .map(|part| match part {
                    Part::Literal(literal) => literal.as_str(),
                    Part::One => "*",
                    Part::Rest => "**",
                })
                .collect();
            parts.join(separator)
        };
        match &self.0 {
            Pattern::Everything => f.write_str("*"),
            Pattern::Names { host, path } => {
                write!(f, "{}/{}", join(host, "."), join(path, "/"))
            }
        }
    }
}

/// Why a text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// `*/…` or `**`: a wildcard for the whole registry.
    #[error("a wildcard for every registry is written \"*\" and stands alone")]
    AnyHost,
    /// A registry without a path.
    #[error("{registry:?} is a registry; write \"{registry}/**\" for all that is in it")]
    OnlyRegistry {
        /// What was written.
        registry: String,
    },
    /// A `*` within a DNS label or path component.
    #[error("a wildcard stands for a whole path component or DNS label, never for a part of one")]
    PartialWildcard,
    /// Without its wildcards it would not be a repository's name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// `**` anywhere but at the end.
    #[error("\"**\" stands only at the end of a path")]
    RestInside,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(scope: &str, repository: &str) -> bool {
        scope.parse::<Scope>().unwrap().matches(&repository.parse().unwrap())
    }

    #[test]
    fn matches_whole_parts_only() {
        for (scope, repository, expected) in [
            ("r.io/a", "r.io/a", true),
            ("r.io/a", "r.io/ab", false),
            ("r.io/a", "r.io/a/b", false),
            ("r.io/a", "r.io:5000/a", false),
            ("R.IO/a", "r.io/a", true),
            ("r.io/a/*", "r.io/a/b", true),
            ("r.io/a/*", "r.io/a", false),
            ("r.io/a/*", "r.io/a/b/c", false),
            ("r.io/*/c", "r.io/a/c", true),
            ("r.io/**", "r.io/a/b/c", true),
            ("r.io/a/**", "r.io/a", false),
            ("r.io/a/**", "r.io/a/b", true),
            ("r.io/a/**", "r.io/ab/c", false),
            ("*.r.io/**", "x.r.io/a", true),
            ("*.r.io/**", "r.io/a", false),
            ("*.r.io/**", "x.y.r.io/a", false),
            ("*.r.io/**", "x.r.io.evil.com/a", false),
            ("1.dkr.ecr.*.amazonaws.com/**", "1.dkr.ecr.eu-west-1.amazonaws.com/p/a", true),
            ("1.dkr.ecr.*.amazonaws.com/**", "2.dkr.ecr.eu-west-1.amazonaws.com/p/a", false),
            ("*", "anything/at-all", true),
            ("busybox", "docker.io/library/busybox", true),
            ("docker.io/*", "busybox", true),
            ("docker.io/*", "team/app", false),
            ("docker.io/**", "team/app", true),
            ("index.docker.io/library/*", "busybox", true),
            ("team/*", "docker.io/team/app", true),
            ("127.0.0.1:5000/**", "127.0.0.1:5000/a", true),
            ("[::1]:5000/**", "[::1]:5000/a", true),
            ("[::1]:5000/**", "[0:0::1]:5000/a", true),
            ("ghcr.io/**", "ghcr.io:443/a", true),
            ("ghcr.io:443/**", "ghcr.io/a", true),
            ("*.r.io:443/**", "x.r.io/a", true),
            ("registry:443/**", "registry:443/a", true),
            ("registry:443/**", "docker.io/registry/a", false),
            ("registry:443/**", "registry:5000/a", false),
            ("*.r.io:5000/**", "x.r.io:5000/a", true),
            ("docker.io/**", "registry-1.docker.io/library/busybox", true),
        ] {
            assert_eq!(matches(scope, repository), expected, "{scope} {repository}");
        }
    }

    #[test]
    fn refuses_scopes_that_would_not_mean_what_they_say() {
        for (text, why) in [
            ("**", ScopeError::AnyHost),
            ("*/app", ScopeError::AnyHost),
            ("**/app", ScopeError::AnyHost),
            ("ghcr.io", ScopeError::OnlyRegistry { registry: "ghcr.io".to_owned() }),
            ("localhost", ScopeError::OnlyRegistry { registry: "localhost".to_owned() }),
            ("r:5000", ScopeError::OnlyRegistry { registry: "r:5000".to_owned() }),
            ("r.io/team-*", ScopeError::PartialWildcard),
            ("r*.io/a", ScopeError::PartialWildcard),
            ("*:443/a", ScopeError::PartialWildcard),
            ("*:5000/a", ScopeError::PartialWildcard),
            ("*.r.io:*/a", ScopeError::Reference(ReferenceError::BadPort)),
            ("r.io/**/a", ScopeError::RestInside),
            ("**.r.io/a", ScopeError::AnyHost),
            ("x.**.r.io/a", ScopeError::RestInside),
            ("r.io/***", ScopeError::PartialWildcard),
            ("", ScopeError::Reference(ReferenceError::EmptyPath)),
            ("r.io/", ScopeError::Reference(ReferenceError::EmptyPath)),
            ("r.io/a:tag", ScopeError::Reference(ReferenceError::BadPath)),
            ("https://r.io/a", ScopeError::Reference(ReferenceError::Scheme)),
        ] {
            assert_eq!(text.parse::<Scope>().unwrap_err(), why, "{text}");
        }
    }

    /// Else it would be left to chance which statement is for a repository.
    #[test]
    fn no_two_scopes_describe_a_repository_equally_closely() {
        let hosts = ["x.r", "*.r", "x.*", "*.*"];
        let paths = ["a/b", "a/*", "a/**", "*/b", "*/*", "*/**", "**"];
        let scopes = hosts.iter().flat_map(|host| paths.map(|path| format!("{host}/{path}")));
        let scopes: Vec<Scope> = scopes.map(|scope| scope.parse().unwrap()).collect();
        let repository: Repository = "x.r/a/b".parse().unwrap();
        for (index, a) in scopes.iter().enumerate() {
            assert!(a.matches(&repository), "{a}");
            for b in &scopes[..index] {
                assert_ne!(a.compare_specificity(b), Ordering::Equal, "{a} {b}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_displayed_scope_parses_to_itself(text in "[a-c*./:\\[\\]A]{0,16}|\\PC{0,20}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse(), Ok(scope));
            }
        }

        #[test]
        fn a_scope_without_wildcards_matches_its_repository_alone(
            name in "[a-c]{1,3}\\.io(/[a-c]{1,2}){1,3}",
            other in "[a-c]{1,3}\\.io(/[a-c]{1,2}){1,3}",
        ) {
            let scope: Scope = name.parse().unwrap();
            prop_assert!(scope.matches(&name.parse().unwrap()));
            prop_assert_eq!(scope.matches(&other.parse().unwrap()), name == other);
        }
    }
}
