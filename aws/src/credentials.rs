//! How a node proves to AWS who it is, in the order of the AWS SDKs: variables, a web identity, the
//! endpoint of a container, the instance's metadata service. The first of them that is configured
//! counts; if it fails, the next one is not tried, as it would be somebody else.
//!
//! Shared profile files come second in the SDKs' order. They are for people, can run programs, and are
//! not read on a node.

use std::fmt;

use serde::Deserialize;

use crate::network::{AfterStatus, NetworkError};
use crate::{Endpoints, Environment, Network};

mod container;
mod instance;
mod web_identity;

/// The longest token read from a file, in bytes. STS takes 20,000 characters.
const TOKEN_MAX: u64 = 32 << 10;

/// An access key, perhaps of a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Credentials {
    /// With these texts, if they can be sent in a header.
    pub fn new(
        access_key_id: &str,
        secret_access_key: &str,
        session_token: Option<&str>,
    ) -> Option<Self> {
        let texts = [Some(access_key_id), Some(secret_access_key), session_token];
        let can_be_sent = |text: &&str| is_header_text(text);
        texts.iter().flatten().all(can_be_sent).then(|| Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            session_token: session_token.map(str::to_owned),
        })
    }

    /// Those of the node. A web identity is exchanged at `sts`.
    pub fn find(
        environment: &Environment,
        network: &Network,
        endpoints: &Endpoints,
        sts: &StsLocation<'_>,
    ) -> Result<Self, CredentialsError> {
        if let Some(found) = of_variables(environment)? {
            return Ok(found);
        }
        if let Some(found) = web_identity::exchange(environment, network, endpoints, sts)? {
            return Ok(found);
        }
        if let Some(found) = container::ask(environment, network, endpoints)? {
            return Ok(found);
        }
        match environment.get("AWS_EC2_METADATA_DISABLED") {
            Some(text) if text.trim().eq_ignore_ascii_case("true") => Err(CredentialsError::None),
            _ => instance::ask(network, endpoints),
        }
    }

    pub(crate) fn to_sdk(&self) -> aws_credential_types::Credentials {
        aws_credential_types::Credentials::new(
            &*self.access_key_id,
            &*self.secret_access_key,
            self.session_token.clone(),
            None,
            "civ",
        )
    }
}

/// Says nothing of the secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Where STS is, as the key asked for says it.
#[derive(Clone, Copy, Debug)]
pub struct StsLocation<'a> {
    /// The region to use where the environment names none.
    pub region: &'a str,
    /// What the names of the partition's hosts end in, such as `amazonaws.com`.
    pub suffix: &'a str,
}

fn of_variables(environment: &Environment) -> Result<Option<Credentials>, CredentialsError> {
    const ID: &str = "AWS_ACCESS_KEY_ID";
    const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
    let token = environment.get("AWS_SESSION_TOKEN");
    match (environment.get(ID), environment.get(SECRET)) {
        (None, None) => Ok(None),
        (Some(id), Some(secret)) => {
            let found = Credentials::new(id, secret, token);
            found.map(Some).ok_or(CredentialsError::Variable { variable: ID })
        }
        (None, Some(_)) => Err(CredentialsError::Missing { present: SECRET, missing: ID }),
        (Some(_), None) => Err(CredentialsError::Missing { present: ID, missing: SECRET }),
    }
}

fn is_header_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Credentials as the metadata service and the endpoints of containers write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

fn parse_answer(provider: Provider, body: &[u8]) -> Result<Credentials, CredentialsError> {
    serde_json::from_slice::<Answered>(body)
        .ok()
        .and_then(|answered| {
            let Answered { access_key_id, secret_access_key, token } = answered;
            Credentials::new(&access_key_id, &secret_access_key, token.as_deref())
        })
        .ok_or(CredentialsError::Malformed { provider })
}

