//! Talos' `ImageVerificationConfig` (`pkg/machinery/config/types/security/image_verification.go`): the
//! first rule whose pattern matches decides, an image that none matches is accepted, and `*` in a
//! pattern stands for any text.

use civ_policy::Scope;
use serde_json::Value as Json;

use super::members::{flag, object, objects, text, unknown};
use super::plan::{Demand, Images, Key, Plan, Precedence, Statement, scope_spelt};
use super::{ConvertError, NoteKind};

const KIND: &str = "ImageVerificationConfig";

pub(super) fn plan(documents: &[Json]) -> Result<Plan, ConvertError> {
    let mut plan = Plan::new(Precedence::First);
    let mut ours = documents
        .iter()
        .enumerate()
        .filter(|(_, document)| document.get("kind").and_then(Json::as_str) == Some(KIND));
    let rules = match ours.next() {
        Some((_, document)) => objects(document, "", "rules")?,
        None => Vec::new(),
    };
    // Talos merges them: a later rule takes the place of an earlier one of the same pattern.
    if let Some((index, _)) = ours.next() {
        return Err(ConvertError::Document {
            place: format!("document {}", index + 1),
            found: format!("another {KIND}"),
            expected: "one, into which Talos would merge it",
        });
    }
    for (turn, (place, rule)) in rules.into_iter().enumerate() {
        add_rule(&mut plan, turn, &place, rule)?;
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
    Ok(plan)
}

fn add_rule(plan: &mut Plan, turn: usize, place: &str, rule: &Json) -> Result<(), ConvertError> {
    let pattern = text(rule, place, "image")?.unwrap_or_default();
    let (skip, deny) = (flag(rule, place, "skip")?, flag(rule, place, "deny")?);
    let verify = flag(rule, place, "verify")?;
    let keyless = object(rule, place, "keyless")?;
    let public_key = object(rule, place, "publicKey")?;
    let key_place = format!("{place}.publicKey");
    let certificate = match public_key {
        Some(public_key) => text(public_key, &key_place, "certificate")?,
        None => None,
    };
    let scope = scope_of(pattern);
    let images = || match scope_of(pattern) {
        Some(scope) => Images::Scope(scope),
        None => Images::of_pattern(pattern),
    };
    let lose = |plan: &mut Plan, message: &str| {
        plan.refuse(place, turn, images());
        plan.note(NoteKind::Lost, place, format!("{message}; images of {pattern:?} are refused"));
        Ok(())
    };
    let known = ["image", "skip", "verify", "deny", "keyless", "publicKey"];
    let unknown = unknown(rule, &known)
        .or_else(|| unknown(public_key.unwrap_or(&Json::Null), &["certificate"]));
    if let Some(name) = unknown {
        return lose(plan, &format!("civ does not know {name:?}"));
    }
    if deny == Some(true) {
        plan.refuse(place, turn, images());
        return Ok(());
    }
    let skips = skip == Some(true) || verify == Some(false);
    let Some(scope) = scope else {
        let why = "civ's wildcards stand for whole parts of a name, and its scopes name a registry as images do";
        if skips {
            // Later rules ask more of its images than it does, or as little.
            plan.note(
                NoteKind::Lost,
                place,
                format!(
                    "{why}; images of {pattern:?} are refused, unless another rule is for them"
                ),
            );
            return Ok(());
        }
        return lose(plan, why);
    };
    let demand = if skips {
        Demand::Skip
    } else if keyless.is_some() {
        return lose(plan, "civ knows no keyless signatures");
    } else if let Some(key) = certificate {
        if key.contains("BEGIN CERTIFICATE") {
            return lose(plan, "publicKey is a certificate, and civ takes public keys");
        }
        plan.note(
            NoteKind::Changed,
            place,
            "Talos accepts signatures that name another repository, and civ refuses them; for mirrors add signedIdentity",
        );
        let key =
            Key { name: "key".to_owned(), kms: None, pem: Some(format!("{}\n", key.trim_end())) };
        Demand::signed_by("strict", vec![key])
    } else {
        return lose(plan, "it says neither skip nor deny nor whose signatures it wants");
    };
    plan.statements.push(Statement {
        place: place.to_owned(),
        turn,
        name: format!("rule {}", turn + 1),
        scopes: vec![scope],
        demand,
    });
    Ok(())
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
    scope_spelt(&scope)
}
