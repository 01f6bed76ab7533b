//! What only documents side by side can show.

use civ_policy::Scope;
use civ_policy::notation::RegistryScope;

use super::{Findings, statements};
use crate::Kind;
use crate::located::Node;
use crate::settings::USER_DATA_MAX;

pub(super) fn add(documents: &mut [Findings<'_>]) {
    check_annotations(documents);
    check_size(documents);
}

/// What a document says of who made an image: its scopes, and whether a failed check refuses there.
fn checked(document: &Findings<'_>) -> Vec<(Scope, bool)> {
    let (Some(root), false) = (&document.root, document.has_errors()) else { return Vec::new() };
    let mut scopes = Vec::new();
    match document.kind {
        Some(Kind::Cosign | Kind::Notation) => {}
        // What none of its statements is for, and is not listed, is refused.
        Some(Kind::Digestion) => scopes.extend("*".parse().map(|everything| (everything, true))),
        Some(Kind::Annotations) | None => return scopes,
    }
    for statement in statements(root) {
        let verification = statement.node.member("signatureVerification");
        let overrides = verification.and_then(|verification| verification.member("override"));
        let logs = overrides.is_some_and(|checks| checks.member("authenticity").is_some());
        let strict = statement.level == "strict" && !logs;
        let of_notation = |text: &str| match text.parse() {
            Ok(RegistryScope::Unreachable(_)) | Err(_) => None,
            Ok(_) => text.parse().ok(),
        };
        let parsed = statement.scopes.iter().filter_map(|node| match document.kind {
            Some(Kind::Notation) => of_notation(node.as_str()?),
            _ => node.as_str()?.parse().ok(),
        });
        scopes.extend(parsed.map(|scope| (scope, strict)));
    }
    scopes
}

/// An annotation that nobody vouches for says what whoever may push wants it to say.
fn check_annotations(documents: &mut [Findings<'_>]) {
    let all_checked: Vec<Vec<(Scope, bool)>> = documents.iter().map(checked).collect();
    let is_checked = |scope: &Scope| {
        all_checked.iter().any(|checked| {
            checked.iter().any(|(strict_scope, strict)| {
                let loosened = |(other, other_strict): &(Scope, bool)| {
                    !other_strict && other.overlaps(scope) && other.is_closer_than(strict_scope)
                };
                *strict && strict_scope.covers(scope) && !checked.iter().any(loosened)
            })
        })
    };
    let of_annotations = |document: &&mut Findings<'_>| document.kind == Some(Kind::Annotations);
    for document in documents.iter_mut().filter(of_annotations) {
        let Some(root) = document.root.take() else { continue };
        for statement in statements(&root).iter().filter(|statement| statement.level != "skip") {
            for node in statement.scopes {
                let scope = node.as_str().and_then(|text| text.parse::<Scope>().ok());
                let Some(scope) = scope.filter(|scope| !is_checked(scope)) else { continue };
                document.warn(
                    "unsigned-annotations",
                    node,
                    format_args!("whoever may push to {scope} writes its annotations; require signatures or digests of the same images at level strict, and give that document (cosign, notation or digestion) to lint, too"),
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