/// The text of a small file that a variable names, less the white space around it.
fn read_token(path: &str) -> Result<String, CredentialsError> {
    use std::io::Read as _;
    let unreadable =
        |why: &str| CredentialsError::TokenFile { path: path.to_owned(), why: why.to_owned() };
    let io = |error: std::io::Error| unreadable(&error.to_string());
    // A FIFO would be waited for.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(unreadable("not a regular file"));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(TOKEN_MAX + 1).read_to_string(&mut text).map_err(io)?;
    let token = text.trim();
    if token.len() as u64 > TOKEN_MAX || !is_header_text(token) {
        return Err(unreadable("it holds no token"));
    }
    Ok(token.to_owned())
}

/// Who gives a node its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// What the variables `AWS_CONTAINER_…` name: ECS, or the EKS Pod Identity agent.
    Container,
    /// The instance's metadata service, version 2.
    Instance,
    /// `AssumeRoleWithWebIdentity`.
    Sts,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "the container's credential endpoint",
            Self::Instance => "the instance metadata service",
            Self::Sts => "AWS STS",
        })
    }
}

/// Why a node has no credentials. No secret is in any of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A variable sends to a host that may not be asked without TLS.
    #[error(
        "no AWS credentials: AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http on loopback or at the address of ECS or EKS"
    )]
    ForbiddenHost,
    /// The answer holds no credentials.
    #[error("no AWS credentials: the answer of {provider} holds none")]
    Malformed {
        /// Who answered.
        provider: Provider,
    },
    /// One of two variables that go together.
    #[error("no AWS credentials: {present} is set and {missing} is not")]
    Missing {
        /// The one that is set.
        present: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The metadata service is switched off.
    #[error("no AWS credentials: the instance metadata service answered 403; enable it")]
    MetadataDisabled,
    /// The metadata service can be reached, and its answer to the first request does not arrive.
    #[error(
        "no AWS credentials: the instance metadata service gives no token; raise its hop limit if this runs in a container (HttpPutResponseHopLimit)"
    )]
    NoMetadataToken,
    /// The instance has no role.
    #[error("no AWS credentials: the instance has no IAM role; attach an instance profile")]
    NoRole,
    /// Nothing is configured.
    #[error(
        "no AWS credentials: no variable gives any, and AWS_EC2_METADATA_DISABLED is true; unset it, or pin the key (civ policy pin)"
    )]
    None,
    /// The provider refuses.
    #[error("no AWS credentials: {provider} answered {status}{}", AfterStatus(code))]
    Refused {
        /// Who answered.
        provider: Provider,
        /// The HTTP status.
        status: u16,
        /// AWS's code, if there is one.
        code: String,
    },
    /// The token cannot be read.
    #[error("no AWS credentials: token file {path}: {why}")]
    TokenFile {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The provider cannot be reached.
    #[error("no AWS credentials: {provider} unreachable: {source}")]
    Unreachable {
        /// Who.
        provider: Provider,
        /// Why.
        source: NetworkError,
    },
    /// A variable whose value cannot be used.
    #[error("no AWS credentials: the value of {variable} cannot be used")]
    Variable {
        /// The variable.
        variable: &'static str,
    },
}

impl CredentialsError {
    /// Is it that somebody could not be reached, or did not work, just now?
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !matches!(source, NetworkError::TooLarge),
            Self::NoMetadataToken => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn half_of_an_access_key_is_an_error_and_none_is_none() {
        let (id, secret) = (("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "SECRET"));
        assert!(matches!(of_variables(&environment(&[])), Ok(None)));
        let found = of_variables(&environment(&[id, secret, ("AWS_SESSION_TOKEN", "TOKEN")]));
        assert_eq!(found.unwrap(), Credentials::new("AKID", "SECRET", Some("TOKEN")));
        for (half, words) in
            [(id, "AWS_SECRET_ACCESS_KEY is not"), (secret, "AWS_ACCESS_KEY_ID is not")]
        {
            let error = of_variables(&environment(&[half])).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        for hostile in [("AWS_SESSION_TOKEN", "a\r\nx-evil: 1"), ("AWS_SESSION_TOKEN", "é")] {
            assert!(of_variables(&environment(&[id, secret, hostile])).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let credentials = Credentials::new("AKID", "SECRET", Some("TOKEN")).unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials { .. }");
    }
}
