//! sigstore policy-controller's `ClusterImagePolicy` (`pkg/apis/policy/v1beta1`): an image must satisfy
//! every policy one of whose globs matches it, each by any one of its authorities.

use civ_policy::{KmsKeyRef, Scope};
use serde_json::Value as Json;

use super::plan::{Demand, Images, Key, Plan, Precedence, Statement};
use super::{NoteKind, elements, unknown};

/// What an authority comes to.
enum Authority {
    Key(Key, Option<String>),
    Pass,
    Fail,
    Lost(String),
}

pub(super) fn plan(documents: &[Json]) -> Plan {
    let mut plan = Plan::new(Precedence::All);
    let is_ours = |document: &&Json| {
        document.get("kind").and_then(Json::as_str) == Some("ClusterImagePolicy")
    };
    for (turn, policy) in documents.iter().filter(is_ours).enumerate() {
        let name = policy.pointer("/metadata/name").and_then(Json::as_str);
        let name = name.map_or_else(|| format!("policy {}", turn + 1), str::to_owned);
        add_policy(&mut plan, turn, &name, policy.get("spec").unwrap_or(&Json::Null));
    }
    plan
}

fn add_policy(plan: &mut Plan, turn: usize, name: &str, spec: &Json) {
    let mut scopes = Vec::new();
    for (place, image) in elements(spec, "/images") {
        let glob = image.get("glob").and_then(Json::as_str).unwrap_or_default();
        let known = unknown(image, &["glob"]).is_none();
        match scope_of(glob).filter(|_| known) {
            Some(scope) if !scopes.contains(&scope) => scopes.push(scope),
            Some(_) => {}
            None => {
                let prefix = glob
                    .split('*')
                    .next()
                    .unwrap_or_default()
                    .replace("index.docker.io/", "docker.io/");
                plan.refuse(name, turn, Images::Prefix(prefix));
                let place = format!("{name}: {place}");
                plan.note(
                    NoteKind::Lost,
                    &place,
                    format!(
                        "{glob:?} is no repository, nor all below a name; its images are refused"
                    ),
                );
            }
        }
    }
    let demand = demand_of(plan, name, spec);
    match demand {
        Ok(Some(demand)) if !scopes.is_empty() => {
            let (place, name) = (name.to_owned(), name.to_owned());
            plan.statements.push(Statement { place, turn, name, scopes, demand });
        }
        other => {
            for scope in scopes {
                plan.refuse(name, turn, Images::Scope(scope));
            }
            if let Err(why) = other {
                plan.note(NoteKind::Lost, name, format!("{why}; its images are refused"));
            }
        }
    }
}

/// What a policy asks; `None` if it refuses.
fn demand_of(plan: &mut Plan, name: &str, spec: &Json) -> Result<Option<Demand>, String> {
    if let Some(name) = unknown(spec, &["images", "authorities", "mode", "match"]) {
        return Err(format!("civ has nothing for spec.{name}"));
    }
    let level = match spec.get("mode").and_then(Json::as_str) {
        None | Some("" | "enforce") => "strict",
        Some("warn") => "audit",
        Some(mode) => return Err(format!("mode {mode:?} is not known")),
    };
    let selects = spec.get("match").and_then(Json::as_array).is_some_and(|list| !list.is_empty());
    let (mut keys, mut repositories, mut passes) = (Vec::new(), Vec::new(), false);
    for (place, authority) in elements(spec, "/authorities") {
        match authority_of(authority, keys.len() + 1) {
            Authority::Key(key, repository) => {
                keys.push(key);
                repositories.push(repository);
            }
            Authority::Pass => passes = true,
            Authority::Fail => {}
            Authority::Lost(why) => {
                let place = format!("{name}: {place}");
                plan.note(NoteKind::Lost, &place, format!("{why}; its signatures do not count"));
            }
        }
    }
    if selects && (passes || level == "audit") {
        return Err("civ does not know for which resources an image is pulled (match)".to_owned());
    }
    if passes {
        return Ok(Some(Demand::Skip));
    }
    let signature_repository = repositories.first().cloned().flatten();
    if repositories.iter().any(|repository| *repository != signature_repository) {
        return Err("its authorities keep signatures in several places".to_owned());
    }
    if keys.is_empty() {
        return Ok(None);
    }
    if selects {
        plan.note(
            NoteKind::Changed,
            name,
            "for every image that is pulled, whatever \"match\" selects",
        );
    }
    plan.note(
        NoteKind::Changed,
        name,
        "policy-controller accepts signatures that name another repository, and civ refuses them; for mirrors add signedIdentity",
    );
    let identity = None;
    Ok(Some(Demand::Signatures { level, keys, threshold: 1, identity, signature_repository }))
}

