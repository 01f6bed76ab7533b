//! The signature of a request (AWS Signature Version 4), as `aws-sigv4` makes it.

use std::time::SystemTime;

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use crate::Credentials;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The address that it is posted to.
    pub url: &'a str,
    /// The headers that are signed, less `host`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// The region that it is for.
    pub region: &'a str,
    /// The service that it is for, such as `kms`.
    pub service: &'a str,
}

/// The headers that prove at `now` that the owner of `credentials` makes a POST request: `x-amz-date`,
/// `authorization`, and the session's token if there is one.
pub fn headers(
    request: &Unsigned<'_>,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Vec<(String, String)>, SigningError> {
    let identity = credentials.to_sdk().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| SigningError { problem: error.to_string() })?
        .into();
    let headers = request.headers.iter().copied();
    let signed =
        SignableRequest::new("POST", request.url, headers, SignableBody::Bytes(request.body))
            .and_then(|request| sign(request, &parameters))
            .map_err(|error| SigningError { problem: error.to_string() })?;
    let (instructions, _) = signed.into_parts();
    let (headers, _) = instructions.into_parts();
    Ok(headers
        .into_iter()
        .map(|header| (header.name().to_owned(), header.value().to_owned()))
        .collect())
}

/// A request that cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request cannot be signed: {problem}")]
pub struct SigningError {
    /// What `aws-sigv4` says.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// `post-vanilla` and `post-sts-header-before` of AWS's own test suite for Signature Version 4:
    /// the same request, without and with a session's token.
    #[test]
    fn signs_as_the_test_suite_of_aws_says() {
        let now = UNIX_EPOCH + Duration::from_mins(24_015_636);
        let request = Unsigned {
            url: "https://example.amazonaws.com/",
            headers: &[],
            body: b"",
            region: "us-east-1",
            service: "service",
        };
        let credentials = |token: Option<&str>| {
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            Credentials::new("AKIDEXAMPLE", secret, token).unwrap()
        };
        let authorization = |credentials: &Credentials| {
            let headers = headers(&request, credentials, now).unwrap();
            let value = |name: &str| {
                headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
            };
            assert_eq!(value("x-amz-date").as_deref(), Some("20150830T123600Z"));
            (value("authorization").unwrap(), value("x-amz-security-token"))
        };
        let scope =
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        assert_eq!(
            authorization(&credentials(None)),
            (
                format!(
                    "{scope}, SignedHeaders=host;x-amz-date, \
                     Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
                ),
                None
            )
        );
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        assert_eq!(
            authorization(&credentials(Some(token))),
            (
                format!(
                    "{scope}, SignedHeaders=host;x-amz-date;x-amz-security-token, \
                     Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
                ),
                Some(token.to_owned())
            )
        );
    }
}
