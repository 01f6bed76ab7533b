//! Talos' `ImageVerificationConfig` (`pkg/machinery/config/types/security/image_verification.go`): the
//! first rule whose pattern matches decides, an image that none matches is accepted, and `*` in a
//! pattern stands for any text.

use civ_policy::Scope;
use serde_json::Value as Json;

use super::plan::{Demand, Images, Key, Plan, Precedence, Statement};
use super::{NoteKind, elements, unknown};

pub(super) fn plan(documents: &[Json]) -> Plan {
    let mut plan = Plan::new(Precedence::First);
    let is_ours = |document: &&Json| {
        document.get("kind").and_then(Json::as_str) == Some("ImageVerificationConfig")
    };
    let rules = documents.iter().filter(is_ours).flat_map(|document| elements(document, "/rules"));
    for (turn, (place, rule)) in rules.enumerate() {
        add_rule(&mut plan, turn, &place, rule);
    }
    plan.without_repeated_scopes();
    let is_for_all =
        |statement: &Statement| statement.scopes.iter().any(|scope| scope.to_string() == "*");
    if !plan.statements.iter().any(is_for_all) {
        plan.note(
            NoteKind::Changed,
            "rules",
            "Talos accepts images that no rule matches, and civ refuses them; add a statement for \"*\" if that is meant",
        );
    }
    plan
}

fn add_rule(plan: &mut Plan, turn: usize, place: &str, rule: &Json) {
    let pattern = rule.get("image").and_then(Json::as_str).unwrap_or_default();
    let scope = scope_of(pattern);
    let images = || match scope_of(pattern) {
        Some(scope) => Images::Scope(scope),
        None => Images::Prefix(pattern.split('*').next().unwrap_or_default().to_owned()),
    };
    let lose = |plan: &mut Plan, message: String| {
        plan.refuse(place, turn, images());
        plan.note(NoteKind::Lost, place, format!("{message}; images of {pattern:?} are refused"));
    };
    let is = |name: &str| rule.get(name).and_then(Json::as_bool) == Some(true);
    let skips = is("skip") || rule.get("verify").and_then(Json::as_bool) == Some(false);
    if let Some(name) = unknown(rule, &["image", "skip", "verify", "deny", "keyless", "publicKey"])
    {
        return lose(plan, format!("civ does not know {name:?}"));
    }
    if is("deny") {
        return plan.refuse(place, turn, images());
    }
    let Some(scope) = scope else {
        return lose(plan, "civ's wildcards stand for whole parts of a name".to_owned());
    };
    let demand = if skips {
        Demand::Skip
    } else if rule.get("keyless").is_some() {
        return lose(plan, "civ knows no keyless signatures".to_owned());
    } else if let Some(key) = rule.pointer("/publicKey/certificate").and_then(Json::as_str) {
        if key.contains("BEGIN CERTIFICATE") {
            return lose(plan, "publicKey is a certificate, and civ takes public keys".to_owned());
        }
        plan.note(
            NoteKind::Changed,
            place,
            "Talos accepts signatures that name another repository, and civ refuses them; for mirrors add signedIdentity",
        );
        let key =
            Key { name: "key".to_owned(), kms: None, pem: Some(format!("{}\n", key.trim_end())) };
        Demand::Signatures {
            level: "strict",
            keys: vec![key],
            threshold: 1,
            identity: None,
            signature_repository: None,
        }
    } else {
        return lose(
            plan,
            "it says neither skip nor deny nor whose signatures it wants".to_owned(),
        );
    };
    plan.statements.push(Statement {
        place: place.to_owned(),
        turn,
        name: format!("rule {}", turn + 1),
        scopes: vec![scope],
        demand,
    });
}

/// The scope that a pattern is: all images, one repository, or all below a name.
fn scope_of(pattern: &str) -> Option<Scope> {
    if matches!(pattern, "*" | "**") {
        return "*".parse().ok();
    }
    let scope = match pattern.strip_suffix("/*").or_else(|| pattern.strip_suffix("/**")) {
        Some(name) if !name.contains('*') => format!("{name}/**"),
        None if !pattern.contains('*') => pattern.to_owned(),
        _ => return None,
    };
    // Talos matches names in full, which begin with a registry.
    let host = scope.split('/').next().unwrap_or_default();
    civ_oci::reference::reads_as_host(host).then(|| scope.parse().ok())?
}
