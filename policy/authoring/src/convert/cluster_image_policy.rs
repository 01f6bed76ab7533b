//! sigstore policy-controller's `ClusterImagePolicy` (`pkg/apis/policy/v1beta1`): an image must satisfy
//! every policy one of whose globs matches it, each by any one of its authorities.

use civ_policy::{KmsKeyRef, Scope};
use serde_json::Value as Json;

use super::members::{any, check_object, object, objects, text, unknown};
use super::plan::{Demand, Images, Key, Plan, Precedence, Statement, scope_spelt};
use super::{ConvertError, NoteKind};

const KIND: &str = "ClusterImagePolicy";
/// What policy-controller calls Docker Hub, and civ `docker.io`.
const DOCKER_HUB_THERE: &str = "index.docker.io/";

/// What an authority comes to.
enum Authority {
    Key(Key, Option<String>),
    Pass,
    Fail,
    Lost(String),
}

pub(super) fn plan(documents: &[Json]) -> Result<Plan, ConvertError> {
    let mut plan = Plan::new(Precedence::All);
    let mut policies = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        collect(document, &format!("document {}", index + 1), &mut policies)?;
    }
    for (turn, (place, policy)) in policies.into_iter().enumerate() {
        let metadata = object(policy, &place, "metadata")?.unwrap_or(&Json::Null);
        let name = text(metadata, &format!("{place}.metadata"), "name")?;
        let name = name.map_or_else(|| format!("policy {}", turn + 1), str::to_owned);
        let spec = any(policy, "spec").unwrap_or(&Json::Null);
        check_object(spec, &format!("{name}: spec"))?;
        add_policy(&mut plan, turn, &name, spec)?;
    }
    Ok(plan)
}

/// The policies of a document: itself, or those of a list, as `kubectl get` prints them. Documents
/// without anything in them are passed over.
fn collect<'j>(
    document: &'j Json,
    place: &str,
    policies: &mut Vec<(String, &'j Json)>,
) -> Result<(), ConvertError> {
    if document.is_null() {
        return Ok(());
    }
    check_object(document, place)?;
    match text(document, place, "kind")? {
        Some(KIND) => policies.push((place.to_owned(), document)),
        Some("List" | "ClusterImagePolicyList") => {
            for (place, item) in objects(document, place, "items")? {
                collect(item, &place, policies)?;
            }
        }
        other => {
            return Err(ConvertError::Document {
                place: place.to_owned(),
                found: other.map_or_else(|| "of no kind".to_owned(), |kind| format!("a {kind:?}")),
                expected: KIND,
            });
        }
    }
    Ok(())
}

fn add_policy(plan: &mut Plan, turn: usize, name: &str, spec: &Json) -> Result<(), ConvertError> {
    let mut scopes = Vec::new();
    let images = objects(spec, &format!("{name}: spec"), "images")?;
    if images.is_empty() {
        plan.note(NoteKind::Lost, name, "it names no images");
    }
    for (place, image) in images {
        let glob = text(image, &place, "glob")?.unwrap_or_default();
        let known = unknown(image, &["glob"]).is_none();
        match scope_of(glob).filter(|_| known) {
            Some(scope) if !scopes.contains(&scope) => scopes.push(scope),
            Some(_) => {}
            None => {
                plan.refuse(name, turn, Images::of_pattern(&as_here(glob)));
                let why =
                    "is not all tags of a repository, nor all below a name; its images are refused";
                plan.note(NoteKind::Lost, &place, format!("{glob:?} {why}"));
            }
        }
    }
    let demand = demand_of(plan, name, spec)?;
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
    Ok(())
}

