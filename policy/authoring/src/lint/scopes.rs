//! Scopes that mean less or more than they seem to.

use civ_policy::Scope;

use super::{Findings, Statement, statements};
use crate::Kind;
use crate::located::Node;

/// Registries in which anybody may have a repository, each with the repositories of somebody whom
/// nobody knows.
const STRANGERS: [(&str, &str); 11] = [
    ("docker.io", "docker.io/stranger0/**"),
    ("gcr.io", "gcr.io/stranger0/**"),
    ("gcr.io", "*.gcr.io/stranger0/**"),
    ("ghcr.io", "ghcr.io/stranger0/**"),
    ("pkg.dev", "*.pkg.dev/stranger0/**"),
    ("public.ecr.aws", "public.ecr.aws/stranger0/**"),
    ("quay.io", "quay.io/stranger0/**"),
    ("registry.gitlab.com", "registry.gitlab.com/stranger0/**"),
    ("Amazon ECR", "000000000000.dkr.ecr.*.amazonaws.com/**"),
    ("Amazon ECR", "000000000000.dkr.ecr.*.amazonaws.com.cn/**"),
    ("Azure", "stranger0.azurecr.io/**"),
];

/// The most scopes that are compared with each other: each is with each.
const COMPARED_MAX: usize = 2_000;

/// A scope, and whose it is.
struct Stated<'n> {
    statement: usize,
    scope: Scope,
    node: &'n Node,
}

pub(super) fn add(findings: &mut Findings<'_>, kind: Kind, root: &Node) {
    let statements = statements(root);
    for statement in &statements {
        check_everything(findings, statement);
    }
    // The Notary Project's scopes have no wildcards.
    if kind != Kind::Notation {
        let stated = stated(&statements);
        check_open_to_all(findings, &statements, &stated);
        match stated.get(COMPARED_MAX) {
            None => {
                check_redundant(findings, &stated);
                check_shadowed(findings, &statements, &stated);
            }
            Some(first) => findings.warn(
                "scopes-not-compared",
                first.node,
                format_args!("more than {COMPARED_MAX} scopes are not compared with each other, so that redundant and shadowed ones are not told; use patterns instead of names"),
            ),
        }
    }
}

fn stated<'n>(statements: &[Statement<'n>]) -> Vec<Stated<'n>> {
    let of_one = |(index, statement): (usize, &Statement<'n>)| {
        let nodes = statement.scopes.iter();
        let stated = nodes.filter_map(move |node| {
            let scope = node.as_str()?.parse().ok()?;
            Some(Stated { statement: index, scope, node })
        });
        stated.collect::<Vec<_>>()
    };
    statements.iter().enumerate().flat_map(of_one).collect()
}

/// Whoever names an image chooses its registry: what is let pass everywhere is let pass for everybody.
fn check_everything(findings: &mut Findings<'_>, statement: &Statement<'_>) {
    let Some(everything) = statement.scopes.iter().find(|scope| scope.as_str() == Some("*")) else {
        return;
    };
    let name = statement.name;
    match statement.level {
        "skip" => findings.warn(
            "skip-everywhere",
            everything,
            format_args!("statement {name:?} skips every repository that no other statement names, and whoever names an image chooses its registry; name the repositories to skip"),
        ),
        "audit" => findings.warn(
            "audit-everywhere",
            everything,
            format_args!("statement {name:?} refuses nothing, wherever an image comes from; once its record shows no surprises, make it strict"),
        ),
        _ => {}
    }
}

fn check_open_to_all(
    findings: &mut Findings<'_>,
    statements: &[Statement<'_>],
    stated: &[Stated<'_>],
) {
    for Stated { statement, scope, node } in stated {
        let skips = statements.get(*statement).is_some_and(|statement| statement.level == "skip");
        let open = STRANGERS.into_iter().find(|(_, stranger)| {
            scope.to_string() != "*"
                && stranger.parse::<Scope>().is_ok_and(|stranger| scope.overlaps(&stranger))
        });
        if let (true, Some((registry, _))) = (skips, open) {
            findings.warn(
                "skip-open-registry",
                node,
                format_args!("everybody may push to some repository of {registry}, and {scope} skips them all; name the repositories, organisations or accounts to skip"),
            );
        }
    }
}

/// A scope beside a wider one of its own statement decides nothing, unless a third comes between.
fn check_redundant(findings: &mut Findings<'_>, stated: &[Stated<'_>]) {
    for narrow in stated {
        let is_wider = |wide: &&Stated<'_>| {
            wide.statement == narrow.statement
                && wide.scope != narrow.scope
                && wide.scope.covers(&narrow.scope)
        };
        let Some(wide) = stated.iter().find(is_wider) else { continue };
        let between = |other: &Stated<'_>| {
            other.statement != narrow.statement
                && other.scope.overlaps(&narrow.scope)
                && other.scope.is_closer_than(&wide.scope)
        };
        if !stated.iter().any(between) {
            let (scope, wide) = (&narrow.scope, &wide.scope);
            findings.warn(
                "redundant-scope",
                narrow.node,
                format_args!("{scope} adds nothing to {wide} of the same statement; remove it"),
            );
        }
    }
}

/// A scope all of whose repositories closer scopes speak of. One scope alone cannot shadow another, two
/// can: `a/*` and `a/*/**` are together all of `a/**`.
fn check_shadowed(
    findings: &mut Findings<'_>,
    statements: &[Statement<'_>],
    stated: &[Stated<'_>],
) {
    for (index, statement) in statements.iter().enumerate() {
        let own: Vec<_> = stated.iter().filter(|stated| stated.statement == index).collect();
        let is_shadowed = |one: &&&Stated<'_>| {
            let taken = |half: &Scope| {
                stated
                    .iter()
                    .any(|other| other.scope.covers(half) && other.scope.is_closer_than(&one.scope))
            };
            one.scope.halves().is_some_and(|halves| halves.iter().all(taken))
        };
        let shadowed: Vec<_> = own.iter().filter(is_shadowed).collect();
        for one in &shadowed {
            findings.warn(
                "shadowed-scope",
                one.node,
                format_args!("{} never counts: closer scopes are for all of its repositories; remove it or them", one.scope),
            );
        }
        if !own.is_empty() && shadowed.len() == own.len() {
            let name = statement.name;
            findings.warn(
                "unused-statement",
                statement.node,
                format_args!("statement {name:?} is for no repository, and what it lists counts nowhere; remove it or its shadow"),
            );
        }
    }
}
