//! The document of `annotations-image-verifier`: what images must say of themselves.
//!
//! ```json
//! { "version": "1.0",
//!   "trustPolicies": [
//!     { "name": "owned", "registryScopes": ["registry.example/**"], "level": "strict",
//!       "rules": [
//!         { "annotation": "org.opencontainers.image.vendor", "equals": "Example" },
//!         { "annotation": "team", "from": "manifest", "platforms": "node", "oneOf": ["a", "b"] },
//!         { "anyOf": [
//!           { "annotation": "owner", "present": true },
//!           { "annotation": "owner", "from": "labels", "present": true } ] } ] } ] }
//! ```
//!
//! All rules of a statement must hold. An annotation is only as trustworthy as whoever may push:
//! what is pulled has the digest that was resolved, but nobody has signed it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`rule`] | [`Rule`]: where to look, and [`RuleError`] |
//! | [`matcher`] | [`Matcher`]: what a value must be |

pub mod matcher;
pub mod rule;

use civ_oci::ImageId;
use civ_oci::strict_json::{self, not_null};
use serde::Deserialize;

use crate::error::check_version;
use crate::{Exempt, Level, NoStatement, PolicyError, Statements, statements};

pub use matcher::{Matcher, Mismatch};
use rule::UntrustedRule;
pub use rule::{Clause, Place, Platforms, Rule, RuleError};

/// The most rules that a document may have, those within `anyOf` included. Each may compile to as
/// much as [`matcher::COMPILED_MAX`].
pub const RULES_MAX: usize = 512;

/// A parsed and validated document.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Statements<Statement>,
}

/// What is asked of the images of some repositories.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement's name, unique in its document.
    pub name: String,
    /// What a failed check leads to.
    pub level: Level,
    /// What must hold, all of it. Empty only at level `skip`.
    pub clauses: Vec<Clause>,
}

impl Policy {
    /// Parses and validates a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let document: Untrusted = strict_json::from_slice(bytes)?;
        check_version(&document.version)?;
        let rules = document.trust_policies.iter().flat_map(|statement| &statement.rules).flatten();
        if rules.map(UntrustedRule::count).sum::<usize>() > RULES_MAX {
            return Err(PolicyError::TooManyRules { limit: RULES_MAX });
        }
        Ok(Self { statements: Statements::validate(document.trust_policies)? })
    }

    /// The statement whose scope describes `image`'s repository most closely.
    pub fn statement_for(&self, image: &ImageId) -> Result<&Statement, NoStatement> {
        self.statements.find(&image.repository)
    }

    /// All statements.
    pub fn statements(&self) -> &Statements<Statement> {
        &self.statements
    }
}

