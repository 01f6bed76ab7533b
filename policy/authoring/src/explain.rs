//! Which statement speaks of a repository, why that one, and what it asks for. Nothing is asked of
//! anybody: what an image is like is for a verdict to say.

use civ_cosign::TrustPolicy;
use civ_oci::{ImageId, Repository};
use civ_policy::annotations::{self, Clause, Place, Platforms, Rule};
use civ_policy::cosign::{self, Key, SignedIdentity};
use civ_policy::notation::{self, RegistryScope, TrustedIdentities, TrustedIdentity, Verification};
use civ_policy::{Level, Statements, digestion};
use serde::Serialize;

use crate::Document;

/// What a document says of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What it admits whatever the repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub everywhere: Vec<String>,
    /// The statement whose scope is the closest. Without one, nothing but that is admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<Applies>,
}

/// A statement that applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applies {
    /// Its name.
    pub name: String,
    /// Its level.
    pub level: String,
    /// The scope that is the closest.
    pub scope: String,
    /// The scopes that match as well and are less close, with their statements.
    pub less_close: Vec<Match>,
    /// What it asks for: all of this.
    pub asks: Vec<String>,
}

/// A scope that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The scope, normalised.
    pub scope: String,
    /// The statement that has it.
    pub statement: String,
}

/// Explains what `document` says of `image`'s repository.
pub fn explain(document: &Document, image: &ImageId) -> Explanation {
    let (everywhere, statement) = match document {
        Document::Annotations(policy) => (Vec::new(), of_annotations(policy, &image.repository)),
        Document::Cosign(policy) => (Vec::new(), of_cosign(policy, &image.repository)),
        Document::Digestion(policy) => of_digestion(policy, &image.repository),
        Document::Notation(policy) => (Vec::new(), of_notation(policy, image)),
    };
    Explanation { everywhere, statement }
}

/// The statement whose scope is the closest to `repository`, and the others that match. `head` is a
/// statement's name and level; `asks`, what it asks for unless its level is `skip`.
fn closest<S>(
    statements: &Statements<S>,
    repository: &Repository,
    head: fn(&S) -> (&str, Level),
    asks: fn(&S) -> Vec<String>,
) -> Option<Applies> {
    let mut matching = statements.matching(repository).into_iter();
    let (scope, statement) = matching.next()?;
    let less_close = matching.map(|(scope, statement)| Match {
        scope: scope.to_string(),
        statement: head(statement).0.to_owned(),
    });
    let (name, level) = head(statement);
    Some(Applies {
        name: name.to_owned(),
        level: level.to_string(),
        scope: scope.to_string(),
        less_close: less_close.collect(),
        asks: if level == Level::Skip { Vec::new() } else { asks(statement) },
    })
}

fn of_cosign(policy: &TrustPolicy, repository: &Repository) -> Option<Applies> {
    let statements = policy.document().statements();
    closest(statements, repository, |statement| (&statement.name, statement.level), asks_of_cosign)
}

fn asks_of_cosign(statement: &cosign::Statement) -> Vec<String> {
    let keys: Vec<String> = statement.keys.iter().map(key).collect();
    let mut asks = vec![match (statement.threshold, keys.len()) {
        (1, 1) => format!("a signature of the key {}", keys.join("")),
        (threshold, count) => {
            format!("signatures of {threshold} of {count} keys: {}", keys.join(", "))
        }
    }];
    for (name, value) in &statement.annotations {
        asks.push(format!("signed annotation {name:?} being {value:?}"));
    }
    asks.push(match &statement.signed_identity {
        SignedIdentity::Any => "made for an image of any name".to_owned(),
        SignedIdentity::ExactRepository(exact) => format!("made for {exact}"),
        SignedIdentity::MatchRepository => {
            "made for this repository, as far as the signature names one".to_owned()
        }
        SignedIdentity::RemapIdentity { prefix, signed_prefix } => {
            format!("made for this repository with {signed_prefix} in place of {prefix}")
        }
        SignedIdentity::RequireRepository => "made for this repository, and naming it".to_owned(),
    });
    if let Some(repository) = &statement.signature_repository {
        asks.push(format!("kept in {repository}"));
    }
    if statement.requirements.transparency_log.is_some() {
        asks.push("recorded in a transparency log".to_owned());
    }
    if statement.requirements.timestamp_authority.is_some() {
        asks.push("with a timestamp of an authority".to_owned());
    }
    asks
}

