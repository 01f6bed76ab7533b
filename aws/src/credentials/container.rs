//! The endpoint that variables name: ECS's agent, or EKS's Pod Identity agent.

use std::net::IpAddr;

use civ_oci::reference::is_loopback;
use ureq::http::{Method, Uri};

use super::{Credentials, CredentialsError, Provider, parse_answer, read_token};
use crate::network::{Patience, Question};
use crate::{Endpoints, Environment, Network};

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// The agents of ECS and EKS, which speak no TLS (AWS SDKs and Tools Reference Guide, "Container
/// credential provider").
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

pub(super) fn ask(
    environment: &Environment,
    network: &Network,
    endpoints: &Endpoints,
) -> Result<Option<Credentials>, CredentialsError> {
    let url = match (environment.get(RELATIVE), environment.get(FULL)) {
        (None, None) => return Ok(None),
        (Some(path), _) if path.starts_with('/') => format!("{}{path}", endpoints.container),
        (Some(_), _) => return Err(CredentialsError::Variable { variable: RELATIVE }),
        (None, Some(url)) => permitted(url)?,
    };
    let token = match (environment.get(TOKEN_FILE), environment.get(TOKEN)) {
        (Some(file), _) => Some(read_token(file)?),
        (None, Some(token)) if token.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
            Some(token.to_owned())
        }
        (None, Some(_)) => return Err(CredentialsError::Variable { variable: TOKEN }),
        (None, None) => None,
    };
    let authorization = token.as_deref().map(|token| ("authorization", token));
    let headers: Vec<_> =
        authorization.into_iter().chain([("accept", "application/json")]).collect();
    let provider = Provider::Container;
    let answer = network
        .ask(&Question {
            method: Method::GET,
            url: &url,
            headers: &headers,
            body: b"",
            patience: Patience::SERVICE,
        })
        .map_err(|source| CredentialsError::Unreachable { provider, source })?;
    if answer.status != 200 {
        let (status, code) = (answer.status, String::new());
        return Err(CredentialsError::Refused { provider, status, code });
    }
    parse_answer(provider, &answer.body).map(Some)
}

/// An address as it was given, if a token may be sent there.
fn permitted(url: &str) -> Result<String, CredentialsError> {
    let uri: Uri = url.parse().map_err(|_| CredentialsError::Variable { variable: FULL })?;
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_agent = bare.parse::<IpAddr>().is_ok_and(|address| {
        AGENTS.iter().any(|agent| agent.parse::<IpAddr>().is_ok_and(|agent| agent == address))
    });
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if is_plain => Ok(url.to_owned()),
        Some("http") if is_plain && (is_loopback(host) || is_agent) => Ok(url.to_owned()),
        _ => Err(CredentialsError::ForbiddenHost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_or_to_the_machine_itself() {
        for url in [
            "https://agent.example/v1",
            "http://127.0.0.1:80/v1",
            "http://localhost/v1",
            "http://[::1]:81/v1",
            "http://169.254.170.2/v2",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            assert_eq!(permitted(url).unwrap(), url);
        }
        for url in [
            "http://agent.example/v1",
            "http://169.254.169.254/latest",
            "http://169.254.170.2.evil.example/v1",
            "http://169.254.170.2@evil.example/v1",
            "https://169.254.170.2@evil.example/v1",
            "http://localhost.evil.example/",
            "http://[fd00:ec2::24]/",
            "ftp://127.0.0.1/",
            "127.0.0.1",
            "/v1",
            "http://",
            "a b",
        ] {
            assert!(permitted(url).is_err(), "{url}");
        }
    }
}
