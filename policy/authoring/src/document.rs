//! A trust policy of any kind, parsed by the verifier's own parser.

use civ_cosign::TrustPolicy;
use civ_cosign::trust::TrustPolicyError;
use civ_policy::notation::NotationPolicyError;
use civ_policy::{PolicyError, annotations, digestion, notation};

use crate::Kind;

/// A valid document.
#[derive(Clone, Debug)]
pub enum Document {
    /// That of `annotations-image-verifier`.
    Annotations(annotations::Policy),
    /// That of `cosign-image-verifier`, with every key that is written in it usable.
    Cosign(Box<TrustPolicy>),
    /// That of `digestion-image-verifier`.
    Digestion(digestion::Policy),
    /// That of `notation-image-verifier`.
    Notation(notation::Policy),
}

impl Document {
    /// Parses `bytes` as the verifier of `kind` does.
    pub fn parse(kind: Kind, bytes: &[u8]) -> Result<Self, DocumentError> {
        Ok(match kind {
            Kind::Annotations => Self::Annotations(
                annotations::Policy::parse(bytes).map_err(DocumentError::Annotations)?,
            ),
            Kind::Cosign => Self::Cosign(Box::new(TrustPolicy::parse(bytes)?)),
            Kind::Digestion => {
                Self::Digestion(digestion::Policy::parse(bytes).map_err(DocumentError::Digestion)?)
            }
            Kind::Notation => Self::Notation(notation::Policy::parse(bytes)?),
        })
    }

    /// Which verifier it is for.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Annotations(_) => Kind::Annotations,
            Self::Cosign(_) => Kind::Cosign,
            Self::Digestion(_) => Kind::Digestion,
            Self::Notation(_) => Kind::Notation,
        }
    }
}

/// Why a verifier refuses a document, and with it every pull.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// `annotations-image-verifier` does.
    #[error(transparent)]
    Annotations(PolicyError),
    /// `cosign-image-verifier` does.
    #[error(transparent)]
    Cosign(#[from] TrustPolicyError),
    /// `digestion-image-verifier` does.
    #[error(transparent)]
    Digestion(PolicyError),
    /// `notation-image-verifier` does.
    #[error(transparent)]
    Notation(#[from] NotationPolicyError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_valid_for_its_own_verifier_only() {
        let statement = r#""name":"a","registryScopes":["r.io/a"]"#;
        let digest = format!("sha256:{}", "a".repeat(64));
        for (of, document) in [
            (
                Kind::Annotations,
                format!(
                    r#"{{"version":"1.0","trustPolicies":[{{{statement},"rules":[{{"annotation":"a","present":true}}]}}]}}"#
                ),
            ),
            (
                Kind::Cosign,
                format!(
                    r#"{{"version":"1.0","trustPolicies":[{{{statement},"signatureVerification":{{"level":"strict"}},"keys":[{{"name":"k","kms":"awskms:///arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}}]}}]}}"#
                ),
            ),
            (Kind::Digestion, format!(r#"{{"version":"1.0","trustedDigests":["{digest}"]}}"#)),
            (
                Kind::Notation,
                format!(
                    r#"{{"version":"1.0","trustPolicies":[{{{statement},"signatureVerification":{{"level":"strict"}},"trustStores":["ca:x"],"trustedIdentities":["*"]}}]}}"#
                ),
            ),
        ] {
            for kind in Kind::ALL {
                let parsed = Document::parse(kind, document.as_bytes());
                assert_eq!(parsed.is_ok(), kind == of, "{document} as {kind}: {parsed:?}");
            }
            assert_eq!(Kind::of_document(document.as_bytes()), Some(of));
        }
    }
}