fn key(key: &Key) -> String {
    let source = match (&key.public_key, &key.kms) {
        (Some(_), _) => "pinned".to_owned(),
        (None, Some(kms)) => format!("asked of AWS by the node: {kms}"),
        (None, None) => "nowhere".to_owned(),
    };
    let validity = match (key.validity.after, key.validity.before) {
        (None, None) => String::new(),
        (Some(after), None) => format!(", from {after}"),
        (None, Some(before)) => format!(", before {before}"),
        (Some(after), Some(before)) => format!(", from {after} until {before}"),
    };
    format!("{:?} ({source}{validity})", key.name)
}

fn of_digestion(
    policy: &digestion::Policy,
    repository: &Repository,
) -> (Vec<String>, Option<Applies>) {
    let everywhere = match policy.trusted_everywhere() {
        0 => Vec::new(),
        1 => vec!["1 digest".to_owned()],
        count => vec![format!("{count} digests")],
    };
    let asks =
        |statement: &digestion::Statement| vec![format!("one of {} digests", statement.listed())];
    let applies = policy.statements().and_then(|statements| {
        closest(statements, repository, |statement| (&statement.name, statement.level), asks)
    });
    (everywhere, applies)
}

fn of_annotations(policy: &annotations::Policy, repository: &Repository) -> Option<Applies> {
    let asks = |statement: &annotations::Statement| {
        let asks = statement.clauses.iter().map(|clause| match clause {
            Clause::Rule(one) => rule(one),
            Clause::AnyOf(rules) => {
                format!("one of: {}", rules.iter().map(rule).collect::<Vec<_>>().join("; "))
            }
        });
        asks.collect()
    };
    let statements = policy.statements();
    closest(statements, repository, |statement| (&statement.name, statement.level), asks)
}

fn rule(rule: &Rule) -> String {
    let (what, site) = match rule.place {
        Place::Pulled => ("annotation", "of what is pulled"),
        Place::Index => ("annotation", "of the index"),
        Place::Manifest(Platforms::Every) => ("annotation", "of the manifest of every platform"),
        Place::Manifest(Platforms::Node) => ("annotation", "of the manifest for the node"),
        Place::Labels(Platforms::Every) => ("label", "of the image of every platform"),
        Place::Labels(Platforms::Node) => ("label", "of the image for the node"),
    };
    format!("{what} {:?} {site}: {}", rule.annotation, rule.matcher)
}

fn of_notation(policy: &notation::Policy, image: &ImageId) -> Option<Applies> {
    let statement = policy.statement_for(image).ok()?;
    let names = |scope: &&RegistryScope| scope.names(&image.repository);
    let exact = statement.registry_scopes.iter().find(names);
    let scope = exact.map_or_else(|| "*".to_owned(), ToString::to_string);
    let less_close = policy
        .statements()
        .iter()
        .filter(|other| {
            exact.is_some() && other.registry_scopes.contains(&RegistryScope::Everything)
        })
        .map(|other| Match { scope: "*".to_owned(), statement: other.name.clone() })
        .collect();
    let (level, asks) = match &statement.verification {
        Verification::Skip => ("skip", Vec::new()),
        Verification::Check(check) => (level_of_notation(check.level), asks_of_notation(check)),
    };
    let name = statement.name.clone();
    Some(Applies { name, level: level.to_owned(), scope, less_close, asks })
}

fn level_of_notation(level: notation::Level) -> &'static str {
    match level {
        notation::Level::Strict => "strict",
        notation::Level::Permissive => "permissive",
        notation::Level::Audit => "audit",
    }
}

