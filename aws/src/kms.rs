//! `GetPublicKey`: the request, and what may be wrong with its answer.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::strict_json;
use civ_oci::text::one_line;
use civ_policy::KmsKeyRef;
use civ_registry::Endpoint;
use serde::Deserialize;
use serde_json::json;
use ureq::http::Method;

use crate::network::{AfterStatus, Answer, NetworkError, Patience, Question};
use crate::sigv4::{self, SigningError, Unsigned};
use crate::{Credentials, CredentialsError, Network};

const TARGET: (&str, &str) = ("x-amz-target", "TrentService.GetPublicKey");
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
/// The largest public key taken, in bytes of DER. One of RSA 4096 has 550.
const SPKI_MAX: usize = 4 << 10;
/// How long to wait before the one repetition of a request that KMS had no time for.
const BACKOFF: Duration = Duration::from_millis(150);
/// The most of AWS's own words that is shown, in bytes.
const SAID_MAX: usize = 120;

/// What the names of a partition's hosts end in (AWS SDKs, `partitions.json`).
pub fn partition_suffix(partition: &str) -> Option<&'static str> {
    Some(match partition {
        "aws" | "aws-us-gov" => "amazonaws.com",
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        _ => return None,
    })
}

/// The KMS that is asked about `key`: the one that its reference names, or that of its region.
pub fn endpoint(key: &KmsKeyRef) -> Result<Endpoint, KmsError> {
    if let Some(authority) = key.endpoint() {
        return Ok(Endpoint::at(authority));
    }
    let (Some(partition), Some(region)) = (key.partition(), key.region()) else {
        return Err(KmsError::NoArn { key: key.to_string() });
    };
    let suffix = partition_suffix(partition)
        .ok_or_else(|| KmsError::Partition { partition: partition.to_owned() })?;
    Ok(Endpoint::at(&format!("kms.{region}.{suffix}")))
}

