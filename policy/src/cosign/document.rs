//! The document as it is written, and what makes it valid.

use std::collections::{BTreeMap, BTreeSet};

use civ_oci::reference::is_loopback;
use civ_oci::strict_json::not_null;
use serde::Deserialize;

use super::identity::{UntrustedIdentity, repository};
use super::{Key, Statement, Validity};
use crate::kms_cache::UntrustedKmsCache;
use crate::transparency::{Requirements, TimestampAuthority, TransparencyLog};
use crate::{KmsKeyRef, Level, PolicyError, UtcTime, statements};

/// The document as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Untrusted {
    pub(super) version: String,
    pub(super) trust_policies: Vec<UntrustedStatement>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) kms_cache: Option<UntrustedKmsCache>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UntrustedStatement {
    name: String,
    registry_scopes: Vec<String>,
    signature_verification: SignatureVerification,
    #[serde(default, deserialize_with = "not_null")]
    keys: Option<Vec<UntrustedKey>>,
    #[serde(default, deserialize_with = "not_null")]
    threshold: Option<usize>,
    #[serde(default, deserialize_with = "not_null")]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "not_null")]
    signed_identity: Option<UntrustedIdentity>,
    #[serde(default, deserialize_with = "not_null")]
    signature_repository: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    transparency_log: Option<TransparencyLog>,
    #[serde(default, deserialize_with = "not_null")]
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
    #[serde(default, deserialize_with = "not_null")]
    kms: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    public_key: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    valid_after: Option<UtcTime>,
    #[serde(default, deserialize_with = "not_null")]
    valid_before: Option<UtcTime>,
}

impl statements::UntrustedStatement for UntrustedStatement {
    type Valid = Statement;

    fn name(&self) -> &str {
        &self.name
    }

    fn registry_scopes(&self) -> &[String] {
        &self.registry_scopes
    }

    fn validate(self) -> Result<Statement, PolicyError> {
        let level = self.signature_verification.level;
        if level == Level::Skip && self.asks_for_something() {
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
        let signed_identity = self.signed_identity.map(|identity| identity.validate(&self.name));
        let repository = self.signature_repository.map(|text| repository(text, &self.name));
        let requirements = Requirements {
            transparency_log: self.transparency_log,
            timestamp_authority: self.timestamp_authority,
        };
        Ok(Statement {
            level,
            keys,
            threshold,
            annotations: self.annotations.unwrap_or_default(),
            signed_identity: signed_identity.transpose()?.unwrap_or_default(),
            signature_repository: repository.transpose()?,
            requirements: requirements.validate(&self.name)?,
            name: self.name,
        })
    }
}

impl UntrustedStatement {
    fn asks_for_something(&self) -> bool {
        self.keys.is_some()
            || self.threshold.is_some()
            || self.annotations.is_some()
            || self.signed_identity.is_some()
            || self.signature_repository.is_some()
            || self.transparency_log.is_some()
            || self.timestamp_authority.is_some()
    }
}

fn validate_keys(keys: Vec<UntrustedKey>, statement: &str) -> Result<Vec<Key>, PolicyError> {
    let mut names = BTreeSet::new();
    keys.into_iter()
        .enumerate()
        .map(|(index, key)| {
            let (statement, name) = (statement.to_owned(), key.name);
            if !statements::is_name(&name) {
                let length = name.len();
                return Err(PolicyError::KeyName { statement, index, length });
            }
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
