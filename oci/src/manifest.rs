//! Manifests and indexes, told apart without guessing.
//!
//! A document that could be read as both (it has `layers` and `manifests`, or its body names another
//! type than its carrier), or whose fields some would find under other names (`Manifests` beside
//! `manifests`, which Go takes for one), is refused: two readers that disagree about what an image is are how an
//! image that was never checked gets run
//! ([CVE-2021-41190](https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh)).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::text::one_line;
use crate::{Descriptor, media_type, strict_json};

/// The largest manifest or index that civ reads, in bytes: the least that the distribution
/// specification asks registries to accept, and about what containerd reads.
pub const MANIFEST_MAX: u64 = 4 << 20;
/// The most of an unknown media type that is shown, in bytes.
const TYPE_SHOWN_MAX: usize = 100;

/// A parsed manifest or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// An image or artifact manifest.
    Manifest(Box<ImageManifest>),
    /// An image index (Docker: manifest list).
    Index(Box<ImageIndex>),
}

/// What civ reads in an image manifest. The bytes stay the truth; nothing is written from this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageManifest {
    /// The type of the document: OCI or Docker.
    pub media_type: String,
    /// The type of an artifact, where it is one.
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, in order.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    pub subject: Option<Descriptor>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// What civ reads in an image index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageIndex {
    /// The type of the document: OCI or Docker.
    pub media_type: String,
    /// The children, in order.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index is about.
    pub subject: Option<Descriptor>,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Untrusted {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Document {
    /// Parses `bytes`, whose digest the caller has compared, as what its carrier (a descriptor's
    /// `mediaType`, or a registry's `Content-Type`) says it is.
    pub fn parse(bytes: &[u8], declared: &str) -> Result<Self, DocumentError> {
        let declared = media_type::essence(declared);
        // What is of another type need have none of the fields.
        if !media_type::MANIFESTS.contains(&declared) {
            return Err(DocumentError::of_type(declared));
        }
        let document: Untrusted = strict_json::from_slice(bytes)?;
        if document.schema_version != 2 {
            return Err(DocumentError::SchemaVersion { found: document.schema_version });
        }
        if document.media_type.as_deref().is_some_and(|stated| stated != declared) {
            return Err(DocumentError::ConflictingType);
        }
        let media_type = declared.to_owned();
        let annotations = document.annotations.unwrap_or_default();
        match declared {
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
                match (document.config, document.layers, document.manifests) {
                    (Some(config), Some(layers), None) => {
                        Ok(Self::Manifest(Box::new(ImageManifest {
                            media_type,
                            artifact_type: document.artifact_type,
                            config,
                            layers,
                            subject: document.subject,
                            annotations,
                        })))
                    }
                    (_, _, Some(_)) => Err(DocumentError::Ambiguous),
                    _ => Err(DocumentError::Incomplete),
                }
            }
            media_type::OCI_INDEX | media_type::DOCKER_LIST => {
                match (document.manifests, document.config, document.layers) {
                    (Some(manifests), None, None) => Ok(Self::Index(Box::new(ImageIndex {
                        media_type,
                        manifests,
                        subject: document.subject,
                        annotations,
                    }))),
                    (None, _, _) => Err(DocumentError::Incomplete),
                    _ => Err(DocumentError::Ambiguous),
                }
            }
            _ => Err(DocumentError::of_type(declared)),
        }
    }
}

/// Why bytes are not a manifest or index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It has the fields of a manifest and of an index.
    #[error("manifest is ambiguous: it has the fields of a manifest and of an index")]
    Ambiguous,
    /// The body states another media type than its carrier.
    #[error("manifest states another media type than the registry")]
    ConflictingType,
    /// `config` and `layers`, or `manifests`, are missing.
    #[error("manifest is incomplete")]
    Incomplete,
    /// Not JSON as civ accepts it.
    #[error("manifest is malformed: {0}")]
    Json(#[from] strict_json::JsonError),
    /// Not schema version 2.
    #[error("manifest has schema version {found}; only 2 is known")]
    SchemaVersion {
        /// The version found.
        found: u64,
    },
    /// A manifest as Docker made them until 2016.
    #[error("Docker schema 1 manifest; only schema 2 and OCI are known")]
    SchemaOne,
    /// Neither an OCI nor a Docker (schema 2) manifest or index.
    #[error("not a manifest or index: {}", stated(declared))]
    UnknownType {
        /// The media type that its carrier states; empty if it states none.
        declared: String,
    },
}

impl DocumentError {
    /// For what is declared to be neither manifest nor index.
    fn of_type(declared: &str) -> Self {
        match declared {
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Self::SchemaOne,
            _ => Self::UnknownType { declared: declared.to_owned() },
        }
    }
}

