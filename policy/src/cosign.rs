//! The document of `cosign-image-verifier`: whose signatures a repository's images need.
//!
//! The shape is the Notary Project's trust policy; `signedIdentity` is that of
//! containers-policy.json(5). See the README for an example.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use civ_oci::reference::{is_loopback, reads_as_host};
use civ_oci::{ImageId, ReferenceError, Repository, strict_json};
use serde::{Deserialize, Deserializer};

use crate::error::check_version;
use crate::kms_cache::UntrustedKmsCache;
pub use crate::scope::NoStatement;
use crate::transparency::{Requirements, TimestampAuthority, TransparencyLog};
use crate::{Exempt, KmsCache, KmsKeyRef, Level, PolicyError, ScopeTable, UtcTime};

/// A parsed and validated document. Whether its public keys are usable is for the cosign library to
/// say, which knows algorithms; this crate links no cryptography.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
    scopes: ScopeTable,
    kms_cache: KmsCache,
}

/// What is asked of the images of some repositories.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement's name, unique in its document.
    pub name: String,
    /// What a failed check leads to.
    pub level: Level,
    /// The keys that count. Empty only at level `skip`.
    pub keys: Vec<Key>,
    /// How many distinct keys must have signed: at least one, at most all.
    pub threshold: usize,
    /// Annotations that one signature must carry, all of them.
    pub annotations: BTreeMap<String, String>,
    /// Which repository a signature may name.
    pub signed_identity: SignedIdentity,
    /// Where the signatures are, if not beside the image (`COSIGN_REPOSITORY`).
    pub signature_repository: Option<Repository>,
    /// What each signature must bear beside.
    pub requirements: Requirements,
}

/// A key that may sign.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key's name, unique in its statement; operators see it in reasons.
    pub name: String,
    /// The KMS key, as far as it is named. Without a public key, it is named by an ARN.
    pub kms: Option<KmsKeyRef>,
    /// The public key in PEM, as far as it is pinned. It counts whatever `kms` says.
    pub public_key: Option<String>,
    /// When its signatures count.
    pub validity: Validity,
}

/// When a key's signatures count: for rotations that are planned. Without limits, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// Not before this moment.
    pub after: Option<UtcTime>,
    /// Only before this moment.
    pub before: Option<UtcTime>,
}

impl Validity {
    /// Does a signature count at `time`?
    pub fn contains(&self, time: UtcTime) -> bool {
        self.after.is_none_or(|after| after <= time) && self.before.is_none_or(|end| time < end)
    }
}

/// Which repository a signature may name as the image's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedIdentity {
    /// Any. For signatures copied along with images under other names.
    Any,
    /// This one.
    ExactRepository(Repository),
    /// The one pulled from, if the signature's format names one. The default.
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

impl Policy {
    /// Parses and validates a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let document: Untrusted = strict_json::from_slice(bytes)?;
        check_version(&document.version)?;
        if document.trust_policies.is_empty() {
            return Err(PolicyError::NoStatements);
        }
        let mut scopes = ScopeTable::default();
        let mut names = HashSet::with_capacity(document.trust_policies.len());
        let mut statements: Vec<Statement> = Vec::with_capacity(document.trust_policies.len());
        for untrusted in document.trust_policies {
            if !names.insert(untrusted.name.clone()) {
                return Err(PolicyError::DuplicateStatement { statement: untrusted.name });
            }
            scopes.add(statements.len(), &untrusted.name, &untrusted.registry_scopes)?;
            statements.push(untrusted.validate()?);
        }
        let kms_cache = document.kms_cache.unwrap_or_default().validate()?;
        Ok(Self { statements, scopes, kms_cache })
    }

    /// The statement whose scope describes `image`'s repository most closely.
    pub fn statement_for(&self, image: &ImageId) -> Result<&Statement, NoStatement> {
        self.scopes
            .find(&image.repository)
            .and_then(|index| self.statements.get(index))
            .ok_or_else(|| NoStatement { repository: image.repository.clone() })
    }

    /// How long what KMS says of a key that is not pinned is used.
    pub fn kms_cache(&self) -> KmsCache {
        self.kms_cache
    }

    /// All statements, in the document's order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The scopes of all statements.
    pub fn scopes(&self) -> &ScopeTable {
        &self.scopes
    }
}

