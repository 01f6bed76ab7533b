//! Logs that a policy trusts: did one of them record this entry?
//!
//! Two things show it. A *promise* (Rekor v1's signed entry timestamp) is the log's signature over
//! the entry, its place and its time. An *inclusion proof* leads from the entry to the root of a
//! checkpoint that the log has signed; it says nothing of time. Where both are there both must hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use spki::der::Decode as _;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::checkpoint::UntrustedCheckpoint;
use super::entry::{check_body, hex};
use super::error::{EntryError, TransparencyError, TransparencyPolicyError};
use super::merkle::{self, Hash};
use super::proofs::{InclusionProof, Origin, UntrustedEntry, UntrustedProofs};
use super::{Signed, SigningTime, TimeSource};
use crate::{KeyError, PublicKey};

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// The signature type of Ed25519 in a key's id (C2SP signed-note).
const ED25519_TYPE: u8 = 1;

/// The logs of one statement. An entry in any of them will do.
#[derive(Clone, Debug)]
pub(super) struct Logs(Vec<Log>);

/// A log, which is its key.
#[derive(Clone, Debug)]
struct Log {
    key: LogKey,
    /// The SHA-256 hash of the key's `SubjectPublicKeyInfo`.
    key_hash: Hash,
}

#[derive(Clone, Debug, PartialEq)]
enum LogKey {
    Ecdsa(PublicKey),
    Ed25519(Vec<u8>),
}

impl Logs {
    pub(super) fn parse(public_keys: &[String]) -> Result<Self, TransparencyPolicyError> {
        let mut logs: Vec<Log> = Vec::with_capacity(public_keys.len());
        for (index, pem) in public_keys.iter().enumerate() {
            let log = Log::parse(pem, index + 1)?;
            if let Some(twin) = logs.iter().position(|known| known.key == log.key) {
                let (number, twin) = (index + 1, twin + 1);
                return Err(TransparencyPolicyError::SameLogKey { number, twin });
            }
            logs.push(log);
        }
        Ok(Self(logs))
    }

    /// Is `signed` in one of the logs? If so, when was it recorded, as far as the log says?
    pub(super) fn check(
        &self,
        proofs: &UntrustedProofs,
        signed: &Signed<'_>,
    ) -> Result<Option<SigningTime>, TransparencyError> {
        let entries = proofs.entries()?;
        let mut closest = None;
        let mut logged = false;
        for entry in entries {
            let checked = match &entry {
                Some(entry) => self.check_entry(entry, signed),
                None => Err(EntryError::Malformed),
            };
            match checked {
                Ok(Some(time)) => return Ok(Some(time)),
                // It counts; another may tell the time as well.
                Ok(None) => logged = true,
                Err(error) => closest = closest.max(Some(error)),
            }
        }
        match closest {
            _ if logged => Ok(None),
            Some(closest) => Err(TransparencyError::NotLogged { closest }),
            None => Err(TransparencyError::NoEntry),
        }
    }

    #[cfg(test)]
    pub(super) fn ids(&self, origin: &str) -> Vec<Hash> {
        self.0.iter().map(|log| log.id(origin)).collect()
    }

    fn check_entry(
        &self,
        entry: &UntrustedEntry,
        signed: &Signed<'_>,
    ) -> Result<Option<SigningTime>, EntryError> {
        // First what costs least: entries about other signatures need no further look.
        check_body(&entry.body, entry.kind.as_ref(), signed)?;
        self.check_recorded(entry)
    }

    /// Did a log record the entry, whatever it says?
    pub(super) fn check_recorded(
        &self,
        entry: &UntrustedEntry,
    ) -> Result<Option<SigningTime>, EntryError> {
        match entry.origin {
            Origin::Bundle if entry.proof.is_none() => return Err(EntryError::NoProof),
            Origin::Annotation if entry.promise.is_none() => return Err(EntryError::NoPromise),
            Origin::Bundle | Origin::Annotation => {}
        }
        let proof = match &entry.proof {
            Some(proof) => Some((proof, UntrustedCheckpoint::parse(&proof.checkpoint)?)),
            None => None,
        };
        let origin = proof.as_ref().map_or("", |(_, checkpoint)| checkpoint.origin);
        let log = self
            .0
            .iter()
            .find(|log| log.id(origin) == entry.log_id)
            .ok_or_else(|| EntryError::OtherLog { id: STANDARD.encode(entry.log_id) })?;
        if let Some((proof, checkpoint)) = &proof {
            log.check_inclusion(&entry.body, proof, checkpoint)?;
        }
        let Some(promise) = &entry.promise else {
            return Ok(None);
        };
        log.check_promise(entry, promise)?;
        Ok(Some(SigningTime {
            unix_seconds: entry.integrated_time,
            source: TimeSource::TransparencyLog,
        }))
    }
}

