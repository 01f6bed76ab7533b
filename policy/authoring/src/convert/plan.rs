//! The statements that come out, and what must not be among them.

use civ_oci::reference::{DOCKER_HUB, reads_as_host};
use civ_policy::Scope;
use serde::Serialize;

use super::{ConvertError, Note, NoteKind};

/// Which of two rules that speak of the same image decides in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precedence {
    /// Both: an image must satisfy all.
    All,
    /// The one that is stated first.
    First,
    /// The one that describes the image more closely, as with civ.
    Closest,
}

/// What a policy comes to.
pub(super) struct Plan {
    pub(super) precedence: Precedence,
    pub(super) statements: Vec<Statement>,
    /// What the source refuses, or what cannot be said.
    pub(super) refused: Vec<Refused>,
    pub(super) notes: Vec<Note>,
}

/// A statement of civ's document.
#[derive(Clone)]
pub(super) struct Statement {
    /// Where in the source it is from.
    pub(super) place: String,
    /// Its turn in the source.
    pub(super) turn: usize,
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
    pub(super) demand: Demand,
}

/// What a statement asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Demand {
    Skip,
    Signatures {
        level: &'static str,
        keys: Vec<Key>,
        threshold: usize,
        identity: Option<serde_json::Value>,
        signature_repository: Option<String>,
    },
}

impl Demand {
    /// A signature by any one of `keys`, beside the image and for its name.
    pub(super) fn signed_by(level: &'static str, keys: Vec<Key>) -> Self {
        Self::Signatures { level, keys, threshold: 1, identity: None, signature_repository: None }
    }
}

/// A key of civ's document.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Key {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kms: Option<String>,
    /// In PEM.
    #[serde(rename = "publicKey", skip_serializing_if = "Option::is_none")]
    pub(super) pem: Option<String>,
}

/// Images that no statement may accept.
pub(super) struct Refused {
    pub(super) place: String,
    pub(super) turn: usize,
    pub(super) images: Images,
}

/// Which images.
pub(super) enum Images {
    Scope(Scope),
    /// Those whose names begin so. More than there are, if in doubt.
    Prefix(String),
    /// Those of a pattern whose registry civ spells otherwise: the source tells them from others that
    /// for civ are the same.
    Misspelt(String),
}

