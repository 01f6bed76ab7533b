//! The statement that a cosign bundle signs: an in-toto statement
//! ([in-toto attestation, v1](https://github.com/in-toto/attestation/tree/main/spec/v1)) whose
//! predicate says nothing but "signed".
//!
//! The same key may make other statements about an image ("it has this bill of materials", "it has
//! these vulnerabilities"), and none of them is a signature: only one predicate type is read here
//! (cosign itself does not check it when it verifies).

use std::collections::BTreeMap;

use civ_oci::{Digest, ImageId, strict_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Claims, PayloadError};

/// The predicate type of an image signature.
pub const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The statement's own type, as written.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The types read.
const STATEMENTS: [&str; 2] = [STATEMENT, "https://in-toto.io/Statement/v0.1"];
/// The most subjects of a statement, as sigstore-go has it.
const SUBJECTS_MAX: usize = 1024;
/// The most digests of a subject, as sigstore-go has it.
const DIGESTS_MAX: usize = 32;

/// A statement that some images are signed. Its content is a claim: see
/// [`check_claims`](crate::check_claims).
#[derive(Clone, Debug, PartialEq)]
pub struct ImageStatement {
    subjects: Vec<Subject>,
}

/// The document. Fields in the order in which cosign writes them.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "_type")]
    r#type: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    /// Absent in what cosign 3.0.0 to 3.0.4 wrote.
    #[serde(default)]
    predicate: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Subject {
    /// cosign writes none; civ writes the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    digest: BTreeMap<String, String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Value>>,
}

impl ImageStatement {
    /// The statement that says: this is `image`, in its repository, with these annotations.
    pub fn new(image: &ImageId, annotations: &BTreeMap<String, String>) -> Self {
        let digest = (image.digest.algorithm().to_string(), image.digest.hex().to_owned());
        let annotations =
            annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        Self {
            subjects: vec![Subject {
                name: Some(image.repository.signing_name()),
                digest: [digest].into(),
                annotations: Some(annotations),
            }],
        }
    }