impl Log {
    fn parse(pem: &str, number: usize) -> Result<Self, TransparencyPolicyError> {
        let refuse = |source| TransparencyPolicyError::LogKey { number, source };
        let der = pem_rfc7468::decode_vec(pem.trim().as_bytes())
            .map_err(|error| refuse(error.into()))
            .and_then(|(label, der)| match label {
                "PUBLIC KEY" => Ok(der),
                // Refused with the advice that a signer's key gets.
                _ => Err(refuse(match PublicKey::from_pem(pem) {
                    Ok(_) => KeyError::Malformed,
                    Err(error) => error,
                })),
            })?;
        let info =
            SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| refuse(KeyError::Malformed))?;
        // A log's key is held to what a signer's is, small-order points included.
        let key = PublicKey::from_spki_der(&der).map_err(refuse)?;
        let key = if info.algorithm.oid == ED25519_KEY {
            let point = info.subject_public_key.as_bytes();
            LogKey::Ed25519(point.ok_or_else(|| refuse(KeyError::Malformed))?.to_vec())
        } else {
            if info.algorithm.oid != EC_PUBLIC_KEY {
                let kind = key.to_string();
                return Err(TransparencyPolicyError::LogKeyKind { number, kind });
            }
            LogKey::Ecdsa(key)
        };
        Ok(Self { key, key_hash: merkle::hash(&[&der]) })
    }

    /// The log's id in entries, and the id of its key in checkpoints, of which those have the first
    /// four bytes. For ECDSA it is the hash of the key. For other keys (C2SP signed-note) the name is
    /// in it too, so that one key under two names is two logs.
    fn id(&self, origin: &str) -> Hash {
        match &self.key {
            LogKey::Ecdsa(_) => self.key_hash,
            LogKey::Ed25519(key) => merkle::hash(&[origin.as_bytes(), b"\n", &[ED25519_TYPE], key]),
        }
    }

    fn check_inclusion(
        &self,
        body: &[u8],
        proof: &InclusionProof,
        checkpoint: &UntrustedCheckpoint<'_>,
    ) -> Result<(), EntryError> {
        let verified = checkpoint
            .signature_of(&self.id(checkpoint.origin))
            .is_some_and(|signature| self.verifies(checkpoint.signed.as_bytes(), signature));
        if !verified {
            return Err(EntryError::CheckpointSignature);
        }
        if (proof.size, proof.root) != (checkpoint.size, checkpoint.root) {
            return Err(EntryError::OtherTree);
        }
        let leaf = merkle::leaf_hash(body);
        if merkle::root(leaf, proof.index, proof.size, &proof.path) == Some(checkpoint.root) {
            Ok(())
        } else {
            Err(EntryError::Inclusion)
        }
    }

    fn check_promise(&self, entry: &UntrustedEntry, promise: &[u8]) -> Result<(), EntryError> {
        // RFC 8785: keys sorted, no spaces. Nothing in it needs an escape.
        let log_id = hex(&entry.log_id);
        let signed = format!(
            r#"{{"body":"{}","integratedTime":{},"logID":"{log_id}","logIndex":{}}}"#,
            STANDARD.encode(&entry.body),
            entry.integrated_time,
            entry.log_index,
        );
        if self.verifies(signed.as_bytes(), promise) { Ok(()) } else { Err(EntryError::Promise) }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            LogKey::Ecdsa(key) => key.verify_signature(message, signature).is_ok(),
            LogKey::Ed25519(key) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
        }
    }
}
