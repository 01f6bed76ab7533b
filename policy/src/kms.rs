//! References to AWS KMS keys, as cosign writes them: `awskms://[ENDPOINT]/KEY`, where KEY is a key
//! id, a key ARN, `alias/NAME` or an alias ARN (sigstore, `pkg/signature/kms/aws/client.go`).

use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "awskms://";

/// Where the public key of a KMS key comes from. The libraries that decide are written against this
/// trait and hold no socket; `civ-aws` implements it for a node, the dispatcher for its user.
pub trait KeySource {
    /// Why there is no answer.
    type Error: std::error::Error + 'static;

    /// The public key of `key`, and of no other, as KMS gives it: DER of a `SubjectPublicKeyInfo`.
    fn public_key(&self, key: &KmsKeyRef) -> Result<Vec<u8>, Self::Error>;

    /// Is it the key that is wrong, rather than the way to it?
    fn is_about_key(error: &Self::Error) -> bool;
}

/// A reference to a KMS key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KmsKeyRef {
    endpoint: Option<String>,
    key: String,
    region: Option<String>,
    is_alias: bool,
}

impl KmsKeyRef {
    /// Is `text` meant as a KMS reference (rather than, say, a file's path)?
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The `host[:port]` of a KMS endpoint other than the region's own. It is spoken to over https,
    /// or over http on loopback.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// What KMS calls `KeyId`: a key id, key ARN, alias name or alias ARN.
    pub fn key_id(&self) -> &str {
        &self.key
    }

    /// The region that an ARN names.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The partition that an ARN names: `aws`, `aws-cn`, ….
    pub fn partition(&self) -> Option<&str> {
        self.key.strip_prefix("arn:")?.split(':').next()
    }

    /// Can somebody point this reference to another key without changing it?
    pub fn is_alias(&self) -> bool {
        self.is_alias
    }
}

impl FromStr for KmsKeyRef {
    type Err = KmsKeyRefError;

    fn from_str(text: &str) -> Result<Self, KmsKeyRefError> {
        let rest = text.strip_prefix(SCHEME).ok_or(KmsKeyRefError::NoScheme)?;
        let (endpoint, key) = rest.split_once('/').ok_or(KmsKeyRefError::NoKey)?;
        if !is_endpoint(endpoint) {
            return Err(KmsKeyRefError::BadEndpoint);
        }
        let (region, resource) = match key.strip_prefix("arn:") {
            Some(arn) => {
                let (region, resource) = parse_arn(arn).ok_or(KmsKeyRefError::BadArn)?;
                (Some(region.to_owned()), resource)
            }
            None => (None, key),
        };
        let is_alias = match (resource.strip_prefix("alias/"), region.is_some()) {
            (Some(name), _) if is_alias_name(name) => true,
            (Some(_), _) => return Err(KmsKeyRefError::BadAlias),
            (None, true) if resource.strip_prefix("key/").is_some_and(is_key_id) => false,
            (None, false) if is_key_id(resource) => false,
            _ => return Err(KmsKeyRefError::BadKeyId),
        };
        let endpoint = (!endpoint.is_empty()).then(|| endpoint.to_owned());
        Ok(Self { endpoint, key: key.to_owned(), region, is_alias })
    }
}

impl fmt::Display for KmsKeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.endpoint.as_deref().unwrap_or_default(), self.key)
    }
}

/// `<partition>:kms:<region>:<account>:<resource>`, as region and resource.
fn parse_arn(arn: &str) -> Option<(&str, &str)> {
    let mut fields = arn.splitn(5, ':');
    let (partition, service, region, account, resource) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let well_formed = (partition == "aws" || partition.starts_with("aws-"))
        && is_name(partition)
        && service == "kms"
        && is_name(region)
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then_some((region, resource))
}

/// A UUID with or without dashes, or a multi-Region key's `mrk-` and 32 digits.
fn is_key_id(text: &str) -> bool {
    let digits = text.strip_prefix("mrk-").unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        && digits.bytes().filter(u8::is_ascii_hexdigit).count() == 32
}

