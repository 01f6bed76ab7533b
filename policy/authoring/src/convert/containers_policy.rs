//! containers-policy.json(5): the requirements of the most specific scope apply, all of them; what is in
//! no scope is under `default`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_policy::Scope;
use serde_json::{Value as Json, json};

use super::plan::{Demand, Images, Key, Plan, Precedence, Statement};
use super::{NoteKind, unknown};

/// What a list of requirements comes to.
enum Outcome {
    Refuse,
    Demand(Demand),
    Lost(String),
}

pub(super) fn plan(policy: &Json, read_key: &dyn Fn(&str) -> Option<String>) -> Plan {
    let mut plan = Plan::new(Precedence::Closest);
    let docker = policy.pointer("/transports/docker");
    let everything = docker.and_then(|docker| docker.get(""));
    let (place, requirements) = match everything {
        Some(requirements) => ("transports.docker.\"\"", Some(requirements)),
        None => ("default", policy.get("default")),
    };
    let mut rules = vec![(place.to_owned(), String::new(), requirements)];
    for (scope, requirements) in docker.and_then(Json::as_object).into_iter().flatten() {
        if !scope.is_empty() {
            let place = format!("transports.docker.{scope:?}");
            rules.push((place, scope.clone(), Some(requirements)));
        }
    }
    for (turn, (place, scope, requirements)) in rules.into_iter().enumerate() {
        let outcome = requirements.map_or_else(
            || Outcome::Lost("it has no requirements".to_owned()),
            |requirements| outcome_of(requirements, read_key),
        );
        add_rule(&mut plan, turn, &place, &scope, outcome);
    }
    let transports = policy.get("transports").and_then(Json::as_object).into_iter().flatten();
    for (transport, _) in transports.filter(|(transport, _)| *transport != "docker") {
        let place = format!("transports.{transport}");
        plan.note(NoteKind::Changed, &place, "left out: containerd pulls from registries only");
    }
    if let Some(name) = unknown(policy, &["default", "transports"]) {
        plan.note(NoteKind::Lost, name, "civ does not know it");
    }
    plan
}

fn add_rule(plan: &mut Plan, turn: usize, place: &str, text: &str, outcome: Outcome) {
    let Some(scopes) = scopes_of(text) else {
        // A tag or a digest: what is under it, the repository's own rule must not accept in its stead.
        let prefix = text.split(['@', '*']).next().unwrap_or_default();
        let prefix = match prefix.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => before,
            _ => prefix,
        };
        plan.refuse(place, turn, Images::Prefix(prefix.to_owned()));
        if !matches!(outcome, Outcome::Refuse) {
            plan.note(
                NoteKind::Lost,
                place,
                "civ's scopes are repositories, without tag and digest",
            );
        }
        return;
    };
    if let Some(host) = text.strip_prefix("*.") {
        // Here the wildcard is one label of a host's name, there it is any number.
        if let Ok(deeper) = format!("*.*.{host}/**").parse() {
            plan.refuse(place, turn, Images::Scope(deeper));
        }
        plan.note(
            NoteKind::Changed,
            place,
            format!("only hosts directly below {host}: civ's wildcard is one label of a name"),
        );
    }
    let refuse = |plan: &mut Plan| {
        for scope in scopes.clone() {
            plan.refuse(place, turn, Images::Scope(scope));
        }
    };
    match outcome {
        Outcome::Refuse => refuse(plan),
        Outcome::Lost(why) => {
            refuse(plan);
            plan.note(NoteKind::Lost, place, format!("{why}; its images are refused"));
        }
        Outcome::Demand(demand) => {
            let name = if text.is_empty() { "default" } else { text };
            let (place, name) = (place.to_owned(), name.to_owned());
            plan.statements.push(Statement { place, turn, name, scopes, demand });
        }
    }
}

/// The scopes for a name and all below it.
fn scopes_of(text: &str) -> Option<Vec<Scope>> {
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    let texts = match path {
        None if text.is_empty() => vec!["*".to_owned()],
        None => vec![format!("{host}/**")],
        Some(path) if path.contains([':', '@', '*']) => return None,
        Some(_) => vec![text.to_owned(), format!("{text}/**")],
    };
    let scopes: Result<Vec<Scope>, _> = texts.iter().map(|text| text.parse()).collect();
    // `docker.io/openshift` is a namespace there and an official image here: the first would be
    // `docker.io/library/openshift`.
    scopes.ok().map(|scopes| {
        let is_same = |scope: &Scope| texts.contains(&scope.to_string());
        scopes.into_iter().filter(is_same).collect()
    })
}

