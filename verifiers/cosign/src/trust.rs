//! Whom a policy trusts: its document with every key parsed.
//!
//! Keys are read when the policy is loaded, all of them, so that a key of a kind that is not
//! accepted is an error of the policy's today and not of an image's some night. Only those that the
//! policy leaves to KMS are asked for when an image needs them ([`Trust::resolve`]).

use std::fmt;

use civ_oci::{ImageId, Repository};
use civ_policy::cosign::{Key, Policy, Statement, Validity};
use civ_policy::{KeySource, KmsCache, NoStatement, PolicyError};

use crate::transparency::{Transparency, TransparencyPolicyError};
use crate::{KeyError, PublicKey};

/// A cosign trust policy whose keys can be used.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    document: Policy,
    /// What belongs to each statement, in the document's order.
    parsed: Vec<Parsed>,
}

/// What a statement's texts came to.
#[derive(Clone, Debug, Default)]
struct Parsed {
    /// The pinned keys.
    keys: Vec<TrustedKey>,
    transparency: Transparency,
}

/// A key of a statement.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    /// Its name in the policy.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// When its signatures count.
    pub validity: Validity,
}

/// What a statement asks, and the keys that may answer.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'policy> {
    /// The statement.
    pub statement: &'policy Statement,
    /// Its keys: distinct, and none at level `skip`. Until [`Trust::resolve`], those that are pinned.
    pub keys: &'policy [TrustedKey],
    /// What each signature must bear beside.
    pub transparency: &'policy Transparency,
}

/// What a statement asks, and all of the keys that may answer, as far as they can be had.
#[derive(Debug)]
pub struct ResolvedTrust<'policy, E> {
    statement: &'policy Statement,
    keys: Vec<TrustedKey>,
    transparency: &'policy Transparency,
    /// The keys that cannot be had. A signature of theirs does not count, those of the others do.
    pub unresolved: Vec<UnresolvedKey<E>>,
}

impl<E> ResolvedTrust<'_, E> {
    /// With the keys there are.
    pub fn trust(&self) -> Trust<'_> {
        let Self { statement, keys, transparency, .. } = self;
        Trust { statement, keys, transparency }
    }

    /// The key that cannot be had, if there are too few without it to meet the threshold, whoever has
    /// signed.
    pub fn too_few(&self) -> Option<&UnresolvedKey<E>> {
        self.unresolved.first().filter(|_| self.keys.len() < self.statement.threshold)
    }
}

impl<'policy> Trust<'policy> {
    /// The repository that holds the signatures of `image`.
    pub fn signature_repository<'a>(&self, image: &'a ImageId) -> &'a Repository
    where
        'policy: 'a,
    {
        self.statement.signature_repository.as_ref().unwrap_or(&image.repository)
    }

    /// Asks `source` for the keys that the policy leaves to KMS. Pinned ones are not asked for.
    ///
    /// What turns out to be a key that the statement has already counts once, under its first name: an
    /// alias may be moved to a pinned key, in a rotation as planned.
    ///
    /// # Errors
    /// [`TrustPolicyError::SameKey`]: counted once, there are too few keys for the threshold.
    pub fn resolve<S: KeySource>(
        &self,
        source: &S,
    ) -> Result<ResolvedTrust<'policy, S::Error>, TrustPolicyError> {
        let statement = self.statement;
        let (mut keys, mut unresolved, mut twin) = (self.keys.to_vec(), Vec::new(), None);
        for key in &statement.keys {
            let (Some(kms), None) = (&key.kms, &key.public_key) else { continue };
            let found = source
                .public_key(kms)
                .map_err(KeyProblem::Source)
                .and_then(|spki| PublicKey::from_spki_der(&spki).map_err(KeyProblem::Key));
            match found {
                Ok(public_key) => {
                    if let Err(error) = push_key(&mut keys, statement, key, public_key) {
                        twin.get_or_insert(error);
                    }
                }
                Err(problem) => unresolved.push(UnresolvedKey { name: key.name.clone(), problem }),
            }
        }
        match twin {
            Some(error) if unresolved.is_empty() && keys.len() < statement.threshold => Err(error),
            _ => Ok(ResolvedTrust { statement, keys, transparency: self.transparency, unresolved }),
        }
    }
}