fn is_alias_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 250
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-'))
}

fn is_endpoint(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    })
}

/// Why a text is not a KMS key reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KmsKeyRefError {
    /// The alias has characters that KMS does not allow.
    #[error("not a KMS key reference: an alias is A-Z a-z 0-9 / _ - only")]
    BadAlias,
    /// Not `arn:<partition>:kms:<region>:<account>:key/<id>` or `…:alias/<name>`.
    #[error("not a KMS key reference: the ARN is not one of a KMS key or alias")]
    BadArn,
    /// The authority part is no host.
    #[error("not a KMS key reference: the endpoint is not a host")]
    BadEndpoint,
    /// Neither key id, alias nor ARN.
    #[error("not a KMS key reference: expected a key id, a key ARN, alias/NAME or an alias ARN")]
    BadKeyId,
    /// No slash after the endpoint.
    #[error("not a KMS key reference: without an endpoint it takes three slashes, awskms:///KEY")]
    NoKey,
    /// Not `awskms://…`.
    #[error("not a KMS key reference: it must start with awskms://")]
    NoScheme,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    #[test]
    fn reads_every_form_that_cosign_writes() {
        for (text, endpoint, key, region, is_alias) in [
            ("awskms:///ID", None, "ID", None, false),
            ("awskms://localhost:4566/ID", Some("localhost:4566"), "ID", None, false),
            (
                "awskms:///1234ABCD12AB34CD56EF1234567890AB",
                None,
                "1234ABCD12AB34CD56EF1234567890AB",
                None,
                false,
            ),
            (
                "awskms:///mrk-1234abcd12ab34cd56ef1234567890ab",
                None,
                "mrk-1234abcd12ab34cd56ef1234567890ab",
                None,
                false,
            ),
            ("awskms:///alias/team/release-1", None, "alias/team/release-1", None, true),
            (
                "awskms:///arn:aws:kms:us-east-2:111122223333:key/ID",
                None,
                "arn:aws:kms:us-east-2:111122223333:key/ID",
                Some("us-east-2"),
                false,
            ),
            (
                "awskms://h/arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/x",
                Some("h"),
                "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/x",
                Some("us-gov-west-1"),
                true,
            ),
        ] {
            let (text, key) = (text.replace("ID", ID), key.replace("ID", ID));
            let parsed: KmsKeyRef = text.parse().unwrap();
            assert_eq!(
                (parsed.endpoint(), parsed.key_id(), parsed.region(), parsed.is_alias()),
                (endpoint, key.as_str(), region, is_alias)
            );
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_names_no_key() {
        for (text, why) in [
            ("ID", KmsKeyRefError::NoScheme),
            ("gcpkms:///ID", KmsKeyRefError::NoScheme),
            ("awskms://ID", KmsKeyRefError::NoKey),
            ("awskms:///", KmsKeyRefError::BadKeyId),
            ("awskms:///ID0", KmsKeyRefError::BadKeyId),
            ("awskms:///key/ID", KmsKeyRefError::BadKeyId),
            ("awskms:///alias/", KmsKeyRefError::BadAlias),
            ("awskms:///alias/a b", KmsKeyRefError::BadAlias),
            ("awskms:///arn:aws:s3:us-east-2:111122223333:key/ID", KmsKeyRefError::BadArn),
            ("awskms:///arn:aws:kms:us-east-2:1111:key/ID", KmsKeyRefError::BadArn),
            ("awskms:///arn:aws:kms:us-east-2:111122223333:ID", KmsKeyRefError::BadKeyId),
            ("awskms:///arn:evil:kms:us-east-2:111122223333:key/ID", KmsKeyRefError::BadArn),
            ("awskms://user@host/ID", KmsKeyRefError::BadEndpoint),
        ] {
            assert_eq!(text.replace("ID", ID).parse::<KmsKeyRef>(), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_displayed_key_reference_parses_to_itself(text in "awskms://[a-z.:/]{0,6}/\\PC{0,60}") {
            if let Ok(key) = text.parse::<KmsKeyRef>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
