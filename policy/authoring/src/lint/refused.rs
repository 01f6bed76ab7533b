//! What the verifier refuses.
//!
//! Its parser stops at the first error, as it should. To tell more at once, each statement is put to it
//! alone, and then those that it accepts together.

use serde_json::{Value as Json, json};

use super::{Findings, Severity, shape, without_place};
use crate::located::{Node, Position};
use crate::{Document, DocumentError};
use crate::{Kind, schema};

pub(super) fn add(findings: &mut Findings<'_>, root: &Node) {
    let Err(refusal) = Document::parse(findings.kind, findings.text.as_bytes()) else { return };
    let looks_like = Kind::of_document(findings.text.as_bytes());
    if let Some(other) = looks_like.filter(|other| *other != findings.kind) {
        let message = format!(
            "this is a document for {other}-image-verifier, and {}-image-verifier refuses it: {}",
            findings.kind,
            message(&refusal)
        );
        findings.add(Severity::Error, "other-kind", root.place.start, message);
    } else if refusal.json().is_some() {
        add_misfits(findings, root, &refusal);
    } else if add_each(findings, root).is_none() {
        add_refusal(findings, &refusal, refusal.subject().find(root));
    }
}

/// All that is wrong with the document's form; at least what the verifier says.
fn add_misfits(findings: &mut Findings<'_>, root: &Node, refusal: &DocumentError) {
    let schema: Json = serde_json::from_str(schema::of(findings.kind)).unwrap_or_default();
    let misfits = shape::misfits(&schema, root);
    if let (true, Some(error)) = (misfits.is_empty(), refusal.json()) {
        let position = Position::of_error(findings.text, error);
        let (severity, message) = (Severity::Error, without_place(error));
        findings.found.push(super::Finding { severity, code: "bad-form", position, message });
    }
    for misfit in misfits {
        findings.add(Severity::Error, "bad-form", misfit.at, misfit.message);
    }
}

/// One error of each statement, and those between statements. `None` if nothing could be told so.
fn add_each(findings: &mut Findings<'_>, root: &Node) -> Option<()> {
    let mut document: Json = serde_json::from_str(findings.text).ok()?;
    let before = findings.found.len();
    if document.get("version")? != "1.0" {
        add_next(findings, root, &document);
        *document.get_mut("version")? = json!("1.0");
    }
    let statements = document.get_mut("trustPolicies").map(Json::take);
    let nodes = root.member("trustPolicies").map(Node::elements).unwrap_or_default();
    let mut accepted = Vec::new();
    for (statement, node) in statements.as_ref()?.as_array()?.iter().zip(nodes) {
        *document.get_mut("trustPolicies")? = json!([statement]);
        match Document::parse(findings.kind, document.to_string().as_bytes()) {
            Err(refusal) if refusal.subject().statement.is_some() => {
                add_refusal(findings, &refusal, refusal.subject().find_from(node));
            }
            _ => accepted.push(statement.clone()),
        }
    }
    while !accepted.is_empty() {
        *document.get_mut("trustPolicies")? = Json::Array(accepted.clone());
        let Some(refusal) = add_next(findings, root, &document) else { break };
        let Some(name) = refusal.subject().statement else { break };
        let last = accepted.iter().rposition(|statement| statement["name"] == *name)?;
        accepted.remove(last);
    }
    (findings.found.len() > before).then_some(())
}

/// What the verifier says of `document` as it is now.
fn add_next(findings: &mut Findings<'_>, root: &Node, document: &Json) -> Option<DocumentError> {
    let refusal = Document::parse(findings.kind, document.to_string().as_bytes()).err()?;
    add_refusal(findings, &refusal, refusal.subject().find(root));
    Some(refusal)
}

fn add_refusal(findings: &mut Findings<'_>, refusal: &DocumentError, node: &Node) {
    findings.add(Severity::Error, refusal.code(), node.place.start, message(refusal));
}

fn message(refusal: &DocumentError) -> String {
    refusal.json().map_or_else(|| refusal.to_string(), without_place)
}
