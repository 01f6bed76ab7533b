//! Lists of digests.

use std::collections::BTreeSet;

use super::{Findings, Statement, statements};
use crate::located::Node;

pub(super) fn add(findings: &mut Findings<'_>, root: &Node) {
    let everywhere = digests(root);
    check_repeated(findings, everywhere);
    let everywhere: BTreeSet<&str> = everywhere.iter().filter_map(Node::as_str).collect();
    for statement in &statements(root) {
        check_statement(findings, statement, &everywhere);
    }
}

fn check_statement(
    findings: &mut Findings<'_>,
    statement: &Statement<'_>,
    everywhere: &BTreeSet<&str>,
) {
    let (name, listed) = (statement.name, digests(statement.node));
    check_repeated(findings, listed);
    for node in listed {
        if node.as_str().is_some_and(|digest| everywhere.contains(digest)) {
            findings.warn(
                "listed-everywhere",
                node,
                format_args!("this digest is trusted for every repository already, so listing it in statement {name:?} binds it to none; remove it here or there"),
            );
        }
    }
    let is_expanded = statement.node.member("images").is_some();
    if listed.is_empty() && !is_expanded && statement.level != "skip" {
        findings.warn(
            "lists-nothing",
            statement.node,
            format_args!("statement {name:?} lists no digest, so it trusts none for its repositories; list some, or remove it"),
        );
    }
}

fn check_repeated(findings: &mut Findings<'_>, listed: &[Node]) {
    let mut seen = BTreeSet::new();
    for node in listed {
        if node.as_str().is_some_and(|digest| !seen.insert(digest)) {
            findings.warn("repeated-digest", node, "this digest is in the list already; remove it");
        }
    }
}

fn digests(node: &Node) -> &[Node] {
    node.member("trustedDigests").map(Node::elements).unwrap_or_default()
}