fn asks_of_notation(check: &notation::Check) -> Vec<String> {
    let stores: Vec<String> = check.trust_stores.iter().map(ToString::to_string).collect();
    let identities = match &check.trusted_identities {
        TrustedIdentities::Any => "anybody they vouch for".to_owned(),
        TrustedIdentities::Listed(listed) => {
            let text = |identity: &TrustedIdentity| match identity {
                TrustedIdentity::Subject(subject) => {
                    let attributes =
                        subject.attributes().map(|(kind, value)| format!("{kind}={value}"));
                    attributes.collect::<Vec<_>>().join(",")
                }
                TrustedIdentity::Other(other) => other.clone(),
            };
            listed.iter().map(text).collect::<Vec<_>>().join(", ")
        }
    };
    vec![format!("a signature under {} by {identities}", stores.join(", "))]
}

#[cfg(test)]
mod tests {
    use civ_oci::Digest;

    use super::*;
    use crate::Kind;

    fn explained(kind: Kind, statements: &str, repository: &str) -> Explanation {
        let document = format!(r#"{{"version":"1.0","trustPolicies":[{statements}]}}"#);
        let document = Document::parse(kind, document.as_bytes()).unwrap();
        let repository: Repository = repository.parse().unwrap();
        explain(&document, &repository.image(Digest::sha256(b"")))
    }

    #[test]
    fn the_closest_statement_is_named_and_so_are_those_it_takes_precedence_over() {
        let statements = r#"
            {"name":"rest","registryScopes":["*"],"level":"skip"},
            {"name":"owned","registryScopes":["r.io/x","r.io/team/**"],"rules":[
                {"annotation":"owner","present":true},
                {"anyOf":[{"annotation":"a","equals":"1","from":"labels"},{"annotation":"b","absent":true,"from":"manifest","platforms":"node"}]}]},
            {"name":"all","registryScopes":["r.io/**"],"level":"audit","rules":[{"annotation":"c","present":true}]}"#;
        let explanation = explained(Kind::Annotations, statements, "r.io/team/app");
        let applies = explanation.statement.unwrap();
        assert_eq!(
            (&*applies.name, &*applies.level, &*applies.scope),
            ("owned", "strict", "r.io/team/**")
        );
        let less_close: Vec<_> =
            applies.less_close.iter().map(|m| (&*m.scope, &*m.statement)).collect();
        assert_eq!(less_close, [("r.io/**", "all"), ("*", "rest")]);
        assert_eq!(
            applies.asks,
            [
                "annotation \"owner\" of what is pulled: any value",
                "one of: label \"a\" of the image of every platform: \"1\"; annotation \"b\" of the manifest for the node: its absence",
            ]
        );
        let rest = explained(Kind::Annotations, statements, "other.io/a").statement.unwrap();
        assert_eq!((&*rest.name, rest.asks.len(), rest.less_close.len()), ("rest", 0, 0));
    }

    #[test]
    fn a_repository_of_no_statement_has_none() {
        let statements =
            r#"{"name":"p","registryScopes":["r.io/a"],"signatureVerification":{"level":"skip"}}"#;
        assert_eq!(explained(Kind::Cosign, statements, "r.io/b").statement, None);
        assert_eq!(explained(Kind::Notation, statements, "r.io/b").statement, None);
    }

    #[test]
    fn notation_falls_back_to_the_statement_for_all() {
        let statements = r#"
            {"name":"rest","registryScopes":["*"],"signatureVerification":{"level":"skip"}},
            {"name":"p","registryScopes":["r.io/a"],"signatureVerification":{"level":"strict"},"trustStores":["ca:x"],
             "trustedIdentities":["x509.subject: C=US, ST=WA, O=acme"]}"#;
        let applies = explained(Kind::Notation, statements, "r.io/a").statement.unwrap();
        assert_eq!((&*applies.name, applies.less_close.len()), ("p", 1));
        assert_eq!(applies.asks, ["a signature under ca:x by C=US,O=acme,ST=WA"]);
        let rest = explained(Kind::Notation, statements, "r.io/b").statement.unwrap();
        assert_eq!((&*rest.name, &*rest.scope), ("rest", "*"));
    }
}