impl TrustPolicy {
    /// Parses a document, and all keys and certificates in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustPolicyError> {
        let document = Policy::parse(bytes)?;
        let parsed = document.statements().iter().map(Parsed::of).collect::<Result<_, _>>()?;
        Ok(Self { document, parsed })
    }

    /// The document, whose keys are texts.
    pub fn document(&self) -> &Policy {
        &self.document
    }

    /// How long what KMS says of a key that is not pinned is used.
    pub fn kms_cache(&self) -> KmsCache {
        self.document.kms_cache()
    }

    /// What is asked of `image`, by the statement that describes its repository most closely.
    pub fn trust_for(&self, image: &ImageId) -> Result<Trust<'_>, NoStatement> {
        let statements = self.document.statements();
        let index = statements.index_of(&image.repository);
        // There is a parsed one for each statement.
        let found = index.and_then(|index| statements.get(index).zip(self.parsed.get(index)));
        let (statement, Parsed { keys, transparency }) =
            found.ok_or_else(|| NoStatement { repository: image.repository.clone() })?;
        Ok(Trust { statement, keys, transparency })
    }
}

impl Parsed {
    fn of(statement: &Statement) -> Result<Self, TrustPolicyError> {
        let transparency = Transparency::new(&statement.requirements).map_err(|source| {
            TrustPolicyError::Transparency { statement: statement.name.clone(), source }
        })?;
        Ok(Self { keys: parse_keys(statement)?, transparency })
    }
}

fn parse_keys(statement: &Statement) -> Result<Vec<TrustedKey>, TrustPolicyError> {
    let mut keys: Vec<TrustedKey> = Vec::with_capacity(statement.keys.len());
    for key in &statement.keys {
        let Some(pem) = &key.public_key else { continue };
        let public_key = PublicKey::from_pem(pem).map_err(|source| TrustPolicyError::Key {
            statement: statement.name.clone(),
            key: key.name.clone(),
            source,
        })?;
        push_key(&mut keys, statement, key, public_key)?;
    }
    Ok(keys)
}

/// Adds a key. One key under two names must not make a threshold of two.
fn push_key(
    keys: &mut Vec<TrustedKey>,
    statement: &Statement,
    Key { name, validity, .. }: &Key,
    key: PublicKey,
) -> Result<(), TrustPolicyError> {
    if let Some(twin) = keys.iter().find(|known| known.key == key) {
        return Err(TrustPolicyError::SameKey {
            statement: statement.name.clone(),
            key: name.clone(),
            twin: twin.name.clone(),
        });
    }
    keys.push(TrustedKey { name: name.clone(), key, validity: *validity });
    Ok(())
}

/// A key of a policy whose public half is not known.
#[derive(Debug)]
pub struct UnresolvedKey<E> {
    /// Its name in the policy.
    pub name: String,
    /// Why.
    pub problem: KeyProblem<E>,
}

/// Why a public key is not known.
#[derive(Debug)]
pub enum KeyProblem<E> {
    /// KMS has it, and it is of a kind that is not accepted.
    Key(KeyError),
    /// It cannot be had.
    Source(E),
}

