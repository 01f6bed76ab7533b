//! A key in AWS KMS. Two calls: `GetPublicKey` when it is opened, `Sign` for each signature.

use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_lc_rs::digest;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::get_public_key::GetPublicKeyOutput;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec};
use civ_cosign::PublicKey;
use civ_oci::text::one_line;
use civ_policy::{KeySource, KmsKeyRef};
use civ_registry::Endpoint;
use std::time::Duration;
use tokio::runtime::Handle;

use super::SignerError;
use crate::registry::root_cause;

/// The longest message that KMS hashes itself, in bytes.
const RAW_MAX: usize = 4096;
const CONNECT_MAX: Duration = Duration::from_secs(5);
const ATTEMPT_MAX: Duration = Duration::from_secs(15);
/// The most of AWS's own words that is shown, in bytes.
const MESSAGE_MAX: usize = 300;

/// A key in AWS KMS whose public half is known.
#[derive(Clone, Debug)]
pub struct Kms {
    client: Client,
    key: KmsKeyRef,
    algorithm: SigningAlgorithmSpec,
    public_key: PublicKey,
    arn: Option<String>,
}

impl Kms {
    /// Finds `key` with the credentials of the environment: in the region that its ARN names, or
    /// else in the environment's; at its own endpoint, or else at the environment's
    /// (`AWS_ENDPOINT_URL`).
    pub async fn open(key: &KmsKeyRef) -> Result<Self, SignerError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_MAX)
            .operation_attempt_timeout(ATTEMPT_MAX)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
        if let Some(region) = key.region() {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(endpoint) = key.endpoint() {
            loader = loader.endpoint_url(Endpoint::at(endpoint).to_string());
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(KmsError::NoRegion.into());
        }
        Self::with_client(Client::new(&config), key).await
    }

    /// Finds `key` through `client`.
    pub async fn with_client(client: Client, key: &KmsKeyRef) -> Result<Self, SignerError> {
        let answer = client
            .get_public_key()
            .key_id(key.key_id())
            .send()
            .await
            .map_err(|error| KmsError::of("kms:GetPublicKey", key, &error))?;
        if let Some(answered) = answer.key_id().filter(|arn| !is_answer_for(arn, key)) {
            let (asked, answered) = (key.key_id().to_owned(), one_line(answered, MESSAGE_MAX));
            return Err(KmsError::OtherKey { asked, answered }.into());
        }
        let algorithm = algorithm(&answer)?;
        let spki = answer.public_key.ok_or(KmsError::Incomplete)?;
        let public_key = PublicKey::from_spki_der(spki.as_ref())?;
        Ok(Self { client, key: key.clone(), algorithm, public_key, arn: answer.key_id })
    }

    /// The key that verifies what this one signs.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The algorithm: the first that the key offers, which is the one that cosign takes. (cosign
    /// takes no Ed25519 keys of KMS.)
    pub fn algorithm(&self) -> &str {
        self.algorithm.as_str()
    }

    /// The key's ARN, whatever it was called by: an alias may name another key tomorrow.
    pub fn arn(&self) -> Option<&str> {
        self.arn.as_deref()
    }

    pub(super) async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KmsError> {
        let (kind, message) = self.what_is_sent(message)?;
        let answer = self
            .client
            .sign()
            .key_id(self.key.key_id())
            .signing_algorithm(self.algorithm.clone())
            .message_type(kind)
            .message(Blob::new(message))
            .send()
            .await
            .map_err(|error| KmsError::of("kms:Sign", &self.key, &error))?;
        answer.signature.map(Blob::into_inner).ok_or(KmsError::Incomplete)
    }

    /// A short message goes as it is, so that what KMS logs and signs is the message.
    fn what_is_sent(&self, message: &[u8]) -> Result<(MessageType, Vec<u8>), KmsError> {
        if message.len() <= RAW_MAX {
            return Ok((MessageType::Raw, message.to_vec()));
        }
        let hash = match self.algorithm.as_str() {
            // Ed25519 takes no hash; Ed25519ph, which does, is another algorithm.
            "ED25519_SHA_512" => return Err(KmsError::TooLong { limit: RAW_MAX }),
            name if name.ends_with("384") => &digest::SHA384,
            name if name.ends_with("512") => &digest::SHA512,
            _ => &digest::SHA256,
        };
        Ok((MessageType::Digest, digest::digest(hash, message).as_ref().to_vec()))
    }
}

