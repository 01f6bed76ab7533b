//! What the verifier refuses.
//!
//! Its parser stops at the first error, as it should. To tell more at once, each statement is put to it
//! alone, then those that repeat something with what they repeat, and then the rest together.

use std::collections::HashMap;

use civ_oci::strict_json::JsonError;
use civ_policy::Scope;
use civ_policy::notation::RegistryScope;
use serde_json::{Value as Json, json};

use super::{Findings, Severity, shape};
use crate::located::{Node, Position};
use crate::{Document, DocumentError};
use crate::{Kind, schema};

/// The most errors that are told of one document.
const FINDINGS_MAX: usize = 100;

pub(super) fn add(findings: &mut Findings<'_>, kind: Kind, root: &Node) {
    let Err(refusal) = Document::parse(kind, findings.text.as_bytes()) else { return };
    let looks_like = Kind::of_document(findings.text.as_bytes());
    if let Some(other) = looks_like.filter(|other| *other != kind) {
        let message = format!(
            "this is a document for {other}-image-verifier, and {kind}-image-verifier refuses it: {}",
            message(&refusal)
        );
        findings.add(Severity::Error, "other-kind", root.place.start, message);
    } else if refusal.json().is_some() {
        add_misfits(findings, kind, root, &refusal);
    } else if add_each(findings, kind, root).is_none() {
        add_refusal(findings, &refusal, refusal.subject().find(root));
    }
    if let Some(last) = findings.found.get(FINDINGS_MAX).map(|finding| finding.position) {
        findings.found.truncate(FINDINGS_MAX);
        let message = format!("more than {FINDINGS_MAX} errors; mend these first");
        let (severity, code) = (Severity::Error, "too-many-errors");
        findings.found.push(super::Finding { severity, code, position: last, message });
    }
}

/// All that is wrong with the document's form; at least what the verifier says.
fn add_misfits(findings: &mut Findings<'_>, kind: Kind, root: &Node, refusal: &DocumentError) {
    let schema: Json = serde_json::from_str(schema::of(kind)).unwrap_or_default();
    let misfits = shape::misfits(&schema, root);
    if let (true, Some(error)) = (misfits.is_empty(), refusal.json()) {
        let position = Position::of_error(findings.text, error);
        let (severity, message) = (Severity::Error, error.problem());
        findings.found.push(super::Finding { severity, code: "bad-form", position, message });
    }
    for misfit in misfits.into_iter().take(FINDINGS_MAX + 1) {
        findings.add(Severity::Error, "bad-form", misfit.at, misfit.message);
    }
}

/// One error of each statement, and those between statements. `None` if nothing could be told so.
fn add_each(findings: &mut Findings<'_>, kind: Kind, root: &Node) -> Option<()> {
    let mut document: Json = serde_json::from_str(findings.text).ok()?;
    let before = findings.found.len();
    if document.get("version")? != "1.0" {
        add_next(findings, kind, root, &document);
        *document.get_mut("version")? = json!("1.0");
    }
    let statements = document.get_mut("trustPolicies").map(Json::take);
    let nodes = root.member("trustPolicies").map(Node::elements).unwrap_or_default();
    let mut accepted = Vec::new();
    for (statement, node) in statements.as_ref()?.as_array()?.iter().zip(nodes) {
        match parse(kind, &[statement]) {
            Err(refusal) if refusal.subject().statement.is_some() => {
                add_refusal(findings, &refusal, refusal.subject().find_from(node));
            }
            _ => accepted.push((statement, node)),
        }
        if findings.found.len() > FINDINGS_MAX {
            return Some(());
        }
    }
    let Some(accepted) = add_repeated(findings, kind, &accepted) else { return Some(()) };
    if !accepted.is_empty() {
        *document.get_mut("trustPolicies")? = accepted.into_iter().cloned().collect();
        add_next(findings, kind, root, &document);
    }
    (findings.found.len() > before).then_some(())
}

/// What repeats an earlier statement's name or scope, in the words that the verifier has for the two of
/// them. The others; `None` once there are enough errors.
fn add_repeated<'j>(
    findings: &mut Findings<'_>,
    kind: Kind,
    statements: &[(&'j Json, &Node)],
) -> Option<Vec<&'j Json>> {
    let mut known: HashMap<String, &Json> = HashMap::new();
    let mut kept = Vec::new();
    for (statement, node) in statements {
        let marks = marks(kind, statement);
        let first = marks.iter().find_map(|mark| known.get(mark));
        if let Some(Err(refusal)) = first.map(|first| parse(kind, &[first, statement])) {
            add_refusal(findings, &refusal, refusal.subject().find_from(node));
        } else {
            known.extend(marks.into_iter().map(|mark| (mark, *statement)));
            kept.push(*statement);
        }
        if findings.found.len() > FINDINGS_MAX {
            return None;
        }
    }
    Some(kept)
}

/// What no two statements may have in common.
fn marks(kind: Kind, statement: &Json) -> Vec<String> {
    let normalised = |text: &str| match kind {
        Kind::Notation => text.parse().map(|scope: RegistryScope| scope.to_string()).ok(),
        _ => text.parse().map(|scope: Scope| scope.to_string()).ok(),
    };
    let scopes = statement.get("registryScopes").and_then(Json::as_array).into_iter().flatten();
    let scopes = scopes.filter_map(|scope| Some(format!("scope {}", normalised(scope.as_str()?)?)));
    let name = statement.get("name").and_then(Json::as_str).map(|name| format!("name {name}"));
    scopes.chain(name).collect()
}

fn parse(kind: Kind, statements: &[&Json]) -> Result<Document, DocumentError> {
    let document = json!({ "version": "1.0", "trustPolicies": statements });
    Document::parse(kind, document.to_string().as_bytes())
}

/// What the verifier says of `document` as it is now.
fn add_next(findings: &mut Findings<'_>, kind: Kind, root: &Node, document: &Json) {
    if let Err(refusal) = Document::parse(kind, document.to_string().as_bytes()) {
        add_refusal(findings, &refusal, refusal.subject().find(root));
    }
}

fn add_refusal(findings: &mut Findings<'_>, refusal: &DocumentError, node: &Node) {
    findings.add(Severity::Error, refusal.code(), node.place.start, message(refusal));
}

fn message(refusal: &DocumentError) -> String {
    refusal.json().map_or_else(|| refusal.to_string(), JsonError::problem)
}