impl<E: fmt::Display> fmt::Display for UnresolvedKey<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?} unknown: ", self.name)?;
        match &self.problem {
            KeyProblem::Key(error) => error.fmt(f),
            KeyProblem::Source(error) => error.fmt(f),
        }
    }
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustPolicyError {
    /// The document is not valid.
    #[error(transparent)]
    Document(#[from] PolicyError),
    /// A key is not accepted.
    #[error("key {key:?} of statement {statement:?}: {source}")]
    Key {
        /// The statement.
        statement: String,
        /// The key.
        key: String,
        /// Why not.
        source: KeyError,
    },
    /// Two keys of a statement are one.
    #[error("keys {twin:?} and {key:?} of statement {statement:?} are the same key")]
    SameKey {
        /// The statement.
        statement: String,
        /// The second.
        key: String,
        /// The first.
        twin: String,
    },
    /// A log's key or an authority's certificate is not accepted.
    #[error("statement {statement:?}: {source}")]
    Transparency {
        /// The statement.
        statement: String,
        /// Why not.
        source: TransparencyPolicyError,
    },
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use civ_policy::KmsKeyRef;
    use serde_json::{Value, json};

    use super::*;

    const P256: &str = include_str!("../testdata/keys/p256.pem");
    const P384: &str = include_str!("../testdata/keys/p384.pem");

    /// KMS keys by the first digit of their id; any other cannot be had.
    #[derive(Default)]
    struct Source(RefCell<Vec<String>>);

    #[derive(Debug, thiserror::Error)]
    #[error("nobody answers")]
    struct Silence;

    impl KeySource for Source {
        type Error = Silence;

        fn is_about_key(_: &Silence) -> bool {
            false
        }

        fn public_key(&self, key: &KmsKeyRef) -> Result<Vec<u8>, Silence> {
            self.0.borrow_mut().push(key.to_string());
            let (_, id) = key.key_id().split_once(":key/").unwrap();
            match id.as_bytes()[0] {
                b'1' => Ok(PublicKey::from_pem(P256).unwrap().spki_der().to_vec()),
                b'2' => Ok(PublicKey::from_pem(P384).unwrap().spki_der().to_vec()),
                b'3' => Ok(b"no key".to_vec()),
                _ => Err(Silence),
            }
        }
    }

    fn kms(digit: char) -> String {
        let id = "0000000-0000-0000-0000-000000000000";
        format!("awskms:///arn:aws:kms:eu-west-1:111111111111:key/{digit}{id}")
    }

    fn policy(keys: &Value, threshold: usize) -> TrustPolicy {
        let document = json!({ "version": "1.0", "trustPolicies": [{
            "name": "p", "registryScopes": ["*"], "signatureVerification": { "level": "strict" },
            "keys": keys, "threshold": threshold,
        }]});
        TrustPolicy::parse(document.to_string().as_bytes()).unwrap()
    }

    fn image() -> ImageId {
        "r.example/a".parse::<Repository>().unwrap().image(civ_oci::Digest::sha256(b""))
    }

    #[test]
    fn only_keys_that_are_not_pinned_are_asked_for() {
        let pinned = json!({ "name": "a", "publicKey": P256, "kms": kms('9') });
        let policy = policy(&json!([pinned, { "name": "b", "kms": kms('2') }]), 2);
        let trust = policy.trust_for(&image()).unwrap();
        let source = Source::default();
        assert_eq!((trust.keys.len(), source.0.borrow().len()), (1, 0));
        let resolved = trust.resolve(&source).unwrap();
        assert_eq!(*source.0.borrow(), [kms('2')]);
        let names: Vec<_> = resolved.trust().keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(resolved.unresolved.is_empty() && resolved.too_few().is_none());
    }

    #[test]
    fn refuses_one_key_under_two_names_also_where_kms_says_so() {
        for keys in [
            json!([{ "name": "a", "publicKey": P256 }, { "name": "b", "kms": kms('1') }]),
            json!([{ "name": "b", "kms": kms('1') }, { "name": "a", "publicKey": P256 }]),
            json!([{ "name": "a", "kms": kms('2') }, { "name": "b", "kms": kms('2') }]),
        ] {
            let policy = policy(&keys, 2);
            let error = policy.trust_for(&image()).unwrap().resolve(&Source::default());
            assert!(matches!(error.unwrap_err(), TrustPolicyError::SameKey { .. }), "{keys}");
        }
    }

    #[test]
    fn an_alias_that_was_moved_to_a_pinned_key_refuses_nothing() {
        let keys = json!([{ "name": "b", "kms": kms('1') }, { "name": "a", "publicKey": P256 }]);
        let policy = policy(&keys, 1);
        let resolved = policy.trust_for(&image()).unwrap().resolve(&Source::default()).unwrap();
        assert!(resolved.trust().keys.len() == 1 && resolved.unresolved.is_empty());
    }

    #[test]
    fn a_key_that_cannot_be_had_does_not_count_and_the_others_do() {
        for (digit, why) in [('9', "nobody answers"), ('3', "not a")] {
            let keys =
                json!([{ "name": "a", "kms": kms(digit) }, { "name": "b", "publicKey": P256 }]);
            for (threshold, too_few) in [(1, false), (2, true)] {
                let policy = policy(&keys, threshold);
                let resolved = policy.trust_for(&image()).unwrap().resolve(&Source::default());
                let resolved = resolved.unwrap();
                assert_eq!(resolved.trust().keys.len(), 1);
                let said = resolved.unresolved[0].to_string();
                assert!(said.starts_with(r#"key "a" unknown: "#) && said.contains(why), "{said}");
                assert_eq!(resolved.too_few().is_some(), too_few);
            }
        }
    }
}
