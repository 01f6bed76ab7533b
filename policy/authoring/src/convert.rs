//! Other tools' policies as documents of `cosign-image-verifier`, for what of them maps.
//!
//! What comes out never accepts an image that the source refuses. A rule that cannot be said in civ's
//! terms is left out, so that its images are refused, and named; where a wider rule would then accept
//! them, there is no result at all.
//!
//! | module | what it reads |
//! |---|---|
//! | `cluster_image_policy` | sigstore policy-controller's `ClusterImagePolicy` (YAML) |
//! | `containers_policy` | `policy.json` of podman, CRI-O and skopeo, containers-policy.json(5) |
//! | `talos` | Talos' `ImageVerificationConfig` (YAML) |
//! | `plan` | the statements that come out, and what must not be among them |

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use crate::{Document, DocumentError};
use crate::{Kind, located};
use plan::Plan;

mod cluster_image_policy;
mod containers_policy;
mod plan;
mod talos;

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// sigstore policy-controller's.
    ClusterImagePolicy,
    /// containers-policy.json(5).
    ContainersPolicy,
    /// Talos'.
    Talos,
}

/// A policy in civ's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The document, which `cosign-image-verifier` accepts.
    pub document: String,
    /// What is not as it was.
    pub notes: Vec<Note>,
}

impl Converted {
    /// Was everything converted?
    pub fn is_complete(&self) -> bool {
        self.notes.iter().all(|note| note.kind == NoteKind::Changed)
    }
}

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Whether it is there at all.
    pub kind: NoteKind,
    /// Where in the source it is.
    pub place: String,
    /// What became of it: one line.
    pub message: String,
}

/// What became of a part of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteKind {
    /// It is there, and means something stricter than it did.
    Changed,
    /// It is left out, so that what it accepted is refused.
    Lost,
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Lost => "not converted",
        })
    }
}

/// Finds out whose policy `text` is.
pub fn detect(text: &str) -> Option<Source> {
    let has =
        |document: &Json, kind: &str| document.get("kind").and_then(Json::as_str) == Some(kind);
    let documents = documents(text).ok()?;
    documents.iter().find_map(|document| {
        if has(document, "ClusterImagePolicy") {
            Some(Source::ClusterImagePolicy)
        } else if has(document, "ImageVerificationConfig") {
            Some(Source::Talos)
        } else if document.get("default").is_some_and(Json::is_array) {
            Some(Source::ContainersPolicy)
        } else {
            None
        }
    })
}

/// Converts a policy. `read_key` gives the contents of a key's file, of which only containers-policy.json
/// names any.
pub fn convert(
    source: Source,
    text: &str,
    read_key: &dyn Fn(&str) -> Option<String>,
) -> Result<Converted, ConvertError> {
    let plan = match source {
        Source::ClusterImagePolicy => cluster_image_policy::plan(&documents(text)?),
        Source::Talos => talos::plan(&documents(text)?),
        Source::ContainersPolicy => {
            // Strict as its own parser is: duplicate keys and trailing bytes refuse.
            located::parse(text)
                .map_err(|error| ConvertError::Json { message: error.to_string() })?;
            let policy = serde_json::from_str(text)
                .map_err(|error| ConvertError::Json { message: error.to_string() })?;
            containers_policy::plan(&policy, read_key)
        }
    };
    finish(plan)
}

fn finish(plan: Plan) -> Result<Converted, ConvertError> {
    if let Some(conflict) = plan.conflict() {
        return Err(conflict);
    }
    if plan.statements.is_empty() {
        return Err(ConvertError::Nothing { notes: plan.notes });
    }
    let document = plan.document();
    Document::parse(Kind::Cosign, document.as_bytes())?;
    Ok(Converted { document, notes: plan.notes })
}

/// The documents of a YAML stream. JSON is YAML.
fn documents(text: &str) -> Result<Vec<Json>, ConvertError> {
    serde_saphyr::from_multiple(text)
        .map_err(|error| ConvertError::Yaml { message: error.to_string() })
}

/// A member of `object` that is none of `known`: a rule that says more than is understood.
fn unknown<'j>(object: &'j Json, known: &[&str]) -> Option<&'j str> {
    let members = object.as_object()?.iter();
    let stated = members.filter(|(_, value)| !value.is_null());
    stated.map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
}

/// The elements of an array at `pointer`, with their places; none if there is none.
fn elements<'j>(object: &'j Json, pointer: &str) -> Vec<(String, &'j Json)> {
    let name = pointer.trim_start_matches('/').replace('/', ".");
    let array = object.pointer(pointer).and_then(Json::as_array).into_iter().flatten();
    array.enumerate().map(|(index, value)| (format!("{name}[{index}]"), value)).collect()
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Two rules would mean something else side by side in civ's document.
    #[error(
        "{first} and {second} speak of the same images, and in civ's document {second} would decide where the source has it otherwise; make their patterns disjoint"
    )]
    Conflict {
        /// A rule.
        first: String,
        /// The rule that would count.
        second: String,
    },
    /// Not JSON.
    #[error("not JSON: {message}")]
    Json {
        /// What is wrong with it.
        message: String,
    },
    /// Nothing maps.
    #[error("nothing in it can be said in civ's document")]
    Nothing {
        /// Why not.
        notes: Vec<Note>,
    },
    /// The result would be refused.
    #[error("the verifier would refuse the result: {0}")]
    Result(#[from] DocumentError),
    /// Not YAML.
    #[error("not YAML: {message}")]
    Yaml {
        /// What is wrong with it.
        message: String,
    },
}