impl Statement {
    /// The proof that `image` need not be checked, if this statement says so.
    pub fn exempt(&self, image: &ImageId) -> Option<Exempt> {
        (self.level == Level::Skip).then(|| Exempt::new(image, &self.name))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Untrusted {
    version: String,
    trust_policies: Vec<UntrustedStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntrustedStatement {
    name: String,
    registry_scopes: Vec<String>,
    #[serde(default, deserialize_with = "not_null")]
    level: Option<Level>,
    #[serde(default, deserialize_with = "not_null")]
    rules: Option<Vec<UntrustedRule>>,
}

impl statements::UntrustedStatement for UntrustedStatement {
    type Valid = Statement;

    fn name(&self) -> &str {
        &self.name
    }

    fn registry_scopes(&self) -> &[String] {
        &self.registry_scopes
    }

    fn validate(self) -> Result<Statement, PolicyError> {
        let Self { name, level, rules, .. } = self;
        let level = level.unwrap_or(Level::Strict);
        if level == Level::Skip && rules.is_some() {
            return Err(PolicyError::SkipWithChecks { statement: name });
        }
        let rules = rules.unwrap_or_default();
        if level != Level::Skip && rules.is_empty() {
            return Err(PolicyError::NoRules { statement: name });
        }
        let clauses = rules.into_iter().enumerate().map(|(index, rule)| {
            rule.validate(index).map_err(|(rule, source)| PolicyError::Rule {
                statement: name.clone(),
                rule,
                source,
            })
        });
        let clauses = clauses.collect::<Result<_, _>>()?;
        Ok(Statement { name, level, clauses })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(statements: &str) -> Result<Policy, PolicyError> {
        Policy::parse(format!(r#"{{"version":"1.0","trustPolicies":[{statements}]}}"#).as_bytes())
    }

    fn with_rules(rules: &str) -> Result<Policy, PolicyError> {
        policy(&format!(r#"{{"name":"p","registryScopes":["*"],"rules":[{rules}]}}"#))
    }

    #[test]
    fn reads_all_that_a_rule_can_say() {
        for (rule, place, expected) in [
            (r#""equals":"Example""#, Place::Pulled, r#""Example""#),
            (r#""equals":"""#, Place::Pulled, r#""""#),
            (r#""from":"index","oneOf":["a","b"]"#, Place::Index, r#"one of "a", "b""#),
            (
                r#""from":"manifest","matches":"a|ab""#,
                Place::Manifest(Platforms::Every),
                r#"all of it to match "a|ab""#,
            ),
            (
                r#""from":"manifest","platforms":"node","maxAge":"90d""#,
                Place::Manifest(Platforms::Node),
                "a time at most 90d ago",
            ),
            (
                r#""from":"labels","platforms":"every","version":">=1.2, <2""#,
                Place::Labels(Platforms::Every),
                "a version in >=1.2, <2",
            ),
            (r#""from":"labels","present":true"#, Place::Labels(Platforms::Every), "any value"),
            (r#""absent":true,"from":"index""#, Place::Index, "its absence"),
        ] {
            let policy = with_rules(&format!(r#"{{"annotation":"a",{rule}}}"#)).unwrap();
            let [Clause::Rule(parsed)] = &policy.statements()[0].clauses[..] else {
                panic!("{rule}")
            };
            assert_eq!((&*parsed.annotation, parsed.place), ("a", place), "{rule}");
            assert_eq!(parsed.matcher.to_string(), expected, "{rule}");
        }
        let group = with_rules(
            r#"{"annotation":"a","present":true},
               {"anyOf":[{"annotation":"b","present":true},{"annotation":"c","from":"labels","absent":true}]}"#,
        );
        let group = group.unwrap();
        assert!(
            matches!(&group.statements()[0].clauses[..], [Clause::Rule(_), Clause::AnyOf(rules)] if rules.len() == 2)
        );
        assert_eq!(group.statements()[0].level, Level::Strict);
    }

    #[test]
    fn refuses_rules_that_do_not_mean_one_thing_and_names_them() {
        let long = "a".repeat(1025);
        for (rule, words) in [
            ("{}", "no annotation"),
            (r#"{"present":true}"#, "no annotation"),
            (r#"{"annotation":"","present":true}"#, "1 to 256 bytes"),
            (&format!(r#"{{"annotation":"{long}","present":true}}"#), "1 to 256 bytes"),
            (r#"{"annotation":"a"}"#, "no matcher"),
            (r#"{"annotation":"a","equals":"x","present":true}"#, "several matchers"),
            (r#"{"annotation":"a","present":true,"absent":true}"#, "several matchers"),
            (r#"{"annotation":"a","present":false}"#, "only be true"),
            (r#"{"annotation":"a","from":"manifest","absent":false}"#, "only be true"),
            (r#"{"annotation":"a","absent":true}"#, "absent has no \"from\""),
            (r#"{"annotation":"a","absent":true,"platforms":"node"}"#, "platforms"),
            (r#"{"annotation":"a","oneOf":[]}"#, "oneOf"),
            (r#"{"annotation":"a","matches":"("}"#, "matches"),
            (r#"{"annotation":"a","matches":"a)|(?:b"}"#, "matches"),
            (r#"{"annotation":"a","matches":"(?x)a|b #"}"#, "matches"),
            (r#"{"annotation":"a","matches":"\\p{L}"}"#, "matches"),
            (r#"{"annotation":"a","matches":"a{1000}{1000}"}"#, "matches"),
            (&format!(r#"{{"annotation":"a","matches":"{long}"}}"#), "longer than 1024"),
            (r#"{"annotation":"a","maxAge":"90"}"#, "maxAge"),
            (r#"{"annotation":"a","maxAge":"3651d"}"#, "maxAge"),
            (r#"{"annotation":"a","maxAge":"0d"}"#, "maxAge"),
            (r#"{"annotation":"a","version":"latest"}"#, "version"),
            (r#"{"annotation":"a","version":""}"#, "version"),
            (r#"{"annotation":"a","version":">=v1.2"}"#, "version"),
            (r#"{"annotation":"a","present":true,"platforms":"every"}"#, "platforms"),
            (r#"{"annotation":"a","present":true,"from":"index","platforms":"node"}"#, "platforms"),
            (r#"{"anyOf":[]}"#, "anyOf"),
            (r#"{"anyOf":[{"annotation":"a","present":true}],"annotation":"a"}"#, "anyOf"),
            (r#"{"anyOf":[{"annotation":"a","present":true}],"from":"index"}"#, "anyOf"),
        ] {
            let error = with_rules(rule).unwrap_err();
            assert!(matches!(error, PolicyError::Rule { .. }), "{rule}: {error}");
            let error = error.to_string();
            assert!(error.starts_with(r#"rules[0] of statement "p": "#), "{rule}: {error}");
            assert!(error.contains(words), "{rule}: {error}");
        }
        let good = r#"{"annotation":"a","present":true}"#;
        let error = with_rules(&format!(r#"{good},{{"anyOf":[{good},{{"anyOf":[{good}]}}]}}"#));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(r#"rules[1].anyOf[1] of statement "p": "#), "{error}");
    }

    #[test]
    fn refuses_documents_that_are_not_to_the_letter() {
        let good = r#"{"annotation":"a","present":true}"#;
        for rules in [
            r#"{"annotation":null,"present":true}"#,
            r#"{"annotation":"a","present":null}"#,
            r#"{"annotation":"a","present":true,"from":null}"#,
            r#"{"annotation":"a","present":"true"}"#,
            r#"{"annotation":"a","equals":1}"#,
            r#"{"annotation":"a","Equals":"x"}"#,
            r#"{"annotation":"a","present":true,"from":"pulled"}"#,
            r#"{"annotation":"a","present":true,"from":"labels","platforms":"linux/amd64"}"#,
            r#"{"annotation":"a","annotation":"b","present":true}"#,
            r#""a""#,
        ] {
            let error = with_rules(rules).unwrap_err();
            assert!(matches!(error, PolicyError::Json(_)), "{rules}: {error}");
        }
        let statement = |rest: &str| format!(r#"{{"name":"p","registryScopes":["*"]{rest}}}"#);
        for (statements, valid) in [
            (statement(&format!(r#","rules":[{good}]"#)), true),
            (statement(&format!(r#","level":"audit","rules":[{good}]"#)), true),
            (statement(r#","level":"skip""#), true),
            (statement(""), false),
            (statement(r#","level":"skip","rules":[]"#), false),
            (statement(&format!(r#","level":"skip","rules":[{good}]"#)), false),
            (statement(r#","rules":[]"#), false),
            (statement(r#","rules":null"#), false),
            (statement(&format!(r#","level":null,"rules":[{good}]"#)), false),
            (statement(&format!(r#","level":"warn","rules":[{good}]"#)), false),
            (statement(&format!(r#","rules":[{good}],"keys":[]"#)), false),
            (format!("{0},{0}", statement(r#","level":"skip""#)), false),
        ] {
            assert_eq!(policy(&statements).is_ok(), valid, "{statements}");
        }
    }

    #[test]
    fn the_number_of_rules_is_bounded_over_the_whole_document() {
        let rule = r#"{"annotation":"a","present":true}"#;
        let group = format!(r#"{{"anyOf":[{}]}}"#, vec![rule; 256].join(","));
        assert!(with_rules(&format!("{group},{group}")).is_ok());
        let error = with_rules(&format!("{group},{group},{rule}")).unwrap_err();
        assert!(matches!(error, PolicyError::TooManyRules { limit: 512 }), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Policy::parse(&bytes);
        }

        #[test]
        fn no_rule_makes_the_parser_panic(
            matcher in "equals|oneOf|matches|maxAge|version|present",
            value in "\\PC{0,40}",
        ) {
            let value = serde_json::to_string(&value).unwrap();
            let _ = with_rules(&format!(r#"{{"annotation":"a","{matcher}":{value}}}"#));
        }
    }
}
