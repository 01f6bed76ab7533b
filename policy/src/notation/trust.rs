//! Whom a statement trusts: certificates in named directories, and what they must certify.

use std::fmt;
use std::str::FromStr;

use super::error::{IdentityError, TrustStoreError};
use super::{DistinguishedName, NotationPolicyError};

const SUBJECT: &str = "x509.subject";

/// A directory of trusted certificates: `truststore/x509/<type>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustStore {
    kind: TrustStoreKind,
    name: String,
}

/// What the certificates of a trust store are trusted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustStoreKind {
    /// `ca`: to certify who signs.
    Ca,
    /// `signingAuthority`: the same, for a service that signs and vouches for the time.
    SigningAuthority,
    /// `tsa`: to certify who timestamps.
    Tsa,
}

/// Whom among those that the trust stores vouch for a statement trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedIdentities {
    /// `*`: all of them.
    Any,
    /// These: at least one.
    Listed(Vec<TrustedIdentity>),
}

/// Somebody who may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedIdentity {
    /// `x509.subject`: whose certificate's subject has all of these attributes.
    Subject(DistinguishedName),
    /// Any other: for the plugin that a signature names to make sense of, such as the ARN of a signing
    /// profile of AWS Signer's. Only its colon is checked.
    Other(String),
}

impl TrustStore {
    /// What its certificates are trusted for.
    pub fn kind(&self) -> TrustStoreKind {
        self.kind
    }

    /// Its name: a plain name of a directory, never `.` or `..`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for TrustStore {
    type Err = TrustStoreError;

    fn from_str(text: &str) -> Result<Self, TrustStoreError> {
        let (kind, name) = text.split_once(':').ok_or(TrustStoreError::NoSeparator)?;
        let kind = match kind {
            "ca" => TrustStoreKind::Ca,
            "signingAuthority" => TrustStoreKind::SigningAuthority,
            "tsa" => TrustStoreKind::Tsa,
            _ => return Err(TrustStoreError::Kind { found: kind.to_owned() }),
        };
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if matches!(name, "" | "." | "..") || !name.bytes().all(is_plain) {
            return Err(TrustStoreError::Name);
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

impl fmt::Display for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TrustStoreKind::Ca => "ca",
            TrustStoreKind::SigningAuthority => "signingAuthority",
            TrustStoreKind::Tsa => "tsa",
        };
        write!(f, "{kind}:{}", self.name)
    }
}

impl FromStr for TrustedIdentity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.is_empty() {
            return Err(IdentityError::Empty);
        }
        match text.split_once(':') {
            None => Err(IdentityError::NoSeparator),
            Some((SUBJECT, "")) => Err(IdentityError::NoSubject),
            Some((SUBJECT, name)) => Ok(Self::Subject(name.parse()?)),
            Some(_) => Ok(Self::Other(text.to_owned())),
        }
    }
}

pub(super) fn validate_stores(
    texts: &[String],
    statement: &str,
) -> Result<Vec<TrustStore>, NotationPolicyError> {
    texts
        .iter()
        .map(|text| {
            text.parse().map_err(|source| NotationPolicyError::TrustStore {
                statement: statement.to_owned(),
                store: text.clone(),
                source,
            })
        })
        .collect()
}

pub(super) fn validate_identities(
    texts: &[String],
    statement: &str,
) -> Result<TrustedIdentities, NotationPolicyError> {
    let statement = || statement.to_owned();
    if texts.iter().any(|text| text == "*") {
        return match texts {
            [_] => Ok(TrustedIdentities::Any),
            _ => Err(NotationPolicyError::AnyIdentityWithOthers { statement: statement() }),
        };
    }
    let mut identities: Vec<TrustedIdentity> = Vec::with_capacity(texts.len());
    let mut subjects: Vec<(&str, DistinguishedName)> = Vec::new();
    for text in texts {
        let identity = text.parse().map_err(|source| NotationPolicyError::Identity {
            statement: statement(),
            identity: text.clone(),
            source,
        })?;
        if let TrustedIdentity::Subject(name) = &identity {
            for (other_text, other) in &subjects {
                let (less, more) = match (name.is_part_of(other), other.is_part_of(name)) {
                    (true, _) => (text.as_str(), *other_text),
                    (_, true) => (*other_text, text.as_str()),
                    _ => continue,
                };
                return Err(NotationPolicyError::OverlappingIdentities {
                    statement: statement(),
                    identity: less.to_owned(),
                    other: more.to_owned(),
                });
            }
            subjects.push((text, name.clone()));
        }
        identities.push(identity);
    }
    Ok(TrustedIdentities::Listed(identities))
}