fn authority_of(authority: &Json, number: usize) -> Authority {
    let known = ["name", "key", "static", "source", "ctlog", "signatureFormat"];
    if let Some(name) = unknown(authority, &known) {
        return Authority::Lost(format!("civ has nothing for {name:?}"));
    }
    if let Some(what) = authority.get("static") {
        return match what.get("action").and_then(Json::as_str) {
            Some("pass") => Authority::Pass,
            Some("fail") => Authority::Fail,
            _ => Authority::Lost("its static action is not known".to_owned()),
        };
    }
    // Without ctlog, policy-controller asks the public log.
    let no_log =
        authority.get("ctlog").and_then(Json::as_object).is_some_and(serde_json::Map::is_empty);
    if !no_log {
        return Authority::Lost("it wants entries of a transparency log, whose key civ needs; write \"ctlog: {}\" if none is wanted, or add transparencyLog to the result".to_owned());
    }
    let name = authority.get("name").and_then(Json::as_str);
    let name = name.map_or_else(|| format!("authority-{number}"), str::to_owned);
    let Some(key) = authority.get("key") else {
        return Authority::Lost("it has no key".to_owned());
    };
    if let Some(name) = unknown(key, &["data", "kms", "hashAlgorithm"]) {
        return Authority::Lost(format!("the key is not in the file (key.{name})"));
    }
    if !matches!(key.get("hashAlgorithm").and_then(Json::as_str), None | Some("" | "sha256")) {
        return Authority::Lost("civ takes the hash algorithm that belongs to the key".to_owned());
    }
    let text = |member: &str| key.get(member).and_then(Json::as_str).map(str::to_owned);
    let (kms, public_key) = (text("kms"), text("data"));
    if let Some(kms) = kms.as_deref().filter(|_| public_key.is_none())
        && !kms.parse::<KmsKeyRef>().is_ok_and(|kms| kms.region().is_some())
    {
        return Authority::Lost(format!("{kms} is no ARN of an AWS KMS key"));
    }
    if kms.is_none() && public_key.is_none() {
        return Authority::Lost("it has no key".to_owned());
    }
    match source_of(authority) {
        Ok(repository) => Authority::Key(Key { name, kms, pem: public_key }, repository),
        Err(why) => Authority::Lost(why),
    }
}

/// Where an authority's signatures are, if not beside the image.
fn source_of(authority: &Json) -> Result<Option<String>, String> {
    let sources = elements(authority, "/source");
    match sources.as_slice() {
        [] => Ok(None),
        [(_, source)] if unknown(source, &["oci"]).is_none() => {
            Ok(source.get("oci").and_then(Json::as_str).map(str::to_owned))
        }
        _ => Err("its signatures have prefixes, secrets or several sources".to_owned()),
    }
}

/// The scope that a glob is: `*` stands for text without a slash, `**` for any, and a tag follows.
fn scope_of(glob: &str) -> Option<Scope> {
    let text = match glob {
        "*" => "docker.io/library/*",
        "*/*" => "docker.io/*/*",
        "**" => return "*".parse().ok(),
        glob => glob.strip_suffix(":**").or_else(|| glob.strip_suffix(":*")).unwrap_or(glob),
    };
    let host = text.split('/').next().filter(|host| !host.contains('*'))?;
    (text.contains('/') && civ_oci::reference::reads_as_host(host)).then(|| text.parse().ok())?
}