/// Asks KMS for the public key of `key`: DER of a `SubjectPublicKeyInfo`.
pub fn get_public_key(
    key: &KmsKeyRef,
    credentials: &Credentials,
    network: &Network,
    now: SystemTime,
) -> Result<Vec<u8>, KmsError> {
    let endpoint = endpoint(key)?;
    let region = key.region().ok_or_else(|| KmsError::NoArn { key: key.to_string() })?;
    let body = json!({ "KeyId": key.key_id() }).to_string();
    let url = format!("{endpoint}/");
    let signed = sigv4::headers(
        &Unsigned {
            url: &url,
            headers: &[CONTENT_TYPE, TARGET],
            body: body.as_bytes(),
            region,
            service: "kms",
        },
        credentials,
        now,
    )?;
    let signed = signed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers: Vec<_> = signed.chain([CONTENT_TYPE, TARGET]).collect();
    let question = Question {
        method: Method::POST,
        url: &url,
        headers: &headers,
        body: body.as_bytes(),
        patience: Patience::SERVICE,
    };
    let ask = || match network.ask(&question) {
        Ok(answer) => public_key_in(&answer, key),
        Err(source) => Err(KmsError::Unreachable { host: endpoint.authority().to_owned(), source }),
    };
    match ask() {
        Err(error) if error.is_outage() && network.pause(BACKOFF) => ask(),
        outcome => outcome,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKeyAnswer {
    key_id: String,
    key_usage: String,
    public_key: String,
}

#[derive(Default, Deserialize)]
struct ErrorAnswer {
    #[serde(rename = "__type")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// The public key that `answer` gives for `key`, and for no other: DER, not looked into.
pub fn public_key_in(answer: &Answer, key: &KmsKeyRef) -> Result<Vec<u8>, KmsError> {
    if answer.status != 200 {
        return Err(error_of(answer, key));
    }
    let malformed = || KmsError::Malformed { key: key.key_id().to_owned() };
    let answer: PublicKeyAnswer = strict_json::from_slice(&answer.body).map_err(|_| malformed())?;
    if !is_answer_for(&answer.key_id, key) {
        let (asked, answered) = (key.key_id().to_owned(), one_line(&answer.key_id, SAID_MAX));
        return Err(KmsError::OtherKey { asked, answered });
    }
    if answer.key_usage != "SIGN_VERIFY" {
        let usage = one_line(&answer.key_usage, 40);
        return Err(KmsError::NotForSigning { key: key.key_id().to_owned(), usage });
    }
    let spki = STANDARD.decode(answer.public_key).ok().filter(|spki| spki.len() <= SPKI_MAX);
    spki.ok_or_else(malformed)
}

/// A key answers to its own ARN alone. An alias may be any key's of its own account and region, which
/// is what naming an alias means.
fn is_answer_for(answered: &str, key: &KmsKeyRef) -> bool {
    if !key.is_alias() {
        return answered == key.key_id();
    }
    let account_of = |arn: &str| arn.rsplit_once(':').map(|(account, _)| account.to_owned());
    format!("awskms:///{answered}").parse::<KmsKeyRef>().is_ok_and(|answered| {
        !answered.is_alias() && account_of(answered.key_id()) == account_of(key.key_id())
    })
}

fn error_of(answer: &Answer, key: &KmsKeyRef) -> KmsError {
    let status = answer.status;
    let said: ErrorAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = said.code.unwrap_or_default();
    // The protocol allows for a namespace before it and an address after it.
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
    let said = one_line(said.message.as_deref().unwrap_or("no reason given"), SAID_MAX);
    let key = key.key_id().to_owned();
    match code {
        "AccessDeniedException" => KmsError::AccessDenied { key, said },
        "NotFoundException" => KmsError::NotFound { key },
        "DisabledException" => KmsError::Disabled { key },
        "KMSInvalidStateException" => KmsError::InvalidState { key, said },
        "UnsupportedOperationException" => KmsError::Symmetric { key },
        "ExpiredTokenException" | "ExpiredToken" => KmsError::ExpiredCredentials,
        "InvalidSignatureException" | "RequestExpired"
            if said.contains("Signature expired")
                || said.contains("not yet current")
                || code == "RequestExpired" =>
        {
            KmsError::ClockSkew { said }
        }
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "InvalidClientTokenId"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException" => KmsError::BadCredentials { said },
        "ThrottlingException" | "LimitExceededException" | "RequestLimitExceeded" => {
            KmsError::Throttled
        }
        code => KmsError::Service { status, code: one_line(code, 64), said },
    }
}

/// Why the public key of a KMS key is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// The node may not ask.
    #[error(
        "AWS denies kms:GetPublicKey on {key}; allow it for the node's role, in its IAM policy and the key's"
    )]
    AccessDenied {
        /// The key.
        key: String,
        /// What AWS says.
        said: String,
    },
    /// AWS does not know the credentials.
    #[error("AWS KMS does not accept the node's credentials: {said}")]
    BadCredentials {
        /// What AWS says.
        said: String,
    },
    /// The request's date is not AWS's.
    #[error("AWS KMS does not accept the time of this node; set its clock: {said}")]
    ClockSkew {
        /// What AWS says.
        said: String,
    },
    /// The node has no credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The key is disabled.
    #[error("KMS key {key} is disabled; enable it, or take it out of the policy")]
    Disabled {
        /// The key.
        key: String,
    },
    /// The session is over.
    #[error("the node's AWS credentials have expired; renew them where they come from")]
    ExpiredCredentials,
    /// The key waits for its deletion, or is otherwise out of use.
    #[error(
        "KMS key {key} cannot be used in its state; cancel its deletion, or take it out of the policy: {said}"
    )]
    InvalidState {
        /// The key.
        key: String,
        /// What AWS says.
        said: String,
    },
    /// An answer that is none.
    #[error("AWS KMS answered something else than a public key for {key}")]
    Malformed {
        /// The key.
        key: String,
    },
    /// A key that is not named by its ARN.
    #[error("{key} is no ARN; a node asks for keys by their ARN")]
    NoArn {
        /// The reference.
        key: String,
    },
    /// There is no such key.
    #[error("there is no KMS key {key}; correct the ARN in the policy")]
    NotFound {
        /// The key.
        key: String,
    },
    /// A key with another purpose.
    #[error("KMS key {key} is for {usage}, not for signing (SIGN_VERIFY)")]
    NotForSigning {
        /// The key.
        key: String,
        /// Its purpose.
        usage: String,
    },
    /// KMS answers for another key.
    #[error("AWS KMS answered for {answered} when asked for {asked}; the answer is not used")]
    OtherKey {
        /// The key asked for.
        asked: String,
        /// The key answered for.
        answered: String,
    },
    /// A partition whose hosts are not known.
    #[error(
        "the hosts of partition {partition} are not known; name the endpoint: awskms://kms.REGION.SUFFIX/ARN"
    )]
    Partition {
        /// The partition.
        partition: String,
    },
    /// Another answer.
    #[error("AWS KMS answered {status}{}: {said}", AfterStatus(code))]
    Service {
        /// The HTTP status.
        status: u16,
        /// AWS's code, if there is one.
        code: String,
        /// What AWS says.
        said: String,
    },
    /// The request cannot be made.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// A symmetric key, or one of HMAC.
    #[error("KMS key {key} has no public key: it is symmetric or for HMAC")]
    Symmetric {
        /// The key.
        key: String,
    },
    /// Too many requests.
    #[error("AWS KMS is throttling kms:GetPublicKey; pin the key (civ policy pin)")]
    Throttled,
    /// KMS cannot be reached.
    #[error("AWS KMS unreachable at {host}: {source}")]
    Unreachable {
        /// Where.
        host: String,
        /// Why.
        source: NetworkError,
    },
}