impl Statement {
    /// The proof that `image` need not be checked, if this statement says so.
    pub fn exempt(&self, image: &ImageId) -> Option<Exempt> {
        (self.level == Level::Skip).then(|| Exempt::new(image, &self.name))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Untrusted {
    version: String,
    trust_policies: Vec<UntrustedStatement>,
    kms_cache: Option<UntrustedKmsCache>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntrustedStatement {
    name: String,
    registry_scopes: Vec<String>,
    signature_verification: SignatureVerification,
    keys: Option<Vec<UntrustedKey>>,
    threshold: Option<usize>,
    annotations: Option<BTreeMap<String, String>>,
    signed_identity: Option<UntrustedIdentity>,
    signature_repository: Option<String>,
    transparency_log: Option<TransparencyLog>,
    timestamp_authority: Option<TimestampAuthority>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignatureVerification {
    level: Level,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntrustedKey {
    name: String,
    kms: Option<String>,
    public_key: Option<String>,
    valid_after: Option<UtcTime>,
    valid_before: Option<UtcTime>,
}

// Variants without fields are written with braces: serde checks those for unknown fields. "remote"
// makes what it derives a function, which is given objects only.
#[derive(Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "camelCase", deny_unknown_fields)]
enum UntrustedIdentity {
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

impl UntrustedStatement {
    fn validate(self) -> Result<Statement, PolicyError> {
        let level = self.signature_verification.level;
        let asks_for_something = self.keys.is_some()
            || self.threshold.is_some()
            || self.annotations.is_some()
            || self.signed_identity.is_some()
            || self.signature_repository.is_some()
            || self.transparency_log.is_some()
            || self.timestamp_authority.is_some();
        if level == Level::Skip && asks_for_something {
            return Err(PolicyError::SkipWithChecks { statement: self.name });
        }
        let keys = validate_keys(self.keys.unwrap_or_default(), &self.name)?;
        if level != Level::Skip && keys.is_empty() {
            return Err(PolicyError::NoKeys { statement: self.name });
        }
        let threshold = self.threshold.unwrap_or(1);
        if level != Level::Skip && (threshold == 0 || threshold > keys.len()) {
            return Err(PolicyError::Threshold {
                statement: self.name,
                threshold,
                keys: keys.len(),
            });
        }
        let repository = |text: String| match text.parse::<Repository>() {
            Ok(repository) if text.contains('/') || !reads_as_host(&text) => Ok(repository),
            _ => Err(PolicyError::Identity { statement: self.name.clone(), text }),
        };
        let prefix = |text: String| match normalise_prefix(&text) {
            Ok(prefix) => Ok(prefix),
            Err(_) => Err(PolicyError::Identity { statement: self.name.clone(), text }),
        };
        let signed_identity = match self.signed_identity {
            None | Some(UntrustedIdentity::MatchRepository {}) => SignedIdentity::MatchRepository,
            Some(UntrustedIdentity::Any {}) => SignedIdentity::Any,
            Some(UntrustedIdentity::RequireRepository {}) => SignedIdentity::RequireRepository,
            Some(UntrustedIdentity::ExactRepository { docker_repository }) => {
                SignedIdentity::ExactRepository(repository(docker_repository)?)
            }
            Some(UntrustedIdentity::RemapIdentity { prefix: from, signed_prefix }) => {
                SignedIdentity::RemapIdentity {
                    prefix: prefix(from)?,
                    signed_prefix: prefix(signed_prefix)?,
                }
            }
        };
        let signature_repository = self.signature_repository.map(repository).transpose()?;
        let requirements = Requirements {
            transparency_log: self.transparency_log,
            timestamp_authority: self.timestamp_authority,
        };
        let requirements = requirements.validate(&self.name)?;
        Ok(Statement {
            level,
            keys,
            threshold,
            annotations: self.annotations.unwrap_or_default(),
            signed_identity,
            signature_repository,
            requirements,
            name: self.name,
        })
    }
}

fn validate_keys(keys: Vec<UntrustedKey>, statement: &str) -> Result<Vec<Key>, PolicyError> {
    let mut names = BTreeSet::new();
    keys.into_iter()
        .map(|key| {
            let (statement, name) = (statement.to_owned(), key.name);
            if !names.insert(name.clone()) {
                return Err(PolicyError::DuplicateKeyName { statement, key: name });
            }
            if key.kms.is_none() && key.public_key.is_none() {
                return Err(PolicyError::KeyWithoutMaterial { statement, key: name });
            }
            let kms = key.kms.map(|text| text.parse()).transpose().map_err(|source| {
                PolicyError::Kms { statement: statement.clone(), key: name.clone(), source }
            })?;
            // What an id or an alias names depends on whose credentials ask.
            let by_arn = kms.as_ref().is_none_or(|kms: &KmsKeyRef| kms.region().is_some());
            if key.public_key.is_none() && !by_arn {
                return Err(PolicyError::KmsWithoutArn { statement, key: name });
            }
            let kms_endpoint = kms.as_ref().and_then(KmsKeyRef::endpoint);
            if let Some(endpoint) = kms_endpoint.filter(|endpoint| anybody_may_answer_at(endpoint))
                && key.public_key.is_none()
            {
                let endpoint = endpoint.to_owned();
                return Err(PolicyError::KmsEndpoint { statement, key: name, endpoint });
            }
            let validity = Validity { after: key.valid_after, before: key.valid_before };
            if let (Some(after), Some(before)) = (validity.after, validity.before)
                && after >= before
            {
                return Err(PolicyError::NeverValid { statement, key: name });
            }
            Ok(Key { name, kms, public_key: key.public_key, validity })
        })
        .collect()
}

/// On loopback there is no TLS to tell who answers, and every user may listen on most ports.
fn anybody_may_answer_at(endpoint: &str) -> bool {
    match endpoint.rsplit_once(':') {
        Some((host, port)) if is_loopback(host) => !port.parse().is_ok_and(|port: u16| port < 1024),
        _ => false,
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
    use proptest::prelude::*;

    use super::*;

    fn policy(statements: &str) -> Result<Policy, PolicyError> {
        Policy::parse(format!(r#"{{"version":"1.0","trustPolicies":[{statements}]}}"#).as_bytes())
    }

    fn repository(text: &str) -> Repository {
        text.parse().unwrap()
    }

    const STRICT: &str = r#""signatureVerification":{"level":"strict"}"#;
    const KEY: &str = r#"{"name":"k","publicKey":"PEM"}"#;

    #[test]
    fn reads_all_that_a_statement_can_say() {
        let policy = policy(
            r#"{"name":"p","registryScopes":["r.io/prod/**"],
                "signatureVerification":{"level":"audit"},
                "keys":[{"name":"a","publicKey":"PEM","validBefore":"2026-12-01T00:00:00Z"},
                        {"name":"b","kms":"awskms:///arn:aws:kms:eu-west-1:111111111111:alias/b"}],
                "threshold":2,"annotations":{"e2e-tests-passed":"True"},
                "signedIdentity":{"type":"remapIdentity","prefix":"r.io/prod","signedPrefix":"o.io"},
                "signatureRepository":"s.io/signatures"},
               {"name":"rest","registryScopes":["*"],"signatureVerification":{"level":"skip"}}"#,
        )
        .unwrap();
        let image = repository("r.io/prod/a").image(civ_oci::Digest::sha256(b""));
        let statement = policy.statement_for(&image).unwrap();
        assert_eq!((statement.name.as_str(), statement.level), ("p", Level::Audit));
        assert_eq!((statement.keys.len(), statement.threshold), (2, 2));
        assert_eq!(statement.annotations["e2e-tests-passed"], "True");
        assert_eq!(statement.signature_repository, Some(repository("s.io/signatures")));
        let counts =
            |key: usize, time: &str| statement.keys[key].validity.contains(time.parse().unwrap());
        assert!(counts(0, "2026-11-30T23:59:59Z") && !counts(0, "2026-12-01T00:00:00Z"));
        assert!(counts(1, "1970-01-01T00:00:00Z") && counts(1, "9999-12-31T23:59:59Z"));
        assert!(statement.exempt(&image).is_none());

        let other = repository("r.io/other").image(civ_oci::Digest::sha256(b""));
        assert!(policy.statement_for(&other).unwrap().exempt(&other).is_some());
    }

    #[test]
    fn no_statement_is_no_permission() {
        let policy = policy(&format!(
            r#"{{"name":"p","registryScopes":["r.io/a"],{STRICT},"keys":[{KEY}]}}"#
        ))
        .unwrap();
        let image = repository("r.io/b").image(civ_oci::Digest::sha256(b""));
        assert_eq!(policy.statement_for(&image).unwrap_err().repository, image.repository);
    }

    #[test]
    fn refuses_documents_that_contradict_themselves_or_say_too_much() {
        let with = |rest: &str| format!(r#"{{"name":"p","registryScopes":["*"],{STRICT},{rest}}}"#);
        let skip = |rest: &str| {
            format!(
                r#"{{"name":"p","registryScopes":["*"],"signatureVerification":{{"level":"skip"}},{rest}}}"#
            )
        };
        for statements in [
            String::new(),
            with(r#""keys":[]"#),
            with(r#""keys":[{"name":"k"}]"#),
            with(r#""keys":[{"name":"k","kms":"alias/x"}]"#),
            with(r#""keys":[{"name":"k","kms":"awskms:///alias/x"}]"#),
            with(r#""keys":[{"name":"k","kms":"awskms:///1234abcd-12ab-34cd-56ef-1234567890ab"}]"#),
            with(
                r#""keys":[{"name":"k","kms":"awskms://localhost:4566/arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}]"#,
            ),
            with(r#""keys":[{"name":"k","publicKey":"P","algorithm":"none"}]"#),
            with(r#""keys":[{"name":"k","publicKey":"P","validAfter":"2026-11-21"}]"#),
            with(
                r#""keys":[{"name":"k","publicKey":"P","validAfter":"2026-11-21T00:00:00Z","validBefore":"2026-11-21T00:00:00Z"}]"#,
            ),
            with(&format!(r#""keys":[{KEY},{KEY}]"#)),
            with(&format!(r#""keys":[{KEY}],"threshold":0"#)),
            with(&format!(r#""keys":[{KEY}],"threshold":2"#)),
            with(&format!(r#""keys":[{KEY}],"threshold":-1"#)),
            with(&format!(r#""keys":[{KEY}],"annotations":{{"a":1}}"#)),
            with(&format!(r#""keys":[{KEY}],"annotations":{{"a":"1","a":"1"}}"#)),
            with(&format!(r#""keys":[{KEY}],"signedIdentity":{{"type":"other"}}"#)),
            with(&format!(r#""keys":[{KEY}],"signedIdentity":{{"type":"any","prefix":"x"}}"#)),
            with(&format!(
                r#""keys":[{KEY}],"signedIdentity":{{"type":"exactRepository","dockerRepository":"r.io/A"}}"#
            )),
            with(&format!(r#""keys":[{KEY}],"signatureRepository":"r.io/A""#)),
            with(&format!(r#""keys":[{KEY}],"signatureRepository":"ghcr.io""#)),
            with(&format!(r#""keys":[{KEY}],"unknown":1"#)),
            skip(&format!(r#""keys":[{KEY}]"#)),
            skip(r#""threshold":1"#),
            format!("{0},{0}", with(&format!(r#""keys":[{KEY}]"#))),
        ] {
            assert!(policy(&statements).is_err(), "{statements}");
        }
        assert!(policy(&with(&format!(r#""keys":[{KEY}]"#))).is_ok());
        let pinned = r#""keys":[{"name":"k","kms":"awskms:///alias/x","publicKey":"PEM"}]"#;
        assert!(policy(&with(pinned)).is_ok());
    }

    #[test]
    fn a_kms_key_that_is_not_pinned_is_named_by_its_arn() {
        let key = r#""keys":[{"name":"k","kms":"awskms:///alias/x"}]"#;
        let error = policy(&format!(r#"{{"name":"p","registryScopes":["*"],{STRICT},{key}}}"#));
        let error = error.unwrap_err().to_string();
        for words in ["\"k\" of statement \"p\"", "ARN", "civ policy pin"] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn says_how_long_an_answer_of_kms_is_used() {
        let policy = |cache: &str| {
            let statement =
                format!(r#"{{"name":"p","registryScopes":["*"],{STRICT},"keys":[{KEY}]}}"#);
            let document = format!(r#"{{"version":"1.0","trustPolicies":[{statement}]{cache}}}"#);
            Policy::parse(document.as_bytes()).map(|policy| policy.kms_cache())
        };
        assert_eq!(policy("").unwrap(), KmsCache::default());
        let cache = policy(r#","kmsCache":{"maxAge":"90m","useStale":true}"#).unwrap();
        assert_eq!((cache.max_age.as_secs(), cache.use_stale), (90 * 60, true));
        for wrong in [
            r#","kmsCache":{"maxAge":"90m","useStale":"yes"}"#,
            r#","kmsCache":{"maxAge":"90m","more":1}"#,
            r#","kmsCache":{"maxAge":90}"#,
            r#","kmsCache":{"maxAge":"8d"}"#,
        ] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
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

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Policy::parse(&bytes);
            let _ = crate::digestion::Policy::parse(&bytes);
        }
    }
}