fn outcome_of(requirements: &Json, read_key: &dyn Fn(&str) -> Option<String>) -> Outcome {
    let requirements = requirements.as_array().map(Vec::as_slice).unwrap_or_default();
    let kind =
        |requirement: &Json| requirement.get("type").and_then(Json::as_str).map(str::to_owned);
    if requirements.iter().any(|one| kind(one).as_deref() == Some("reject")) {
        return Outcome::Refuse;
    }
    let real: Vec<&Json> = requirements
        .iter()
        .filter(|one| kind(one).as_deref() != Some("insecureAcceptAnything"))
        .collect();
    if requirements.is_empty() {
        return Outcome::Lost("it has no requirements".to_owned());
    }
    if real.is_empty() {
        return Outcome::Demand(Demand::Skip);
    }
    let mut signed: Vec<(Vec<String>, Json)> = Vec::new();
    for requirement in real {
        match signed_by(requirement, read_key) {
            Ok(one) => signed.push(one),
            Err(why) => return Outcome::Lost(why),
        }
    }
    let identity = signed.first().map(|(_, identity)| identity.clone());
    let several = signed.len() > 1;
    let alike = signed.iter().all(|(_, other)| Some(other) == identity.as_ref());
    if several && !(alike && signed.iter().all(|(keys, _)| keys.len() == 1)) {
        return Outcome::Lost("civ cannot ask for signatures of several groups of keys".to_owned());
    }
    let threshold = signed.len();
    let keys = signed.into_iter().flat_map(|(keys, _)| keys).enumerate().map(|(index, pem)| Key {
        name: format!("key-{}", index + 1),
        kms: None,
        pem: Some(pem),
    });
    Outcome::Demand(Demand::Signatures {
        level: "strict",
        keys: keys.collect(),
        threshold,
        identity,
        signature_repository: None,
    })
}

/// The keys of a requirement, of which any suffices, and the identity that it asks for.
fn signed_by(
    requirement: &Json,
    read_key: &dyn Fn(&str) -> Option<String>,
) -> Result<(Vec<String>, Json), String> {
    let kind = requirement.get("type").and_then(Json::as_str).unwrap_or_default();
    if kind != "sigstoreSigned" {
        return Err(format!("civ knows no {kind:?}"));
    }
    let known = ["type", "keyPath", "keyPaths", "keyData", "keyDatas", "signedIdentity"];
    if let Some(name) = unknown(requirement, &known) {
        return Err(format!("civ has nothing for {name:?} of sigstoreSigned"));
    }
    let list = |one: &str, several: &str| -> Vec<&str> {
        let several = requirement.get(several).and_then(Json::as_array).into_iter().flatten();
        requirement.get(one).into_iter().chain(several).filter_map(Json::as_str).collect()
    };
    let mut keys = Vec::new();
    for path in list("keyPath", "keyPaths") {
        keys.push(read_key(path).ok_or_else(|| format!("the key {path} cannot be read"))?);
    }
    for data in list("keyData", "keyDatas") {
        let pem = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        keys.push(pem.ok_or("a key's data is not base64 of PEM")?);
    }
    if keys.is_empty() {
        return Err("it has no key".to_owned());
    }
    identity_of(requirement.get("signedIdentity")).map(|identity| (keys, identity))
}

/// containers-policy.json compares tags too, unless told not to; a digest is all that civ knows.
fn identity_of(identity: Option<&Json>) -> Result<Json, String> {
    let kind = identity.and_then(|identity| identity.get("type")?.as_str());
    let text = |name: &str| identity.and_then(|identity| identity.get(name)?.as_str());
    match (kind, text("dockerRepository")) {
        (Some("matchRepository"), _) => Ok(json!({ "type": "requireRepository" })),
        (Some("exactRepository"), Some(repository)) => {
            Ok(json!({ "type": "exactRepository", "dockerRepository": repository }))
        }
        (kind, _) => {
            let kind = kind.unwrap_or("matchRepoDigestOrExact");
            Err(format!(
                "signedIdentity {kind} compares tags, which civ does not; write matchRepository if repositories are enough"
            ))
        }
    }
}
