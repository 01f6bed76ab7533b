//! containers-policy.json(5): the requirements of the most specific scope apply, all of them; what is in
//! no scope is under `default`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_policy::Scope;
use serde_json::{Value as Json, json};

use super::members::{any, check_object, object, objects, text, unknown};
use super::plan::{Demand, Images, Key, Plan, Precedence, Statement, scope_spelt};
use super::{ConvertError, NoteKind};

/// What a list of requirements comes to.
enum Outcome {
    Refuse,
    Demand(Demand),
    Lost(String),
}

pub(super) fn plan(
    policy: &Json,
    read_key: &dyn Fn(&str) -> Option<String>,
) -> Result<Plan, ConvertError> {
    check_object(policy, "the policy")?;
    let mut plan = Plan::new(Precedence::Closest);
    let transports = object(policy, "", "transports")?.unwrap_or(&Json::Null);
    let docker = object(transports, "transports", "docker")?.unwrap_or(&Json::Null);
    let (place, requirements) = match any(docker, "") {
        Some(_) => ("transports.docker.\"\"", objects(docker, "transports.docker", "")?),
        None => ("default", objects(policy, "", "default")?),
    };
    let mut rules = vec![(place.to_owned(), "", requirements)];
    for scope in docker.as_object().into_iter().flatten().map(|(scope, _)| scope.as_str()) {
        if !scope.is_empty() {
            let place = format!("transports.docker.{scope:?}");
            let requirements = objects(docker, "transports.docker", scope)?;
            rules.push((place, scope, requirements));
        }
    }
    for (turn, (place, scope, requirements)) in rules.into_iter().enumerate() {
        let outcome = outcome_of(&requirements, read_key)?;
        add_rule(&mut plan, turn, &place, scope, outcome);
    }
    for (transport, _) in transports.as_object().into_iter().flatten() {
        if transport != "docker" {
            let place = format!("transports.{transport}");
            plan.note(NoteKind::Changed, &place, "left out: containerd pulls from registries only");
        }
    }
    if let Some(name) = unknown(policy, &["default", "transports"]) {
        plan.note(NoteKind::Lost, name, "civ does not know it");
    }
    Ok(plan)
}

fn add_rule(plan: &mut Plan, turn: usize, place: &str, text: &str, outcome: Outcome) {
    let (wildcard, rest) = text.strip_prefix("*.").map_or(("", text), |rest| ("*.", rest));
    if rest.contains('*') || (!wildcard.is_empty() && rest.contains('/')) {
        let why =
            "left out: it matches nothing there, where \"*.\" stands before a host's name alone";
        return plan.note(NoteKind::Changed, place, why);
    }
    let Some(scopes) = scopes_of(text) else {
        // A tag, a digest, or a name that civ spells otherwise. What is under it, no other rule may
        // accept in its stead, unless it accepts everything itself.
        if !matches!(outcome, Outcome::Demand(Demand::Skip)) {
            plan.refuse(place, turn, images_of(text));
        }
        if !matches!(outcome, Outcome::Refuse) {
            plan.note(
                NoteKind::Lost,
                place,
                "civ's scopes are repositories, spelt as images are, without tag and digest",
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

/// The images of a rule that is for a tag or a digest, or spelt as civ spells nothing.
fn images_of(text: &str) -> Images {
    let name = text.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((before, tag)) if before.contains('/') && !tag.contains('/') => before,
        _ => name,
    };
    if name.contains('/') {
        Images::of_pattern(name)
    } else {
        Images::of_pattern(&format!("{name}/"))
    }
}

/// The scopes for a name and all below it.
fn scopes_of(text: &str) -> Option<Vec<Scope>> {
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    let texts = match path {
        None if text.is_empty() => vec!["*".to_owned()],
        None => vec![format!("{host}/**")],
        Some(path) if path.contains([':', '@']) => return None,
        Some(_) => vec![text.to_owned(), format!("{text}/**")],
    };
    // `docker.io/openshift` is a namespace there and an official image here: the first would be
    // `docker.io/library/openshift`.
    let scopes: Vec<Scope> = texts.iter().filter_map(|text| scope_spelt(text)).collect();
    (!scopes.is_empty()).then_some(scopes)
}

fn outcome_of(
    requirements: &[(String, &Json)],
    read_key: &dyn Fn(&str) -> Option<String>,
) -> Result<Outcome, ConvertError> {
    let mut real = Vec::new();
    let mut rejects = false;
    for (place, requirement) in requirements {
        match text(requirement, place, "type")? {
            Some("reject") => rejects = true,
            Some("insecureAcceptAnything") => {}
            _ => real.push(*requirement),
        }
    }
    if rejects {
        return Ok(Outcome::Refuse);
    }
    Ok(outcome_of_signed(requirements, real, read_key))
}

fn outcome_of_signed(
    requirements: &[(String, &Json)],
    real: Vec<&Json>,
    read_key: &dyn Fn(&str) -> Option<String>,
) -> Outcome {
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
