//! What only documents side by side can show.

use civ_policy::Scope;

use super::{Findings, USER_DATA_MAX, statements};
use crate::Kind;
use crate::located::Node;

pub(super) fn add(documents: &mut [Findings<'_>]) {
    check_annotations(documents);
    check_size(documents);
}

/// Scopes of documents whose signatures are checked, and whether a failed check refuses there.
fn signed(documents: &[Findings<'_>]) -> Vec<(Scope, bool)> {
    let roots =
        documents.iter().filter(|document| document.kind == Kind::Cosign && !document.has_errors());
    let mut scopes = Vec::new();
    for root in roots.filter_map(|document| document.root.as_ref()) {
        for statement in statements(root) {
            let strict = statement.level == "strict";
            let parsed = statement.scopes.iter().filter_map(|node| node.as_str()?.parse().ok());
            scopes.extend(parsed.map(|scope| (scope, strict)));
        }
    }
    scopes
}

/// An annotation that nobody signed says what whoever may push wants it to say.
fn check_annotations(documents: &mut [Findings<'_>]) {
    let signed = signed(documents);
    let is_signed = |scope: &Scope| {
        signed.iter().any(|(strict_scope, strict)| {
            let loosened = |(other, other_strict): &(Scope, bool)| {
                !other_strict && other.overlaps(scope) && other.is_closer_than(strict_scope)
            };
            *strict && strict_scope.covers(scope) && !signed.iter().any(loosened)
        })
    };
    for document in documents.iter_mut().filter(|document| document.kind == Kind::Annotations) {
        let Some(root) = document.root.take() else { continue };
        for statement in statements(&root).iter().filter(|statement| statement.level != "skip") {
            for node in statement.scopes {
                let scope = node.as_str().and_then(|text| text.parse::<Scope>().ok());
                let Some(scope) = scope.filter(|scope| !is_signed(scope)) else { continue };
                document.warn(
                    "unsigned-annotations",
                    node,
                    format_args!("whoever may push to {scope} writes its annotations; require signatures of the same images at level strict, and give that cosign document to lint, too"),
                );
            }
        }
        document.root = Some(root);
    }
}

/// The documents of a node are in its user data together.
fn check_size(documents: &mut [Findings<'_>]) {
    let total: usize = documents.iter().map(Findings::base64_bytes).sum();
    let largest = documents.iter_mut().max_by_key(|document| document.length);
    let Some(largest) = largest.filter(|_| total > USER_DATA_MAX) else { return };
    let start = Node { place: 0..0, value: crate::located::Value::Null };
    largest.warn(
        "user-data-size",
        &start,
        format_args!("{total} bytes as base64, and EC2 takes {USER_DATA_MAX} bytes of user data in all; compress the user data with gzip, or let nodes fetch the policy: apiclient apply s3://BUCKET/KEY"),
    );
}
