//! Whom a policy trusts: its document with every key parsed.
//!
//! Keys are read when the policy is loaded, all of them, so that a key of a kind that is not
//! accepted is an error of the policy's today and not of an image's some night.

use civ_oci::{ImageId, Repository};
use civ_policy::PolicyError;
use civ_policy::cosign::{Key, NoStatement, Policy, Statement, Validity};

use crate::{KeyError, PublicKey};

/// A cosign trust policy whose keys can be used.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    document: Policy,
    /// The keys of each statement, in the document's order.
    keys: Vec<Vec<TrustedKey>>,
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
    /// Its keys: distinct, and none at level `skip`.
    pub keys: &'policy [TrustedKey],
}

impl<'policy> Trust<'policy> {
    /// The repository that holds the signatures of `image`.
    pub fn signature_repository<'a>(&self, image: &'a ImageId) -> &'a Repository
    where
        'policy: 'a,
    {
        self.statement.signature_repository.as_ref().unwrap_or(&image.repository)
    }
}

impl TrustPolicy {
    /// Parses a document and all keys in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustPolicyError> {
        let document = Policy::parse(bytes)?;
        let keys = document.statements().iter().map(parse_keys).collect::<Result<_, _>>()?;
        Ok(Self { document, keys })
    }

    /// What is asked of `image`, by the statement that describes its repository most closely.
    pub fn trust_for(&self, image: &ImageId) -> Result<Trust<'_>, NoStatement> {
        let statement = self.document.statement_for(image)?;
        let keys = self
            .document
            .statements()
            .iter()
            .position(|candidate| std::ptr::eq(candidate, statement))
            .and_then(|index| self.keys.get(index))
            .map_or(&[][..], Vec::as_slice);
        Ok(Trust { statement, keys })
    }
}

fn parse_keys(statement: &Statement) -> Result<Vec<TrustedKey>, TrustPolicyError> {
    let mut keys: Vec<TrustedKey> = Vec::with_capacity(statement.keys.len());
    for Key { name, public_key, validity, .. } in &statement.keys {
        let Some(pem) = public_key else {
            return Err(TrustPolicyError::Unpinned {
                statement: statement.name.clone(),
                key: name.clone(),
            });
        };
        let key = PublicKey::from_pem(pem).map_err(|source| TrustPolicyError::Key {
            statement: statement.name.clone(),
            key: name.clone(),
            source,
        })?;
        // One key under two names must not make a threshold of two.
        if let Some(twin) = keys.iter().find(|known| known.key == key) {
            return Err(TrustPolicyError::SameKey {
                statement: statement.name.clone(),
                key: name.clone(),
                twin: twin.name.clone(),
            });
        }
        keys.push(TrustedKey { name: name.clone(), key, validity: *validity });
    }
    Ok(keys)
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
    /// A key without a public key.
    #[error(
        "key {key:?} of statement {statement:?} has no \"publicKey\"; civ public-key --key awskms:///… prints it"
    )]
    Unpinned {
        /// The statement.
        statement: String,
        /// The key.
        key: String,
    },
}
