//! Keys, thresholds and identities of cosign's document.

use civ_cosign::PublicKey;
use civ_policy::{KmsKeyRef, Scope, UtcTime};

use super::{Findings, Statement, statements};
use crate::located::{Node, Value};

pub(super) fn add(findings: &mut Findings<'_>, root: &Node, now: UtcTime) {
    let statements = statements(root);
    let mut known: Vec<(&str, PublicKey)> = Vec::new();
    let mut asks_kms = false;
    for statement in &statements {
        let keys = statement.node.member("keys").map(Node::elements).unwrap_or_default();
        for key in keys {
            asks_kms |= check_kms(findings, key);
            check_name(findings, key, &mut known);
        }
        check_validity(findings, statement, keys, now);
        check_identity(findings, statement);
    }
    if let Some(cache) = root.member("kmsCache") {
        check_cache(findings, cache, asks_kms);
    }
}

/// What a reference to KMS means for nodes. Is KMS asked for this key?
fn check_kms(findings: &mut Findings<'_>, key: &Node) -> bool {
    let Some(node) = key.member("kms") else { return false };
    let Some(kms) = node.as_str().and_then(|text| text.parse::<KmsKeyRef>().ok()) else {
        return false;
    };
    let pinned = key.text("publicKey").is_some();
    let name = key.text("name").unwrap_or_default();
    match (pinned, kms.is_alias()) {
        (false, true) => findings.warn(
            "kms-alias",
            node,
            format_args!("key {name:?} is whichever key the alias is moved to, and every node asks KMS for it; name the key by its own ARN and run civ policy pin"),
        ),
        (false, false) => findings.warn(
            "kms-not-pinned",
            node,
            format_args!("every node asks KMS for key {name:?}, and refuses its signatures while KMS is out of reach; run civ policy pin"),
        ),
        (true, true) => findings.warn(
            "kms-alias-pinned",
            node,
            format_args!("key {name:?} is pinned and stays so when the alias is moved; name it by its own ARN"),
        ),
        (true, false) => {}
    }
    !pinned
}

/// One name for two keys: a reason that names it does not tell which.
fn check_name<'n>(
    findings: &mut Findings<'_>,
    key: &'n Node,
    known: &mut Vec<(&'n str, PublicKey)>,
) {
    let Some(name) = key.text("name") else { return };
    let Some(Ok(public_key)) = key.text("publicKey").map(PublicKey::from_pem) else { return };
    match known.iter().find(|(other, _)| *other == name) {
        Some((_, other)) if *other != public_key => findings.warn(
            "key-name-reused",
            key,
            format_args!("another key is called {name:?}, too, in another statement, and reasons do not tell them apart; give each key a name of its own"),
        ),
        Some(_) => {}
        None => known.push((name, public_key)),
    }
}

/// Keys whose time is over, or not yet there, where nothing vouches for when a signature was made.
fn check_validity(
    findings: &mut Findings<'_>,
    statement: &Statement<'_>,
    keys: &[Node],
    now: UtcTime,
) {
    let vouched = ["transparencyLog", "timestampAuthority"];
    if vouched.iter().any(|member| statement.node.member(member).is_some()) {
        return;
    }
    let moment = |key: &Node, member: &str| key.text(member)?.parse::<UtcTime>().ok();
    let mut counting = 0;
    for key in keys {
        let over = moment(key, "validBefore").is_some_and(|end| end <= now);
        let early = moment(key, "validAfter").is_some_and(|start| now < start);
        if over {
            let name = key.text("name").unwrap_or_default();
            let node = key.member("validBefore").unwrap_or(key);
            findings.warn(
                "key-expired",
                node,
                format_args!(
                    "no signature of key {name:?} counts any more; remove it, or move validBefore"
                ),
            );
        }
        counting += usize::from(!over && !early);
    }
    let threshold = match statement.node.member("threshold").map(|node| &node.value) {
        Some(Value::Number(text)) => text.parse().unwrap_or(1),
        _ => 1,
    };
    // More than there are is the verifier's to refuse.
    if threshold <= keys.len() && counting < threshold {
        let name = statement.name;
        findings.warn(
            "too-few-keys-now",
            statement.node,
            format_args!("statement {name:?} needs {threshold} of its keys, and {counting} count today, so it refuses every image; move validAfter or validBefore, or add a key"),
        );
    }
}

/// Identities under which a signature for one image is good for others.
fn check_identity(findings: &mut Findings<'_>, statement: &Statement<'_>) {
    let Some(identity) = statement.node.member("signedIdentity") else { return };
    let name = statement.name;
    match identity.text("type") {
        Some("any") => findings.warn(
            "any-identity",
            identity,
            format_args!("statement {name:?} accepts signatures that were made for other repositories; use remapIdentity if the images are mirrored"),
        ),
        Some("exactRepository") if statement.scopes.iter().any(is_pattern) => findings.warn(
            "one-identity-for-many",
            identity,
            format_args!("signatures for one repository count in all that statement {name:?} is for; use matchRepository or remapIdentity"),
        ),
        Some("remapIdentity") => {
            let prefix = identity.text("prefix").unwrap_or_default();
            let is_below = |scope: &Node| {
                let scope = scope.as_str().and_then(|text| text.parse::<Scope>().ok());
                let texts = [prefix.to_owned(), format!("{prefix}/**")];
                let below = texts.iter().filter_map(|text| text.parse::<Scope>().ok());
                scope.is_some_and(|scope| below.into_iter().any(|below| below.overlaps(&scope)))
            };
            if !statement.scopes.iter().any(is_below) {
                findings.warn(
                    "unused-remapping",
                    identity.member("prefix").unwrap_or(identity),
                    format_args!("no repository of statement {name:?} is below {prefix:?}, so nothing is remapped; correct the prefix or the scopes"),
                );
            }
        }
        _ => {}
    }
}

fn is_pattern(scope: &Node) -> bool {
    scope.as_str().is_some_and(|text| text.contains('*'))
}

fn check_cache(findings: &mut Findings<'_>, cache: &Node, asks_kms: bool) {
    let stale = cache.member("useStale").filter(|node| node.value == Value::Bool(true));
    if !asks_kms {
        findings.warn(
            "unused-kms-cache",
            cache,
            "no key is asked of KMS, so kmsCache says nothing; remove it",
        );
    } else if let Some(stale) = stale {
        findings.warn(
            "kms-stale",
            stale,
            "while KMS is out of reach, a key that was disabled there counts for up to 7 days; whoever can cut nodes off from KMS gets that time; pin the keys instead",
        );
    }
}
