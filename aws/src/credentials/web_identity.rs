//! A token of somebody else's (as Kubernetes projects one), exchanged for a role's session:
//! `AssumeRoleWithWebIdentity`. The request is not signed; the token is the proof.

use civ_oci::text::one_line;
use roxmltree::{Document, ParsingOptions};
use ureq::http::Method;

use super::{Credentials, CredentialsError, Provider, StsLocation, read_token};
use crate::network::{Patience, Question};
use crate::{Endpoints, Environment, Network};

const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE: &str = "AWS_ROLE_ARN";

pub(super) fn exchange(
    environment: &Environment,
    network: &Network,
    endpoints: &Endpoints,
    sts: &StsLocation<'_>,
) -> Result<Option<Credentials>, CredentialsError> {
    let Some(file) = environment.get(TOKEN_FILE) else { return Ok(None) };
    let role = environment
        .get(ROLE)
        .ok_or(CredentialsError::Missing { present: TOKEN_FILE, missing: ROLE })?;
    let token = read_token(file)?;
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "AssumeRoleWithWebIdentity")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", role)
        .append_pair("RoleSessionName", environment.get("AWS_ROLE_SESSION_NAME").unwrap_or("civ"))
        .append_pair("WebIdentityToken", &token)
        .finish();
    let region = environment.region().unwrap_or(sts.region);
    let base = endpoints.sts.clone();
    let url = base.unwrap_or_else(|| format!("https://sts.{region}.{}", sts.suffix)) + "/";
    let answer = network.ask(&Question {
        method: Method::POST,
        url: &url,
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        body: body.as_bytes(),
        patience: Patience::SERVICE,
    });
    let provider = Provider::Sts;
    let answer = answer.map_err(|source| CredentialsError::Unreachable { provider, source })?;
    let text = String::from_utf8(answer.body).unwrap_or_default();
    if answer.status != 200 {
        let code = one_line(&text_of(&text, "Code").unwrap_or_default(), 64);
        return Err(CredentialsError::Refused { provider, status: answer.status, code });
    }
    parse(&text).map(Some).ok_or(CredentialsError::Malformed { provider })
}

fn parse(xml: &str) -> Option<Credentials> {
    let [id, secret, token] =
        ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| text_of(xml, name));
    Credentials::new(&id?, &secret?, Some(&token?))
}

/// The text of the first element of that name. Documents with a DTD, and with more than answers of
/// STS have in them, are not read.
fn text_of(xml: &str, name: &str) -> Option<String> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: 200, ..Default::default() };
    let document = Document::parse_with_options(xml, options).ok()?;
    // Whatever its namespace, which holds the version of the API.
    let element = document.descendants().find(|node| node.tag_name().name() == name)?;
    element.text().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_answer_of_sts() {
        let answer = |token: &str| {
            format!(
                r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult><Credentials>
    <SessionToken>{token}</SessionToken>
    <SecretAccessKey>wJalr/K7MDENG+bPx&amp;RfiCY</SecretAccessKey>
    <Expiration>2026-01-01T00:00:00Z</Expiration>
    <AccessKeyId>ASIAEXAMPLE</AccessKeyId>
  </Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"#
            )
        };
        let expected = Credentials::new("ASIAEXAMPLE", "wJalr/K7MDENG+bPx&RfiCY", Some("T=="));
        assert_eq!(parse(&answer("T==")), expected);
        assert_eq!(parse(&answer("")), None);
        assert_eq!(parse(&answer("a b")), None);
        let dtd = format!(r#"<!DOCTYPE x [<!ENTITY e "T==">]>{}"#, answer("&e;"));
        assert_eq!(parse(&dtd), None);
        assert_eq!(parse(&"<a>".repeat(300)), None);
        assert_eq!(parse(""), None);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(text in "\\PC{0,60}|(<[a-zA-Z/]{0,12}>?){0,20}") {
            let _ = parse(&text);
        }
    }
}