/// A key named by its ARN answers to that alone.
fn is_answer_for(answered: &str, key: &KmsKeyRef) -> bool {
    key.is_alias() || key.region().is_none() || answered == key.key_id()
}

/// The public keys of KMS keys with the credentials of the environment, for the gate's code. Not to be
/// used on a thread of the runtime.
#[derive(Clone, Debug)]
pub(crate) struct GateKeys {
    runtime: Handle,
}

impl GateKeys {
    /// To be called on a thread of the runtime.
    pub(crate) fn new() -> Self {
        Self { runtime: Handle::current() }
    }
}

impl KeySource for GateKeys {
    type Error = SignerError;

    fn is_about_key(error: &SignerError) -> bool {
        let SignerError::Kms(error) = error else { return false };
        matches!(
            **error,
            KmsError::KeySpec { .. }
                | KmsError::NotForSigning { .. }
                | KmsError::NotFound { .. }
                | KmsError::OtherKey { .. }
                | KmsError::Symmetric { .. }
        )
    }

    fn public_key(&self, key: &KmsKeyRef) -> Result<Vec<u8>, SignerError> {
        Ok(self.runtime.block_on(Kms::open(key))?.public_key.spki_der().to_vec())
    }
}

/// The first algorithm that the key offers and the gate verifies.
fn algorithm(answer: &GetPublicKeyOutput) -> Result<SigningAlgorithmSpec, KmsError> {
    if let Some(usage) = answer.key_usage().filter(|usage| **usage != KeyUsageType::SignVerify) {
        return Err(KmsError::NotForSigning { usage: usage.as_str().to_owned() });
    }
    match answer.key_spec() {
        Some(
            KeySpec::EccNistP256
            | KeySpec::EccNistP384
            | KeySpec::EccNistP521
            | KeySpec::Rsa2048
            | KeySpec::Rsa3072
            | KeySpec::Rsa4096,
        )
        | None => {}
        // It offers Ed25519ph as well, in whichever order.
        Some(KeySpec::EccNistEdwards25519) => {
            let pure = SigningAlgorithmSpec::Ed25519Sha512;
            let is_offered = answer.signing_algorithms().contains(&pure);
            let spec = "ECC_NIST_EDWARDS25519 without ED25519_SHA_512";
            return if is_offered {
                Ok(pure)
            } else {
                Err(KmsError::KeySpec { spec: spec.into() })
            };
        }
        Some(other) => return Err(KmsError::KeySpec { spec: other.as_str().to_owned() }),
    }
    answer.signing_algorithms().first().cloned().ok_or(KmsError::Incomplete)
}

/// Why KMS does not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// The caller may not.
    #[error("AWS denies {action} on {key}: {said}")]
    AccessDenied {
        /// The IAM action.
        action: &'static str,
        /// The key.
        key: String,
        /// What AWS says.
        said: String,
    },
    /// The key is disabled.
    #[error("the KMS key {key} is disabled")]
    Disabled {
        /// The key.
        key: String,
    },
    /// The answer lacks what it should have.
    #[error("the answer of AWS KMS is incomplete")]
    Incomplete,
    /// The key waits for its deletion, or is otherwise out of use.
    #[error("the KMS key {key} cannot be used in its state: {said}")]
    InvalidState {
        /// The key.
        key: String,
        /// What AWS says.
        said: String,
    },
    /// A kind of key that the gate does not verify.
    #[error("KMS keys of spec {spec} are not accepted")]
    KeySpec {
        /// The spec.
        spec: String,
    },
    /// No credentials, or none that AWS knows.
    #[error("there are no usable AWS credentials{}", said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    NoCredentials {
        /// What AWS says, if it was asked.
        said: Option<String>,
    },
    /// No region.
    #[error("the AWS region of the key is not known")]
    NoRegion,
    /// A key with another purpose.
    #[error("the KMS key is for {usage}, not for signing")]
    NotForSigning {
        /// The purpose.
        usage: String,
    },
    /// KMS answers for another key.
    #[error("AWS KMS answered for {answered} when asked for {asked}")]
    OtherKey {
        /// The key asked for.
        asked: String,
        /// The key answered for.
        answered: String,
    },
    /// An answer without an error code of AWS: of a proxy, or of something else at that address.
    #[error("{action} is answered with HTTP {status}, and not as AWS KMS answers")]
    NotKms {
        /// The IAM action.
        action: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// There is no such key.
    #[error("there is no KMS key {key}: {said}")]
    NotFound {
        /// The key.
        key: String,
        /// What AWS says.
        said: String,
    },
    /// Another answer.
    #[error("{action} fails with {code}: {said}")]
    Service {
        /// The IAM action.
        action: &'static str,
        /// AWS's error code.
        code: String,
        /// What AWS says.
        said: String,
    },
    /// A symmetric key, or one of HMAC.
    #[error("the KMS key {key} has no public key: it is symmetric or for HMAC")]
    Symmetric {
        /// The key.
        key: String,
    },
    /// Too many requests.
    #[error("AWS KMS is throttling {action}")]
    Throttled {
        /// The IAM action.
        action: &'static str,
    },
    /// More than KMS signs with Ed25519.
    #[error("KMS signs at most {limit} bytes with Ed25519, and this is more")]
    TooLong {
        /// The most there may be.
        limit: usize,
    },
    /// KMS cannot be reached.
    #[error("AWS KMS cannot be reached: {said}")]
    Unreachable {
        /// What the SDK says.
        said: String,
    },
}

