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
//! | `members` | the members of their objects, by type |
//! | `plan` | the statements that come out, and what must not be among them |

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use crate::yaml::{self, YamlError};
use crate::{Document, DocumentError};
use crate::{Kind, located};
use plan::Plan;

mod cluster_image_policy;
mod containers_policy;
mod members;
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
    yaml::documents(text).ok()?.iter().find_map(source_of)
}

fn source_of(document: &Json) -> Option<Source> {
    match document.get("kind").and_then(Json::as_str) {
        Some("ClusterImagePolicy" | "ClusterImagePolicyList") => Some(Source::ClusterImagePolicy),
        Some("List") => document.get("items")?.as_array()?.iter().find_map(source_of),
        Some("ImageVerificationConfig") => Some(Source::Talos),
        _ => document
            .get("default")
            .filter(|value| value.is_array())
            .map(|_| Source::ContainersPolicy),
    }
}

/// Converts a policy. `read_key` gives the contents of a key's file, of which only containers-policy.json
/// names any.
pub fn convert(
    source: Source,
    text: &str,
    read_key: &dyn Fn(&str) -> Option<String>,
) -> Result<Converted, ConvertError> {
    let plan = match source {
        Source::ClusterImagePolicy => cluster_image_policy::plan(&yaml::documents(text)?)?,
        Source::Talos => talos::plan(&yaml::documents(text)?)?,
        Source::ContainersPolicy => {
            // Strict as its own parser is: duplicate keys and trailing bytes refuse.
            located::parse(text)
                .map_err(|error| ConvertError::Json { message: error.to_string() })?;
            let policy = serde_json::from_str(text)
                .map_err(|error| ConvertError::Json { message: error.to_string() })?;
            containers_policy::plan(&policy, read_key)?
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
    /// Two documents of which the tool takes one, or one document of something else.
    #[error("{place} is {found}, and civ converts {expected}; give it that alone")]
    Document {
        /// Which it is.
        place: String,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A member is of another type than the tool takes.
    #[error("{place} is not {expected}")]
    Type {
        /// Where it is.
        place: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A rule for names that are spelt otherwise than civ spells them.
    #[error(
        "{place} is for {pattern:?}, whose registry civ spells otherwise, so that other rules would decide about its images; write the registry in lower case, without :443, and Docker Hub as the tool itself does"
    )]
    Spelling {
        /// The rule.
        place: String,
        /// Its pattern.
        pattern: String,
    },
    /// Not YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}
