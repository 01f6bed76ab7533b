//! One rule: the annotation it is about, where that is looked for, and what it must be.

use civ_oci::strict_json::not_null;
use serde::Deserialize;

use super::matcher::{AGE_MAX, Matcher, ONE_OF_MAX, PATTERN_MAX};

/// The longest name of an annotation, in bytes.
pub const NAME_MAX: usize = 256;

/// Something that must hold.
#[derive(Clone, Debug)]
pub enum Clause {
    /// This rule.
    Rule(Rule),
    /// One of these rules, wherever each of them looks.
    AnyOf(Vec<Rule>),
}

/// What one annotation must be.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The annotation's or label's name.
    pub annotation: String,
    /// Where it is looked for.
    pub place: Place,
    /// What its value must be.
    pub matcher: Matcher,
}

/// Where an annotation is looked for: `from` and `platforms`. Never in the entries by which an index
/// lists its manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the very document whose digest is pulled, an index or a manifest. The default, but for
    /// absence: what an index does not say its manifests may, and no image is without either.
    Pulled,
    /// In the index that is pulled. An image pulled by a manifest's own digest has none.
    Index,
    /// In the manifest that is pulled, or those that the index pulled lists for these platforms.
    Manifest(Platforms),
    /// Among the labels (`config.Labels`) in the configurations of the same manifests.
    Labels(Platforms),
}

/// For which platforms an index's manifests are looked at: each of them must be as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platforms {
    /// For every platform but `unknown/unknown`, which is how attestations are listed that never
    /// run. The default: it does not depend on what a node would choose.
    Every,
    /// For those that containerd could choose on the node.
    Node,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UntrustedRule {
    #[serde(default, deserialize_with = "not_null")]
    annotation: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    from: Option<From>,
    #[serde(default, deserialize_with = "not_null")]
    platforms: Option<Platforms>,
    #[serde(default, deserialize_with = "not_null")]
    equals: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    one_of: Option<Vec<String>>,
    #[serde(default, deserialize_with = "not_null")]
    matches: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    max_age: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    version: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    present: Option<bool>,
    #[serde(default, deserialize_with = "not_null")]
    absent: Option<bool>,
    #[serde(default, deserialize_with = "not_null")]
    any_of: Option<Vec<UntrustedRule>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    Index,
    Manifest,
    Labels,
}

impl UntrustedRule {
    /// How many rules this is, those within included.
    pub(super) fn count(&self) -> usize {
        1.max(self.any_of.iter().flatten().map(Self::count).sum())
    }

    /// The clause that this is, or which rule is wrong and why.
    pub(super) fn validate(self, index: usize) -> Result<Clause, (String, RuleError)> {
        let place = format!("rules[{index}]");
        if self.any_of.is_none() {
            return self.validate_one().map(Clause::Rule).map_err(|error| (place, error));
        }
        if !self.is_only_a_group() {
            return Err((place, RuleError::GroupWithMore));
        }
        let members = self.any_of.unwrap_or_default();
        if members.is_empty() {
            return Err((place, RuleError::EmptyGroup));
        }
        let members = members.into_iter().enumerate().map(|(member, rule)| {
            rule.validate_one().map_err(|error| (format!("{place}.anyOf[{member}]"), error))
        });
        members.collect::<Result<_, _>>().map(Clause::AnyOf)
    }

    fn is_only_a_group(&self) -> bool {
        self.annotation.is_none()
            && self.from.is_none()
            && self.platforms.is_none()
            && self.matchers() == 0
    }

    fn matchers(&self) -> usize {
        [
            self.equals.is_some(),
            self.one_of.is_some(),
            self.matches.is_some(),
            self.max_age.is_some(),
            self.version.is_some(),
            self.present.is_some(),
            self.absent.is_some(),
        ]
        .into_iter()
        .filter(|is_stated| *is_stated)
        .count()
    }

