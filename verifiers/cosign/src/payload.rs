//! The payload that cosign signs for an image: "simple signing", a format of Red Hat's with a type
//! of cosign's own (sigstore, `pkg/signature/payload/payload.go`).
//!
//! Reading is as strict as containers/image is: exactly these fields, no duplicates. Writing gives
//! the bytes that cosign gives, so that signing twice yields one payload.

use std::collections::BTreeMap;

use civ_oci::strict_json::{self, JsonError};
use civ_oci::{Digest, ImageId};
use serde::{Deserialize, Serialize};

use crate::Claims;
use crate::intoto::SIGN_PREDICATE;

/// `critical.type` of an image signature.
pub const TYPE: &str = "cosign container image signature";

/// A simple-signing payload. Its content is a claim: see [`check_claims`](crate::check_claims).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimpleSigning {
    critical: Critical,
    optional: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Identity {
    docker_reference: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Image {
    docker_manifest_digest: Digest,
}

impl SimpleSigning {
    /// The payload that says: this is `image`, in its repository, with these annotations.
    pub fn new(image: &ImageId, annotations: &BTreeMap<String, String>) -> Self {
        let optional = annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
        Self {
            critical: Critical {
                identity: Identity { docker_reference: image.repository.signing_name() },
                image: Image { docker_manifest_digest: image.digest.clone() },
                r#type: TYPE.to_owned(),
            },
            optional: (!annotations.is_empty()).then(|| optional.collect()),
        }
    }

    /// Reads a payload, whose signature the caller has verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        let payload: Self = strict_json::from_slice(bytes)?;
        if payload.critical.r#type == TYPE {
            Ok(payload)
        } else {
            Err(PayloadError::Type { found: payload.critical.r#type })
        }
    }

    /// The bytes to sign: those of Go's `json.Marshal`, which escapes `<`, `>`, `&` and the two
    /// Unicode line separators.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Maps with string keys always serialise.
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut escaped = String::with_capacity(json.len());
        for character in json.chars() {
            match character {
                '<' => escaped.push_str(r"\u003c"),
                '>' => escaped.push_str(r"\u003e"),
                '&' => escaped.push_str(r"\u0026"),
                '\u{2028}' => escaped.push_str(r"\u2028"),
                '\u{2029}' => escaped.push_str(r"\u2029"),
                other => escaped.push(other),
            }
        }
        escaped.into_bytes()
    }

    /// What the payload claims about the image with `digest`.
    pub fn claims_about(&self, digest: &Digest) -> Claims<'_> {
        let Critical { identity, image, .. } = &self.critical;
        Claims {
            is_about_image: image.docker_manifest_digest == *digest,
            digest: image.docker_manifest_digest.to_string(),
            repository: Some(&identity.docker_reference),
            annotations: self.optional.as_ref(),
        }
    }
}

/// Why bytes are not the payload of an image signature, of either format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Not JSON as civ accepts it, or not of the payload's form.
    #[error("signed payload is malformed: {0}")]
    Json(#[from] JsonError),
    /// A statement about an image that does not say that it is signed.
    #[error(
        "signed statement is of type {found:?}, not {SIGN_PREDICATE:?}: an attestation is no signature"
    )]
    Predicate {
        /// The predicate type found.
        found: String,
    },
    /// Something else than an in-toto statement.
    #[error("signed payload is a {found:?}, not an in-toto statement")]
    Statement {
        /// The type found.
        found: String,
    },
    /// A statement about nothing, or about more than any real one.
    #[error("signed statement has no subject, or too many")]
    Subjects,
    /// A payload with another meaning.
    #[error("signed payload is a {found:?}, not a {TYPE:?}")]
    Type {
        /// The type found.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image() -> ImageId {
        let repository: civ_oci::Repository = "r.io/team/app".parse().unwrap();
        repository.image(Digest::sha256(b""))
    }

    #[test]
    fn writes_the_bytes_that_cosign_writes() {
        let plain = SimpleSigning::new(&image(), &BTreeMap::new()).to_bytes();
        assert_eq!(
            String::from_utf8(plain).unwrap(),
            r#"{"critical":{"identity":{"docker-reference":"r.io/team/app"},"image":{"docker-manifest-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"type":"cosign container image signature"},"optional":null}"#
        );
        let annotations = [("b", "<&>\u{2028}"), ("a", "True"), ("ü", "\"\\")];
        let annotations = annotations.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let annotated = SimpleSigning::new(&image(), &annotations).to_bytes();
        assert!(
            String::from_utf8(annotated.clone())
                .unwrap()
                .ends_with(r#""optional":{"a":"True","b":"\u003c\u0026\u003e\u2028","ü":"\"\\"}}"#)
        );
        let read = SimpleSigning::parse(&annotated).unwrap();
        let claims = read.claims_about(&image().digest);
        assert_eq!(claims.annotation("b"), Some(&"<&>\u{2028}".into()));
    }

    #[test]
    fn reads_nothing_that_deviates() {
        let good =
            String::from_utf8(SimpleSigning::new(&image(), &BTreeMap::new()).to_bytes()).unwrap();
        let optional = good.replace("null", r#"{"creator":"x","timestamp":17,"a":[1]}"#);
        for text in [&good, &optional] {
            SimpleSigning::parse(text.as_bytes()).unwrap();
        }
        for text in [
            good.replace(TYPE, "atomic container signature"),
            good.replace("\"optional\":null", "\"optional\":1"),
            good.replace("\"optional\":null", "\"optional\":{\"a\":\"1\",\"a\":\"2\"}"),
            good.replace("{\"critical\"", "{\"extra\":1,\"critical\""),
            good.replace("\"type\":", "\"extra\":1,\"type\":"),
            good.replace("\"type\":", "\"type\":\"x\",\"type\":"),
            good.replace("\"type\":", "\"t\\u0079pe\":\"x\",\"type\":"),
            good.replace("docker-manifest-digest", "Docker-Manifest-Digest"),
            good.replace("sha256:", "SHA256:"),
            format!("{good}{good}"),
            format!("\u{feff}{good}"),
            good.replace('}', ""),
        ] {
            assert!(SimpleSigning::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(annotations in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4)) {
            let payload = SimpleSigning::new(&image(), &annotations);
            let read = SimpleSigning::parse(&payload.to_bytes()).unwrap();
            prop_assert_eq!(&read, &payload);
            for (key, value) in annotations {
                let claims = read.claims_about(&image().digest);
                prop_assert_eq!(claims.annotation(&key), Some(&value.into()));
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SimpleSigning::parse(&bytes);
        }
    }
}
