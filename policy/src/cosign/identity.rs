//! Which repository a signature may say that it was made for, as `signedIdentity` of
//! containers-policy.json(5) has it.

use civ_oci::reference::reads_as_host;
use civ_oci::{ReferenceError, Repository, strict_json};
use serde::{Deserialize, Deserializer};

use crate::PolicyError;

/// Which repository a signature may name as the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SignedIdentity {
    /// Any. For signatures copied along with images under other names.
    Any,
    /// This one.
    ExactRepository(Repository),
    /// The one pulled from, if the signature's format names one. The default.
    #[default]
    MatchRepository,
    /// The one pulled from, with `prefix` replaced by `signed_prefix`: for mirrors.
    RemapIdentity {
        /// A registry, or a registry and leading path components, of the image pulled.
        prefix: String,
        /// What stood there when the image was signed.
        signed_prefix: String,
    },
    /// The one pulled from, and the signature must name it.
    RequireRepository,
}

impl SignedIdentity {
    /// Must a signature name a repository at all? cosign's bundles name none.
    pub fn needs_repository(&self) -> bool {
        matches!(self, Self::ExactRepository(_) | Self::RequireRepository)
    }

    /// May a signature on an image of `pulled` name `signed`?
    pub fn permits(&self, pulled: &Repository, signed: &Repository) -> bool {
        match self {
            Self::Any => true,
            Self::ExactRepository(exact) => signed == exact,
            Self::MatchRepository | Self::RequireRepository => signed == pulled,
            Self::RemapIdentity { prefix, signed_prefix } => {
                match strip_prefix(&pulled.to_string(), prefix) {
                    Some(rest) => format!("{signed_prefix}{rest}")
                        .parse()
                        .is_ok_and(|name: Repository| name == *signed),
                    None => signed == pulled,
                }
            }
        }
    }
}

/// What follows `prefix` in `name`, if `prefix` is a whole number of its components.
fn strip_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

// Variants without fields are written with braces: serde checks those for unknown fields. "remote"
// makes what it derives a function, which is given objects only.
#[derive(Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "camelCase", deny_unknown_fields)]
#[serde(expecting = "an object with a \"type\"")]
pub(super) enum UntrustedIdentity {
    Any {},
    #[serde(rename_all = "camelCase")]
    ExactRepository {
        docker_repository: String,
    },
    MatchRepository {},
    #[serde(rename_all = "camelCase")]
    RemapIdentity {
        prefix: String,
        signed_prefix: String,
    },
    RequireRepository {},
}

impl<'de> Deserialize<'de> for UntrustedIdentity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(strict_json::Object(deserializer))
    }
}

impl UntrustedIdentity {
    /// What it means in the statement called `statement`.
    pub(super) fn validate(self, statement: &str) -> Result<SignedIdentity, PolicyError> {
        let prefix = |text: String| {
            normalise_prefix(&text)
                .map_err(|_| PolicyError::Identity { statement: statement.to_owned(), text })
        };
        Ok(match self {
            Self::Any {} => SignedIdentity::Any,
            Self::ExactRepository { docker_repository } => {
                SignedIdentity::ExactRepository(repository(docker_repository, statement)?)
            }
            Self::MatchRepository {} => SignedIdentity::MatchRepository,
            Self::RemapIdentity { prefix: from, signed_prefix } => SignedIdentity::RemapIdentity {
                prefix: prefix(from)?,
                signed_prefix: prefix(signed_prefix)?,
            },
            Self::RequireRepository {} => SignedIdentity::RequireRepository,
        })
    }
}

/// A repository that the statement called `statement` names. A registry alone is none, though a
/// lone word would be one on Docker Hub.
pub(super) fn repository(text: String, statement: &str) -> Result<Repository, PolicyError> {
    match text.parse::<Repository>() {
        Ok(repository) if text.contains('/') || !reads_as_host(&text) => Ok(repository),
        _ => Err(PolicyError::Identity { statement: statement.to_owned(), text }),
    }
}

/// A registry, or a registry and leading path components, as `Repository` would normalise it.
fn normalise_prefix(text: &str) -> Result<String, ReferenceError> {
    // Normalised as part of some repository below it; on Docker Hub, one outside of `library`.
    let below = if text.contains('/') { "/a" } else { "/a/a" };
    let repository: Repository = format!("{text}{below}").parse()?;
    let name = repository.to_string();
    name.strip_suffix(below).map(str::to_owned).ok_or(ReferenceError::BadHost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        text.parse().unwrap()
    }

    #[test]
    fn identities_permit_what_they_say() {
        let remap = SignedIdentity::RemapIdentity {
            prefix: normalise_prefix("Mirror.io").unwrap(),
            signed_prefix: normalise_prefix("docker.io").unwrap(),
        };
        let nested = SignedIdentity::RemapIdentity {
            prefix: "r.io/cache".to_owned(),
            signed_prefix: "o.io".to_owned(),
        };
        let hub = SignedIdentity::RemapIdentity {
            prefix: normalise_prefix("r.io/cache").unwrap(),
            signed_prefix: normalise_prefix("docker.io/bitnami").unwrap(),
        };
        let exact = SignedIdentity::ExactRepository(repository("o.io/a"));
        for (identity, pulled, signed, permitted) in [
            (&SignedIdentity::MatchRepository, "r.io/a", "r.io/a", true),
            (&SignedIdentity::MatchRepository, "r.io/a", "r.io/b", false),
            (&SignedIdentity::RequireRepository, "r.io/a", "o.io/a", false),
            (&SignedIdentity::Any, "r.io/a", "o.io/b", true),
            (&exact, "r.io/a", "o.io/a", true),
            (&exact, "r.io/a", "r.io/a", false),
            (&remap, "mirror.io/library/busybox", "busybox", true),
            (&remap, "mirror.io/busybox", "busybox", true),
            (&remap, "mirror.io/library/busybox", "mirror.io/library/busybox", false),
            (&hub, "r.io/cache/nginx", "index.docker.io/bitnami/nginx", true),
            (&nested, "r.io/cache/a", "o.io/a", true),
            (&nested, "r.io/cache-evil/a", "o.io/a", false),
            (&nested, "r.io/cache-evil/a", "r.io/cache-evil/a", true),
        ] {
            assert_eq!(
                identity.permits(&repository(pulled), &repository(signed)),
                permitted,
                "{identity:?} {pulled} {signed}"
            );
        }
    }
}