impl Plan {
    pub(super) fn new(precedence: Precedence) -> Self {
        Self { precedence, statements: Vec::new(), refused: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn note(&mut self, kind: NoteKind, place: &str, message: impl Into<String>) {
        self.notes.push(Note { kind, place: place.to_owned(), message: message.into() });
    }

    /// Leaves a rule out, and remembers for which images.
    pub(super) fn refuse(&mut self, place: &str, turn: usize, images: Images) {
        self.refused.push(Refused { place: place.to_owned(), turn, images });
    }

    /// A statement that would decide about images that the source decides about otherwise.
    pub(super) fn conflict(&self) -> Option<ConvertError> {
        let conflict = |first: &str, second: &str| {
            Some(ConvertError::Conflict { first: first.to_owned(), second: second.to_owned() })
        };
        for statement in &self.statements {
            for scope in &statement.scopes {
                for refused in &self.refused {
                    if self.precedence == Precedence::All && refused.turn == statement.turn {
                        continue;
                    }
                    if let Images::Misspelt(pattern) = &refused.images {
                        return Some(ConvertError::Spelling {
                            place: refused.place.clone(),
                            pattern: pattern.clone(),
                        });
                    }
                    let is_meant = match (self.precedence, &refused.images) {
                        (Precedence::First, _) => statement.turn < refused.turn,
                        (Precedence::Closest, Images::Scope(other)) => scope.is_closer_than(other),
                        (Precedence::Closest, Images::Prefix(prefix)) => {
                            scope.to_string().strip_suffix("/**") != Some(prefix.as_str())
                                && literal(scope).len() > prefix.len()
                        }
                        (Precedence::All, _) | (Precedence::Closest, Images::Misspelt(_)) => false,
                    };
                    if !is_meant && refused.images.overlap(scope) {
                        return conflict(&refused.place, &statement.place);
                    }
                }
                for other in self.statements.iter().filter(|other| other.turn < statement.turn) {
                    let clashes = |earlier: &Scope| {
                        earlier.overlaps(scope)
                            && match self.precedence {
                                Precedence::All => true,
                                Precedence::First => scope.is_closer_than(earlier),
                                Precedence::Closest => false,
                            }
                    };
                    if other.demand != statement.demand && other.scopes.iter().any(clashes) {
                        return conflict(&other.place, &statement.place);
                    }
                }
            }
        }
        None
    }

    /// Statements whose scopes an earlier one has, under [`Precedence::First`], never count: without them.
    pub(super) fn without_repeated_scopes(&mut self) {
        let mut known: Vec<Scope> = Vec::new();
        for statement in &mut self.statements {
            statement.scopes.retain(|scope| {
                let is_new = !known.contains(scope);
                if is_new {
                    known.push(scope.clone());
                }
                is_new
            });
        }
        self.statements.retain(|statement| !statement.scopes.is_empty());
    }

    /// The document, formatted, ending in a newline.
    pub(super) fn document(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        let statements = self.statements.iter().map(|statement| {
            let mut name = statement.name.clone();
            while names.contains(&name) {
                name.push('\'');
            }
            names.push(name.clone());
            written(statement, name)
        });
        let document = Document { version: "1.0", trust_policies: statements.collect() };
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    }
}

/// The scope that is written `text`, letter for letter. The sources match names as text, so that one
/// which civ would spell otherwise is for other images.
pub(super) fn scope_spelt(text: &str) -> Option<Scope> {
    text.parse().ok().filter(|scope: &Scope| scope.to_string() == text)
}

impl Images {
    /// Those that a pattern may be for whose wildcards are `*`, and whose names begin with a registry.
    pub(super) fn of_pattern(pattern: &str) -> Self {
        let literal = pattern.split('*').next().unwrap_or_default();
        let registry = literal.split_once('/').filter(|(host, _)| reads_as_host(host));
        // Without a registry, what matches may begin with anything.
        let Some((host, path)) = registry else { return Self::Prefix(String::new()) };
        if scope_spelt(&format!("{host}/a/a")).is_none() {
            return Self::Misspelt(pattern.to_owned());
        }
        // `docker.io/nginx` is `docker.io/library/nginx` as well.
        let is_short = host == DOCKER_HUB && !path.contains('/');
        Self::Prefix(if is_short { format!("{host}/") } else { literal.to_owned() })
    }

    fn overlap(&self, scope: &Scope) -> bool {
        match self {
            Self::Scope(other) => other.overlaps(scope),
            Self::Prefix(prefix) => {
                let literal = literal(scope);
                literal.starts_with(prefix.as_str()) || prefix.starts_with(&literal)
            }
            Self::Misspelt(_) => true,
        }
    }
}

/// What all names of a scope begin with.
fn literal(scope: &Scope) -> String {
    scope.to_string().split('*').next().unwrap_or_default().to_owned()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: &'static str,
    trust_policies: Vec<Written>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    name: String,
    registry_scopes: Vec<String>,
    signature_verification: Level,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_identity: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature_repository: Option<String>,
}

#[derive(Serialize)]
struct Level {
    level: &'static str,
}

fn written(statement: &Statement, name: String) -> Written {
    let registry_scopes = statement.scopes.iter().map(ToString::to_string).collect();
    match statement.demand.clone() {
        Demand::Skip => Written {
            name,
            registry_scopes,
            signature_verification: Level { level: "skip" },
            keys: Vec::new(),
            threshold: None,
            signed_identity: None,
            signature_repository: None,
        },
        Demand::Signatures { level, keys, threshold, identity, signature_repository } => Written {
            name,
            registry_scopes,
            signature_verification: Level { level },
            keys,
            threshold: (threshold > 1).then_some(threshold),
            signed_identity: identity,
            signature_repository,
        },
    }
}