impl KmsError {
    fn of<E>(action: &'static str, key: &KmsKeyRef, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let Some(answer) = error.as_service_error() else {
            let said = one_line(&root_cause(error), MESSAGE_MAX);
            let chain = aws_sdk_kms::error::DisplayErrorContext(error).to_string();
            // The SDK's own words are four lines on where it looked.
            return if chain.contains("redential") {
                Self::NoCredentials { said: None }
            } else if let Some(answer) = error.raw_response() {
                Self::NotKms { action, status: answer.status().as_u16() }
            } else {
                Self::Unreachable { said }
            };
        };
        let key = key.key_id().to_owned();
        let said = one_line(answer.message().unwrap_or("no reason given"), MESSAGE_MAX);
        let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
        let Some(code) = answer.code() else { return Self::NotKms { action, status } };
        match code {
            "AccessDeniedException" => Self::AccessDenied { action, key, said },
            "NotFoundException" => Self::NotFound { key, said },
            "DisabledException" => Self::Disabled { key },
            "KMSInvalidStateException" => Self::InvalidState { key, said },
            "UnsupportedOperationException" => Self::Symmetric { key },
            "ThrottlingException" | "LimitExceededException" => Self::Throttled { action },
            "KMSInternalException" | "DependencyTimeoutException" | "ServiceUnavailable" => {
                Self::Unreachable { said }
            }
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException"
            | "InvalidClientTokenId"
            | "IncompleteSignature" => Self::NoCredentials { said: Some(said) },
            code => Self::Service { action, code: one_line(code, 64), said },
        }
    }

    /// Whether KMS could not be asked, or not now: the key may be as it should.
    pub fn is_about_service(&self) -> bool {
        matches!(
            self,
            Self::Incomplete
                | Self::NotKms { .. }
                | Self::Throttled { .. }
                | Self::Unreachable { .. }
        )
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::AccessDenied { action: "kms:Sign", .. } => {
                "allow the caller kms:Sign on this key, in its IAM policy and the key's"
            }
            Self::AccessDenied { .. } => {
                "allow the caller kms:GetPublicKey on this key, in its IAM policy and the key's"
            }
            Self::Disabled { .. } => "enable the key (aws kms enable-key), or sign with another",
            Self::InvalidState { .. } => {
                "cancel the key's deletion (aws kms cancel-key-deletion), or sign with another"
            }
            Self::KeySpec { .. } | Self::NotForSigning { .. } | Self::Symmetric { .. } => {
                "make one with: aws kms create-key --key-spec ECC_NIST_P256 --key-usage SIGN_VERIFY"
            }
            Self::NoCredentials { .. } => {
                "check with: aws sts get-caller-identity (environment, profile or role)"
            }
            Self::NoRegion => "name the key by its ARN, or set AWS_REGION",
            Self::NotFound { .. } => {
                "check the key's id, account and region; from another account name it by its ARN"
            }
            Self::TooLong { .. } => "sign with fewer annotations, or with an ECDSA or RSA key",
            Self::Throttled { .. } => "run the same command again later",
            Self::Unreachable { .. } => "check the region, the endpoint and the network",
            Self::Incomplete | Self::NotKms { .. } => {
                "check the endpoint (in the key's name, or AWS_ENDPOINT_URL) and the proxy"
            }
            Self::OtherKey { .. } => {
                "check the endpoint and the proxy: what answers is not AWS KMS"
            }
            Self::Service { .. } => "look the code up in the documentation of AWS KMS",
        })
    }
}
