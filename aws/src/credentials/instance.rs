//! The role of the EC2 instance, from its metadata service, version 2 alone: a token first, with which
//! the role's name and then its credentials are asked for.

use ureq::http::Method;

use super::{Credentials, CredentialsError, Provider, parse_answer};
use crate::network::{NetworkError, Patience, Question};
use crate::{Endpoints, Network};

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
/// How long the token is to live, in seconds. It is used at once.
const TOKEN_TTL: (&str, &str) = ("x-aws-ec2-metadata-token-ttl-seconds", "60");

pub(super) fn ask(
    network: &Network,
    endpoints: &Endpoints,
) -> Result<Credentials, CredentialsError> {
    let base = &endpoints.instance_metadata;
    let send = |method, path: &str, header: (&str, &str)| {
        let url = format!("{base}{path}");
        let patience = Patience::LINK_LOCAL;
        network.ask(&Question { method, url: &url, headers: &[header], body: b"", patience })
    };
    let provider = Provider::Instance;
    let unreachable = |source| CredentialsError::Unreachable { provider, source };
    let token = match send(Method::PUT, TOKEN_PATH, TOKEN_TTL) {
        // The answer to this request alone is lost if there are too many hops.
        Err(NetworkError::NoAnswer) => return Err(CredentialsError::NoMetadataToken),
        Err(source) => return Err(unreachable(source)),
        Ok(answer) if answer.status == 403 => return Err(CredentialsError::MetadataDisabled),
        Ok(answer) if answer.status != 200 => return Err(refused(answer.status)),
        Ok(answer) => word(answer.body)?,
    };
    let get = |path: &str| send(Method::GET, path, (TOKEN_HEADER, &token)).map_err(unreachable);
    let role = get(ROLE_PATH)?;
    let role = match role.status {
        200 => word(role.body)?,
        404 => return Err(CredentialsError::NoRole),
        status => return Err(refused(status)),
    };
    // IAM: letters, digits and + = , . @ _ -, which also cannot lead to another path.
    if !role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte)) {
        return Err(CredentialsError::Malformed { provider });
    }
    let answer = get(&format!("{ROLE_PATH}{role}"))?;
    match answer.status {
        200 => parse_answer(provider, &answer.body),
        404 => Err(CredentialsError::NoRole),
        status => Err(refused(status)),
    }
}

/// The first word of an answer: one may list several roles, of which an instance has one.
fn word(body: Vec<u8>) -> Result<String, CredentialsError> {
    let text = String::from_utf8(body).unwrap_or_default();
    let word =
        text.split_whitespace().next().filter(|word| word.bytes().all(|b| b.is_ascii_graphic()));
    word.map(str::to_owned).ok_or(CredentialsError::Malformed { provider: Provider::Instance })
}

fn refused(status: u16) -> CredentialsError {
    CredentialsError::Refused { provider: Provider::Instance, status, code: String::new() }
}