    /// Reads a statement, whose signature the caller has verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        let document: Document = strict_json::from_slice(bytes)?;
        if !STATEMENTS.contains(&document.r#type.as_str()) {
            return Err(PayloadError::Statement { found: document.r#type });
        }
        if document.predicate_type != SIGN_PREDICATE {
            return Err(PayloadError::Predicate { found: document.predicate_type });
        }
        let subjects = document.subject;
        let digests = subjects.iter().map(|subject| subject.digest.len()).max();
        match (subjects.len(), digests) {
            (1..=SUBJECTS_MAX, Some(1..=DIGESTS_MAX)) => Ok(Self { subjects }),
            _ => Err(PayloadError::Subjects),
        }
    }

    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        let document = Document {
            r#type: STATEMENT.to_owned(),
            subject: self.subjects.clone(),
            predicate_type: SIGN_PREDICATE.to_owned(),
            predicate: Value::Object(serde_json::Map::new()),
        };
        // Maps with string keys always serialise.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// What the statement claims about the image with `digest`: the first subject that has it
    /// counts, or if none has it the first of all.
    pub fn claims_about(&self, digest: &Digest) -> Claims<'_> {
        let algorithm = digest.algorithm().to_string();
        let is_meant = |subject: &&Subject| {
            subject.digest.get(&algorithm).is_some_and(|hex| hex == digest.hex())
        };
        let meant = self.subjects.iter().find(is_meant);
        let subject = meant.or(self.subjects.first());
        let stated = subject.and_then(|subject| subject.digest.iter().next());
        Claims {
            is_about_image: meant.is_some(),
            digest: stated.map(|(algorithm, hex)| format!("{algorithm}:{hex}")).unwrap_or_default(),
            repository: subject
                .and_then(|subject| subject.name.as_deref())
                .filter(|name| !name.is_empty()),
            annotations: subject.and_then(|subject| subject.annotations.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image() -> ImageId {
        let repository: civ_oci::Repository = "r.io/team/app".parse().unwrap();
        repository.image(Digest::sha256(b""))
    }

    fn text() -> String {
        let annotations = [("a".to_owned(), "True".to_owned())].into();
        String::from_utf8(ImageStatement::new(&image(), &annotations).to_bytes()).unwrap()
    }

    #[test]
    fn writes_the_statement_that_cosign_writes_with_the_repository_added() {
        assert_eq!(
            text(),
            r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"r.io/team/app","digest":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"annotations":{"a":"True"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}"#
        );
    }

    #[test]
    fn reads_what_cosign_has_written_over_time() {
        let good = text();
        for text in [
            good.clone(),
            good.replace("/v1\",\"subject", "/v0.1\",\"subject"),
            good.replace(",\"predicate\":{}", ""),
            good.replace("\"name\":\"r.io/team/app\",", ""),
            good.replace(",\"annotations\":{\"a\":\"True\"}", ""),
            good.replace("{\"a\":\"True\"}", "null"),
        ] {
            let statement = ImageStatement::parse(text.as_bytes()).unwrap();
            assert!(statement.claims_about(&image().digest).is_about_image, "{text}");
            assert!(!statement.claims_about(&Digest::sha256(b"x")).is_about_image, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_signature_of_an_image() {
        let good = text();
        let subject = good.split_once('[').unwrap().1.split_once(']').unwrap().0.to_owned();
        let subjects = |count: usize| vec![subject.clone(); count].join(",");
        let digests = |count: usize| {
            let digests: Vec<_> = (0..count).map(|n| format!(r#""x{n}":"""#)).collect();
            good.replacen("\"sha256\":", &format!("{},\"sha256\":", digests.join(",")), 1)
        };
        assert!(ImageStatement::parse(good.replace(&subject, &subjects(1024)).as_bytes()).is_ok());
        assert!(ImageStatement::parse(digests(31).as_bytes()).is_ok());
        for text in [
            good.replace(SIGN_PREDICATE, "https://slsa.dev/provenance/v1"),
            good.replace("Statement/v1", "Statement/v2"),
            good.replace(&subject, ""),
            good.replace(&subject, "null"),
            good.replace(&format!("[{subject}]"), "null"),
            good.replace(&subject, &subjects(1025)),
            digests(32),
            good.replacen("{\"sha256", "{\"sha256\":\"\",\"sha256", 1),
            good.replace("\"_type\"", "\"_TYPE\""),
            format!("{good} {good}"),
        ] {
            assert!(ImageStatement::parse(text.as_bytes()).is_err(), "{text:.300}");
        }
    }

    #[test]
    fn only_the_subject_that_is_meant_speaks() {
        let other = Digest::sha256(b"other");
        let text = text().replacen(
            "[{",
            &format!(
                r#"[{{"name":"r.io/other","digest":{{"sha256":"{}"}},"annotations":{{"b":"1"}}}},{{"#,
                other.hex()
            ),
            1,
        );
        let statement = ImageStatement::parse(text.as_bytes()).unwrap();
        let claims = statement.claims_about(&image().digest);
        assert_eq!((claims.repository, claims.annotation("b")), (Some("r.io/team/app"), None));
        assert_eq!(claims.annotation("a"), Some(&"True".into()));
        let claims = statement.claims_about(&other);
        assert_eq!((claims.repository, claims.annotation("a")), (Some("r.io/other"), None));
        let claims = statement.claims_about(&Digest::sha256(b"nobody"));
        assert!(!claims.is_about_image);
        assert_eq!(claims.digest, other.to_string());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(annotations in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4)) {
            let statement = ImageStatement::new(&image(), &annotations);
            prop_assert_eq!(ImageStatement::parse(&statement.to_bytes()).unwrap(), statement);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ImageStatement::parse(&bytes);
        }
    }
}
