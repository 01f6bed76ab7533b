//! Findings about trust policies: what their verifier refuses, and what it accepts but an operator
//! would hardly mean.
//!
//! Errors are the verifier's own. Warnings are each about something that costs security or the
//! operator's sleep, and say what to do.
//!
//! | module | what it finds |
//! |---|---|
//! | `refused` | what the verifier refuses, as much of it as can be told at once |
//! | `shape` | members that are unknown, missing or of the wrong type |
//! | `scopes` | scopes that mean less or more than they seem to |
//! | `cosign` | keys, thresholds and identities |
//! | `digestion` | lists of digests |
//! | `notation` | trust stores and identities |
//! | `together` | what only several documents can show |

use std::fmt;

use civ_policy::UtcTime;
use serde::Serialize;

use crate::Kind;
use crate::located::{self, Node, Position};

mod cosign;
mod digestion;
mod notation;
mod refused;
mod scopes;
mod shape;
mod together;

/// A document as it is written, to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The verifier that it is for; `None` if nobody knows, which is an error.
    pub kind: Option<Kind>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What was found about a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// In the order of their places.
    pub findings: Vec<Finding>,
    /// The length of the document in bytes.
    pub bytes: usize,
    /// Its length as base64, as Bottlerocket's settings hold it.
    pub base64_bytes: usize,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of finding it is, in kebab case; it stays the same from release to release.
    pub code: &'static str,
    /// Where it is.
    #[serde(flatten)]
    pub position: Position,
    /// What is so and what to do about it: one line.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The verifier refuses the document, and with it every pull.
    Error,
    /// The verifier accepts it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl Report {
    /// Does the verifier refuse the document?
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Judges documents that are used together on a node. `now` is for keys with a validity.
pub fn lint(documents: &[Written<'_>], now: UtcTime) -> Vec<Report> {
    let mut found: Vec<Findings<'_>> =
        documents.iter().map(|document| one(document, now)).collect();
    together::add(&mut found);
    found.into_iter().map(Findings::report).collect()
}

fn one<'a>(document: &Written<'a>, now: UtcTime) -> Findings<'a> {
    let mut findings = Findings {
        kind: document.kind,
        text: "",
        length: document.bytes.len(),
        root: None,
        found: Vec::new(),
    };
    match std::str::from_utf8(document.bytes) {
        Ok(text) => findings.text = text,
        Err(error) => {
            let valid = document.bytes.get(..error.valid_up_to()).unwrap_or_default();
            findings.text = std::str::from_utf8(valid).unwrap_or_default();
            let at = valid.len();
            findings.add(Severity::Error, "bad-json", at, "not UTF-8; save the file as UTF-8");
            return findings;
        }
    }
    if findings.text.starts_with('\u{feff}') {
        let message = "begins with a byte order mark; save it without";
        findings.add(Severity::Error, "bad-json", 0, message);
        return findings;
    }
    let root = match located::parse(findings.text) {
        Ok(root) => root,
        Err(error) => {
            let position = Position::of_error(findings.text, &error);
            let message = error.problem();
            let severity = Severity::Error;
            findings.found.push(Finding { severity, code: "bad-json", position, message });
            return findings;
        }
    };
    let Some(kind) = document.kind else {
        let message = "it could be for any verifier; say which with --kind, or put it into NAME/trustpolicy.json";
        findings.add(Severity::Error, "unknown-kind", root.place.start, message);
        return findings;
    };
    refused::add(&mut findings, kind, &root);
    let is_form = |finding: &Finding| matches!(finding.code, "bad-form" | "other-kind");
    if !findings.found.iter().any(is_form) {
        warn(&mut findings, kind, &root, now);
    }
    findings.root = Some(root);
    findings
}

fn warn(findings: &mut Findings<'_>, kind: Kind, root: &Node, now: UtcTime) {
    scopes::add(findings, kind, root);
    match kind {
        Kind::Cosign => cosign::add(findings, root, now),
        Kind::Digestion => digestion::add(findings, root),
        Kind::Notation => notation::add(findings, root),
        Kind::Annotations => {}
    }
}

/// A document, and what has been found about it so far.
struct Findings<'a> {
    kind: Option<Kind>,
    text: &'a str,
    length: usize,
    /// The document, unless it is no JSON.
    root: Option<Node>,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        at: usize,
        message: impl fmt::Display,
    ) {
        let position = Position::of(self.text, at);
        self.found.push(Finding { severity, code, position, message: message.to_string() });
    }

    fn warn(&mut self, code: &'static str, node: &Node, message: impl fmt::Display) {
        self.add(Severity::Warning, code, node.place.start, message);
    }

    fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn base64_bytes(&self) -> usize {
        self.length.div_ceil(3) * 4
    }

    fn report(mut self) -> Report {
        self.found.sort_by_key(|finding| finding.position);
        let base64_bytes = self.base64_bytes();
        Report { findings: self.found, bytes: self.length, base64_bytes }
    }
}

/// A statement, as far as its form allows to read it.
struct Statement<'n> {
    node: &'n Node,
    name: &'n str,
    level: &'n str,
    scopes: &'n [Node],
}

/// The statements of a document of whatever kind.
fn statements(root: &Node) -> Vec<Statement<'_>> {
    let statements = root.member("trustPolicies").map(Node::elements).unwrap_or_default();
    statements
        .iter()
        .map(|node| {
            let verification = node.member("signatureVerification");
            Statement {
                node,
                name: node.text("name").unwrap_or_default(),
                level: verification
                    .and_then(|verification| verification.text("level"))
                    .or_else(|| node.text("level"))
                    .unwrap_or("strict"),
                scopes: node.member("registryScopes").map(Node::elements).unwrap_or_default(),
            }
        })
        .collect()
}