/// What a policy asks; `None` if it refuses, or why that cannot be said.
fn demand_of(
    plan: &mut Plan,
    name: &str,
    spec: &Json,
) -> Result<Result<Option<Demand>, String>, ConvertError> {
    let place = format!("{name}: spec");
    if let Some(name) = unknown(spec, &["images", "authorities", "mode", "match"]) {
        return Ok(Err(format!("civ has nothing for spec.{name}")));
    }
    let level = match text(spec, &place, "mode")? {
        None | Some("" | "enforce") => "strict",
        Some("warn") => "audit",
        Some(mode) => return Ok(Err(format!("mode {mode:?} is not known"))),
    };
    let selects = !objects(spec, &place, "match")?.is_empty();
    let (mut keys, mut repositories, mut passes): (Vec<Key>, Vec<_>, _) =
        (Vec::new(), Vec::new(), false);
    for (place, authority) in objects(spec, &place, "authorities")? {
        match authority_of(authority, &place, keys.len() + 1)? {
            Authority::Key(key, repository) => {
                repositories.push(repository);
                let is_same = |other: &Key| (&other.pem, &other.kms) == (&key.pem, &key.kms);
                if !keys.iter().any(is_same) {
                    keys.push(key);
                }
            }
            Authority::Pass => passes = true,
            Authority::Fail => {}
            Authority::Lost(why) => {
                plan.note(NoteKind::Lost, &place, format!("{why}; its signatures do not count"));
            }
        }
    }
    if selects && (passes || level == "audit") {
        return Ok(Err(
            "civ does not know for which resources an image is pulled (match)".to_owned()
        ));
    }
    if passes {
        return Ok(Ok(Some(Demand::Skip)));
    }
    let signature_repository = repositories.first().cloned().flatten();
    if repositories.iter().any(|repository| *repository != signature_repository) {
        return Ok(Err("its authorities keep signatures in several places".to_owned()));
    }
    if keys.is_empty() {
        return Ok(Ok(None));
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
    Ok(Ok(Some(Demand::Signatures { level, keys, threshold: 1, identity, signature_repository })))
}

fn authority_of(authority: &Json, place: &str, number: usize) -> Result<Authority, ConvertError> {
    let lost = |why: &str| Ok(Authority::Lost(why.to_owned()));
    let known = ["name", "key", "static", "source", "ctlog", "signatureFormat"];
    if let Some(name) = unknown(authority, &known) {
        return Ok(Authority::Lost(format!("civ has nothing for {name:?}")));
    }
    if let Some(what) = object(authority, place, "static")? {
        return match text(what, &format!("{place}.static"), "action")? {
            Some("pass") if unknown(what, &["action"]).is_none() => Ok(Authority::Pass),
            Some("fail") => Ok(Authority::Fail),
            _ => lost("its static action is not known"),
        };
    }
    // Without ctlog, policy-controller asks the public log.
    let log = object(authority, place, "ctlog")?.and_then(Json::as_object);
    if !log.is_some_and(serde_json::Map::is_empty) {
        return lost(
            "it wants entries of a transparency log, whose key civ needs; write \"ctlog: {}\" if none is wanted, or add transparencyLog to the result",
        );
    }
    let name = text(authority, place, "name")?;
    let name = name.map_or_else(|| format!("authority-{number}"), str::to_owned);
    let Some(key) = object(authority, place, "key")? else { return lost("it has no key") };
    if let Some(name) = unknown(key, &["data", "kms", "hashAlgorithm"]) {
        return Ok(Authority::Lost(format!("the key is not in the file (key.{name})")));
    }
    let key_place = format!("{place}.key");
    let member = |member: &str| text(key, &key_place, member);
    if !matches!(member("hashAlgorithm")?, None | Some("" | "sha256")) {
        return lost("civ takes the hash algorithm that belongs to the key");
    }
    let (kms, public_key) = (member("kms")?, member("data")?);
    if let Some(kms) = kms.filter(|_| public_key.is_none())
        && !kms.parse::<KmsKeyRef>().is_ok_and(|kms| kms.region().is_some())
    {
        return Ok(Authority::Lost(format!("{kms} is no ARN of an AWS KMS key")));
    }
    if kms.is_none() && public_key.is_none() {
        return lost("it has no key");
    }
    let (kms, pem) = (kms.map(str::to_owned), public_key.map(str::to_owned));
    let sources = objects(authority, place, "source")?;
    match sources.as_slice() {
        [] => Ok(Authority::Key(Key { name, kms, pem }, None)),
        [(place, source)] if unknown(source, &["oci"]).is_none() => {
            let repository = text(source, place, "oci")?.map(str::to_owned);
            Ok(Authority::Key(Key { name, kms, pem }, repository))
        }
        _ => lost("its signatures have prefixes, secrets or several sources"),
    }
}

/// The scope that a glob is: `*` stands for text without a slash, `**` for any. It is compared with
/// the name in full, which ends in a tag or a digest, and with what was written: a glob that does not
/// end in a wildcard is for one tag, or for none.
fn scope_of(glob: &str) -> Option<Scope> {
    match glob {
        "*" => return scope_spelt("docker.io/library/*"),
        "*/*" => return scope_spelt("docker.io/*/*"),
        "**" => return scope_spelt("*"),
        _ if !glob.ends_with('*') || glob.starts_with("docker.io/") => return None,
        _ => {}
    }
    let name = as_here(glob);
    let text = name.strip_suffix(":**").or_else(|| name.strip_suffix(":*")).unwrap_or(&name);
    let host = text.split_once('/').map(|(host, _)| host).filter(|host| !host.contains('*'))?;
    civ_oci::reference::reads_as_host(host).then(|| scope_spelt(text))?
}

fn as_here(glob: &str) -> String {
    glob.strip_prefix(DOCKER_HUB_THERE)
        .map_or_else(|| glob.to_owned(), |path| format!("docker.io/{path}"))
}