fn stated(declared: &str) -> String {
    match declared {
        "" => "no media type is stated".to_owned(),
        _ => format!("its media type is {}", one_line(declared, TYPE_SHOWN_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

    const D: &str = r#"{"mediaType":"x/y","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;

    fn parse(body: &str, declared: &str) -> Result<Document, DocumentError> {
        Document::parse(body.replace("$D", D).as_bytes(), declared)
    }

    #[test]
    fn tells_manifests_from_indexes() {
        let manifest = r#"{"schemaVersion":2,"config":$D,"layers":[$D],"annotations":null}"#;
        let index = r#"{"schemaVersion":2,"manifests":[$D],"annotations":{"a":"b"}}"#;
        for declared in [OCI_MANIFEST, DOCKER_MANIFEST] {
            assert!(matches!(parse(manifest, declared), Ok(Document::Manifest(_))));
        }
        for declared in [OCI_INDEX, DOCKER_LIST, "application/vnd.oci.image.index.v1+json; x=y"] {
            assert!(matches!(parse(index, declared), Ok(Document::Index(_))));
        }
        assert!(matches!(parse(manifest, OCI_INDEX), Err(DocumentError::Incomplete)));
        assert!(matches!(parse(index, OCI_MANIFEST), Err(DocumentError::Ambiguous)));
    }

    #[test]
    fn refuses_documents_that_two_readers_would_read_differently() {
        for (body, declared) in [
            (r#"{"schemaVersion":2,"config":$D,"layers":[],"manifests":[$D]}"#, OCI_MANIFEST),
            (r#"{"schemaVersion":2,"config":$D,"layers":[],"manifests":[$D]}"#, OCI_INDEX),
            (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, OCI_INDEX),
        ] {
            assert!(matches!(parse(body, declared), Err(DocumentError::Ambiguous)), "{body}");
        }
        let other = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
        assert!(matches!(parse(&other, DOCKER_LIST), Err(DocumentError::ConflictingType)));
        assert!(matches!(
            parse(r#"{"schemaVersion":1,"manifests":[]}"#, OCI_INDEX),
            Err(DocumentError::SchemaVersion { found: 1 })
        ));
        assert!(matches!(
            parse(r#"{"schemaVersion":2,"manifests":[],"manifests":[$D]}"#, OCI_INDEX),
            Err(DocumentError::Json(_))
        ));
        assert!(matches!(
            parse(r#"{"spdxVersion":"SPDX-2.3"}"#, "application/spdx+json"),
            Err(DocumentError::UnknownType { .. })
        ));
    }

    #[test]
    fn an_unknown_type_is_named() {
        let v1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        for (declared, words) in [
            ("", "no media type is stated"),
            ("text/html; charset=utf-8", "its media type is text/html"),
            (v1, "Docker schema 1"),
        ] {
            let error = parse("<html>", declared).unwrap_err().to_string();
            assert!(error.contains(words), "{declared}: {error}");
        }
    }

    #[test]
    fn the_largest_size_there_is_is_read() {
        let entry = D.replace(":0}", ":9223372036854775807}");
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
        let Ok(Document::Index(index)) = parse(&index, OCI_INDEX) else { panic!("{index}") };
        assert_eq!(index.manifests[0].size, crate::descriptor::SIZE_MAX);
    }

    /// Go's `encoding/json`, and so containerd, would take the one for the other.
    #[test]
    fn refuses_keys_that_others_read_as_fields() {
        let entry = |more: &str| format!("{},{more}}}", D.trim_end_matches('}'));
        let index = |entry: &str, more: &str| {
            format!(r#"{{"schemaVersion":2,"manifests":[{entry}]{more}}}"#)
        };
        let manifest = |config: &str, more: &str| {
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{more}}}"#)
        };
        let platform = r#""platform":{"os":"unknown","architecture":"unknown""#;
        for (body, declared, field) in [
            (index(D, r#","Manifests":[$D]"#), OCI_INDEX, "manifests"),
            (index(D, r#","manife\u017fts":[$D]"#), DOCKER_LIST, "manifests"),
            (index(D, ",\"manife\u{17f}ts\":null"), OCI_INDEX, "manifests"),
            (index(D, r#","Annotations":{"a":"b"}"#), OCI_INDEX, "annotations"),
            (index(D, r#","Config":$D"#), OCI_INDEX, "config"),
            (index(D, r#","MediaType":"x""#), OCI_INDEX, "mediaType"),
            (index(D, r#","subJect":$D"#), OCI_INDEX, "subject"),
            (index(&entry(r#""Digest":"x""#), ""), OCI_INDEX, "digest"),
            (index(&entry(r#""SIZE":1"#), ""), OCI_INDEX, "size"),
            (index(&entry(r#""ArtifactType":"x""#), ""), OCI_INDEX, "artifactType"),
            (index(&entry(&format!(r#"{platform},"OS":"linux"}}"#)), ""), OCI_INDEX, "os"),
            (index(&entry(&format!(r#"{platform},"o\u017f":"linux"}}"#)), ""), OCI_INDEX, "os"),
            (index(&entry(&format!(r#"{platform},"Variant":"v8"}}"#)), ""), OCI_INDEX, "variant"),
            (index(&entry(r#""Platform":{"os":"linux"}"#), ""), OCI_INDEX, "platform"),
            (manifest(D, r#","Layers":[$D]"#), OCI_MANIFEST, "layers"),
            (manifest(D, r#","Manifests":[$D]"#), OCI_MANIFEST, "manifests"),
            (manifest(&entry(r#""Digest":"x""#), ""), DOCKER_MANIFEST, "digest"),
        ] {
            let error = parse(&body, declared).unwrap_err().to_string();
            assert!(error.contains(&format!(" is read as {field:?} by some")), "{body}: {error}");
        }
    }

    #[test]
    fn keys_of_annotations_are_data() {
        let annotated = D.replace('}', r#","annotations":{"a":"1","A":"2","digest":"x"}}"#);
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{annotated}],"annotations":{{"os":"","OS":"","Manifests":""}}}}"#
        );
        let Ok(Document::Index(index)) = parse(&index, OCI_INDEX) else { panic!("{index}") };
        assert_eq!(index.annotations.len(), 3);
        assert_eq!(index.manifests[0].annotations["A"], "2");
    }

    #[test]
    fn what_an_entry_leaves_empty_may_be_null() {
        let entry = D.replace('}', r#","annotations":null,"urls":null,"platform":null}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
        let Ok(Document::Index(index)) = parse(&index, OCI_INDEX) else { panic!("{index}") };
        assert!(index.manifests[0].annotations.is_empty());
    }

    #[test]
    fn one_odd_entry_makes_an_index_unreadable_and_is_pointed_at() {
        for (entry, words) in [
            (D.replace("sha256:", "blake3:"), "the algorithm must be sha256 or sha512"),
            (D.replace(r#","size":0"#, ""), "missing field `size`"),
            (r#"["x/y",0]"#.to_owned(), "invalid type: an array, expected an object"),
            ("null".to_owned(), "invalid type: null, expected an object"),
            (
                D.replace(":0}", ":9223372036854775808}"),
                "size 9223372036854775808 is more than 9223372036854775807 bytes",
            ),
            (D.replace(":0}", ":-1}"), "invalid value: integer `-1`"),
        ] {
            let index = format!(r#"{{"schemaVersion":2,"manifests":[{D},{entry}]}}"#);
            let error = parse(&index, OCI_INDEX).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("line 1, column "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_field_is_found_under_another_spelling(
            which in any::<prop::sample::Index>(),
            letters in any::<u64>(),
        ) {
            let document = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","artifactType":"a","annotations":{{}},"subject":{D},"manifests":[{{"mediaType":"x/y","digest":"sha256:{}","size":0,"data":"","urls":[],"annotations":{{}},"artifactType":"b","platform":{{"architecture":"a","os":"b","os.version":"c","variant":"d"}}}}]}}"#,
                "a".repeat(64)
            );
            parse(&document, OCI_INDEX).unwrap();
            let pieces: Vec<&str> = document.split("\":").collect();
            let at = which.index(pieces.len() - 1);
            let (before, key) = pieces[at].rsplit_once('"').unwrap();
            let before = pieces[..at].iter().copied().chain([before]).collect::<Vec<_>>().join("\":");
            let after = pieces[at + 1..].join("\":");
            let respelt: String = key
                .chars()
                .enumerate()
                .map(|(at, letter)| match (letters >> (at % 64) & 1, letter) {
                    (0, letter) => letter,
                    (_, 's') => '\u{17f}',
                    (_, 'k') => '\u{212a}',
                    (_, letter) if letter.is_ascii_uppercase() => letter.to_ascii_lowercase(),
                    (_, letter) => letter.to_ascii_uppercase(),
                })
                .collect();
            prop_assume!(respelt != key);
            let instead = format!("{before}\"{respelt}\":{after}");
            let beside = format!("{before}\"{respelt}\":null,\"{key}\":{after}");
            for text in [instead, beside] {
                let refusal = parse(&text, OCI_INDEX).unwrap_err().to_string();
                prop_assert!(refusal.contains(" by some"), "{}: {}", refusal, text);
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for declared in media_type::MANIFESTS {
                let _ = Document::parse(&bytes, declared);
            }
        }
    }
}