    fn validate_one(self) -> Result<Rule, RuleError> {
        if self.any_of.is_some() {
            return Err(RuleError::NestedGroup);
        }
        match self.matchers() {
            _ if self.annotation.is_none() => return Err(RuleError::NoAnnotation),
            0 => return Err(RuleError::NoMatcher),
            1 => {}
            _ => return Err(RuleError::SeveralMatchers),
        }
        let place = match (self.from, self.platforms) {
            (None, None) if self.absent.is_some() => return Err(RuleError::AbsentFromNowhere),
            (None, None) => Place::Pulled,
            (Some(From::Index), None) => Place::Index,
            (None | Some(From::Index), Some(_)) => return Err(RuleError::Platforms),
            (Some(From::Manifest), platforms) => {
                Place::Manifest(platforms.unwrap_or(Platforms::Every))
            }
            (Some(From::Labels), platforms) => Place::Labels(platforms.unwrap_or(Platforms::Every)),
        };
        let annotation = self.annotation.unwrap_or_default();
        if annotation.is_empty() || annotation.len() > NAME_MAX {
            return Err(RuleError::Name);
        }
        let matcher = if let Some(value) = self.equals {
            Matcher::Equals(value)
        } else if let Some(values) = self.one_of {
            Matcher::one_of(values)?
        } else if let Some(pattern) = self.matches {
            Matcher::matching(pattern)?
        } else if let Some(age) = self.max_age {
            Matcher::at_most_old(age)?
        } else if let Some(range) = self.version {
            Matcher::version_in(range)?
        } else if self.present == Some(true) {
            Matcher::Present
        } else if self.absent == Some(true) {
            Matcher::Absent
        } else {
            return Err(RuleError::NotTrue);
        };
        Ok(Rule { annotation, place, matcher })
    }
}

/// Why a rule is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Absence is asked for, and it is not said from where.
    #[error(
        "absent has no \"from\"; write \"from\": \"manifest\" (where builders put annotations), \"labels\" or \"index\", and a rule for each place that counts"
    )]
    AbsentFromNowhere,
    /// An age that is none, or too long.
    #[error(
        "{text:?} is no maxAge; write a number and s, m, h or d, at least 1s and at most {}d",
        AGE_MAX.as_secs() / (24 * 60 * 60)
    )]
    Age {
        /// The age as written.
        text: String,
    },
    /// A group without rules.
    #[error("anyOf lists no rule")]
    EmptyGroup,
    /// A group that is also a rule.
    #[error("anyOf stands alone; move what is beside it into its rules")]
    GroupWithMore,
    /// The name is empty or too long.
    #[error("the name of an annotation has 1 to {NAME_MAX} bytes")]
    Name,
    /// A group within a group.
    #[error("anyOf within anyOf; list the inner rules in the outer one")]
    NestedGroup,
    /// Neither an annotation nor a group.
    #[error("names no annotation; write \"annotation\", or \"anyOf\" with several rules")]
    NoAnnotation,
    /// Nothing is asked of the value.
    #[error(
        "has no matcher; write one of equals, oneOf, matches, maxAge, version, present and absent"
    )]
    NoMatcher,
    /// `present` or `absent` is false.
    #[error("present and absent can only be true; for the opposite write the other")]
    NotTrue,
    /// No value, or too many.
    #[error("oneOf lists {count} values; list 1 to {ONE_OF_MAX}")]
    OneOf {
        /// How many it lists.
        count: usize,
    },
    /// Not a regular expression that civ uses.
    #[error("matches is not a regular expression (syntax of the crate regex-lite): {problem}")]
    Pattern {
        /// What is wrong with it.
        problem: String,
    },
    /// A pattern that is too long.
    #[error("matches is longer than {PATTERN_MAX} bytes")]
    PatternTooLong,
    /// Platforms of something that has none.
    #[error("platforms go with \"from\": \"manifest\" or \"labels\" only")]
    Platforms,
    /// More than one matcher.
    #[error("has several matchers; write a rule for each")]
    SeveralMatchers,
    /// Not a range of versions.
    #[error("version is not a range such as \">=1.2, <2\": {problem}")]
    VersionRange {
        /// What is wrong with it.
        problem: String,
    },
}