impl KmsError {
    /// Is it the key itself that can never be what the policy takes it for?
    pub fn is_about_key(&self) -> bool {
        matches!(
            self,
            Self::NoArn { .. }
                | Self::NotFound { .. }
                | Self::NotForSigning { .. }
                | Self::Partition { .. }
                | Self::Symmetric { .. }
        )
    }

    /// Is it that AWS could not be reached, or did not work, just now? Everything else is an answer.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !matches!(source, NetworkError::TooLarge),
            Self::Throttled => true,
            Self::Service { status, .. } => *status >= 500,
            Self::Credentials(error) => error.is_outage(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ARN: &str = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    const ALIAS: &str = "arn:aws:kms:eu-west-1:111111111111:alias/release";

    fn key(text: &str) -> KmsKeyRef {
        text.parse().unwrap()
    }

    fn read_json(status: u16, body: &Value, arn: &str) -> Result<Vec<u8>, KmsError> {
        public_key_in(
            &Answer { status, body: body.to_string().into() },
            &key(&format!("awskms:///{arn}")),
        )
    }

    #[test]
    fn the_policy_says_whom_to_ask() {
        let id = "key/1234abcd-12ab-34cd-56ef-1234567890ab";
        for (reference, address) in [
            ("/arn:aws:kms:eu-west-1:1:ID", "https://kms.eu-west-1.amazonaws.com"),
            ("/arn:aws-cn:kms:cn-north-1:1:ID", "https://kms.cn-north-1.amazonaws.com.cn"),
            ("/arn:aws-us-gov:kms:us-gov-west-1:1:ID", "https://kms.us-gov-west-1.amazonaws.com"),
            ("/arn:aws-iso-b:kms:us-isob-east-1:1:ID", "https://kms.us-isob-east-1.sc2s.sgov.gov"),
            ("vpce-1.kms.example/arn:aws-x:kms:r:1:ID", "https://vpce-1.kms.example"),
            ("127.0.0.1:4566/arn:aws:kms:r:1:ID", "http://127.0.0.1:4566"),
            ("localhost:443/arn:aws:kms:r:1:ID", "https://localhost:443"),
            ("10.0.0.1:80/arn:aws:kms:r:1:ID", "https://10.0.0.1:80"),
        ] {
            let text =
                format!("awskms://{reference}").replace(":1:ID", &format!(":111111111111:{id}"));
            assert_eq!(endpoint(&key(&text)).unwrap().to_string(), address);
        }
        let unknown = key(&format!("awskms:///arn:aws-x:kms:r:111111111111:{id}"));
        assert!(matches!(endpoint(&unknown), Err(KmsError::Partition { .. })));
        assert!(matches!(endpoint(&key("awskms:///alias/x")), Err(KmsError::NoArn { .. })));
    }

    #[test]
    fn an_answer_is_for_the_key_asked_for_and_for_signing() {
        let answer = |id: &str, usage: &str, public_key: &str| json!({ "KeyId": id, "KeyUsage": usage, "PublicKey": public_key, "More": [1] });
        let good = answer(ARN, "SIGN_VERIFY", "QUJD");
        assert_eq!(read_json(200, &good, ARN).unwrap(), b"ABC");
        assert_eq!(read_json(200, &good, ALIAS).unwrap(), b"ABC");
        let other_account = ALIAS.replace("111111111111", "222222222222");
        let other_region = ALIAS.replace("eu-west-1", "eu-west-2");
        for (body, asked, words) in [
            (&good, ARN.replace("90ab", "90ac"), "answered for arn:"),
            (&good, ARN.replace("eu-west-1", "eu-west-2"), "answered for arn:"),
            (&good, other_account, "answered for arn:"),
            (&good, other_region, "answered for arn:"),
            (&answer(ALIAS, "SIGN_VERIFY", "QUJD"), ALIAS.to_owned(), "answered for arn:"),
            (&answer("1234", "SIGN_VERIFY", "QUJD"), ALIAS.to_owned(), "answered for 1234"),
            (&answer(ARN, "ENCRYPT_DECRYPT", "QUJD"), ARN.to_owned(), "for ENCRYPT_DECRYPT, not"),
            (&answer(ARN, "SIGN_VERIFY", "Q"), ARN.to_owned(), "something else"),
            (&answer(ARN, "SIGN_VERIFY", &"QUJD".repeat(2_000)), ARN.to_owned(), "something else"),
            (&json!({ "KeyId": ARN, "KeyUsage": "SIGN_VERIFY" }), ARN.to_owned(), "something else"),
            (&json!([]), ARN.to_owned(), "something else"),
        ] {
            let error = read_json(200, body, &asked).unwrap_err();
            assert!(error.to_string().contains(words), "{body} for {asked}: {error}");
            assert!(!error.is_outage(), "{error}");
        }
        let twice = format!(r#"{{"KeyId":"x",{}"#, good.to_string().trim_start_matches('{'));
        let answer = Answer { status: 200, body: twice.into() };
        assert!(public_key_in(&answer, &key(&format!("awskms:///{ARN}"))).is_err());
    }

    #[test]
    fn says_what_aws_refuses_and_what_to_do() {
        for (status, code, message, words, is_outage) in [
            (400, "AccessDeniedException", "User: x", "denies kms:GetPublicKey on arn:", false),
            (400, "com.amazonaws.kms#NotFoundException", "", "there is no KMS key arn:", false),
            (400, "NotFoundException:http://internal/", "", "there is no KMS key arn:", false),
            (409, "DisabledException", "", "is disabled", false),
            (400, "KMSInvalidStateException", "pending", "in its state", false),
            (400, "UnsupportedOperationException", "", "symmetric", false),
            (400, "ExpiredTokenException", "", "have expired", false),
            (400, "InvalidSignatureException", "Signature expired: 2020", "set its clock", false),
            (400, "InvalidSignatureException", "Signature not yet current", "set its clock", false),
            (400, "InvalidSignatureException", "does not match", "not accept the node's", false),
            (400, "UnrecognizedClientException", "", "not accept the node's", false),
            (400, "ThrottlingException", "", "throttling", true),
            (500, "KMSInternalException", "", "answered 500 KMSInternalException", true),
            (503, "", "", "answered 503", true),
            (302, "", "", "answered 302", false),
            (400, "x\ny", "a\nb", r"answered 400 x\u{a}y: a\u{a}b", false),
        ] {
            let body = json!({ "__type": code, "message": message });
            let error = read_json(status, &body, ARN).unwrap_err();
            assert!(error.to_string().contains(words), "{code}: {error}");
            assert_eq!(error.is_outage(), is_outage, "{code}");
        }
        let page = Answer { status: 502, body: b"<html>".to_vec() };
        assert!(error_of(&page, &key(&format!("awskms:///{ARN}"))).is_outage());
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(status in 200_u16..600, body in "\\PC{0,80}") {
            let answer = Answer { status, body: body.into() };
            let _ = public_key_in(&answer, &key(&format!("awskms:///{ARN}")));
        }
    }
}
