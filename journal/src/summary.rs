//! Verdicts by policy and statement. The question behind it: had this been `strict`, what would not
//! have run?

use std::collections::BTreeMap;

use civ_policy::UtcTime;
use serde::Serialize;

use crate::{Entry, Line, Outcome};

/// The most different findings that are kept of one group. Beyond, they are only counted.
pub const FINDINGS_MAX: usize = 10_000;
/// The most policies and statements that are told apart.
pub const GROUPS_MAX: usize = 10_000;

/// Which entries count.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those of this moment and later. An entry that does not say when is left out.
    pub since: Option<UtcTime>,
    /// Those of this plugin.
    pub plugin: Option<String>,
    /// Those of this statement.
    pub statement: Option<String>,
    /// Those of a policy with this SHA-256, in hex, and those that could read no policy.
    pub policy_sha256: Option<String>,
}

impl Filter {
    /// Is it of the plugin, statement and policy asked for?
    fn admits(&self, entry: &Entry) -> bool {
        let is =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        is(&self.plugin, &entry.plugin)
            && is(&self.statement, &entry.statement)
            && (entry.policy_sha256.is_none() || is(&self.policy_sha256, &entry.policy_sha256))
    }
}

/// A log, summed up.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many verdicts count.
    pub verdicts: u64,
    /// Lines that look like a verifier's and are another user's.
    pub not_roots: u64,
    /// Lines that look like a verifier's and cannot be read.
    pub unreadable: u64,
    /// Verdicts without a time, where those since some time were asked for.
    pub undated: u64,
    /// How many of the verdicts the log does not call root's.
    pub unattributed: u64,
    /// How many there are of more policies and statements than [`GROUPS_MAX`].
    pub left_out: u64,
    /// When it was, as far as the entries say.
    #[serde(flatten)]
    pub span: Span,
    /// By policy and statement: the latest first.
    pub groups: Vec<Group>,
}

/// The first and the last of some moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<UtcTime>,
    /// The last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<UtcTime>,
}

impl Span {
    fn add(&mut self, time: Option<UtcTime>) {
        let Some(time) = time else { return };
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
    }
}

/// What one statement of one policy, byte for byte, said.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The verifier, the policy and the statement.
    #[serde(flatten)]
    pub key: GroupKey,
    /// The level of the statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Pulls that could go on, and at level `strict` could have as well.
    pub allowed: u64,
    /// Pulls that could go on because nothing is checked.
    pub skipped: u64,
    /// Pulls that could go on, and at level `strict` could not have.
    pub audited: u64,
    /// Pulls that could not go on.
    pub refused: u64,
    /// When.
    #[serde(flatten)]
    pub span: Span,
    /// The longest that a verdict took, in milliseconds.
    pub slowest_ms: u64,
    /// What was refused or would have been: the most frequent first.
    pub findings: Vec<Finding>,
    /// Findings beyond [`FINDINGS_MAX`] different ones.
    pub findings_left_out: u64,
}

/// By what verdicts are told apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupKey {
    /// The executable's file name.
    pub verifier: String,
    /// The policy's path, if there was one to be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The SHA-256 of its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_sha256: Option<String>,
    /// The statement's name, if one spoke of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// An image that was refused, or would have been, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Whether it was.
    pub verdict: Outcome,
    /// The reference, as pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The exit code, or the one that there would have been.
    pub exit: u8,
    /// The reason.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// When.
    #[serde(flatten)]
    pub span: Span,
}

/// A log while it is read.
#[derive(Debug, Default)]
pub struct Tally {
    filter: Filter,
    sum: Summary,
    groups: BTreeMap<GroupKey, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    level: Option<String>,
    allowed: u64,
    skipped: u64,
    audited: u64,
    refused: u64,
    span: Span,
    slowest_ms: u64,
    findings: BTreeMap<FindingKey, (u64, Span)>,
    left_out: u64,
}

type FindingKey = (Outcome, Option<String>, Option<String>, u8, String);

impl Tally {
    /// Nothing read yet; what `filter` admits will count.
    pub fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Takes a line of the log.
    pub fn add(&mut self, line: Line) {
        match line {
            Line::Entry { entry, of_root } if self.filter.admits(&entry) => {
                match (self.filter.since, entry.time) {
                    (Some(_), None) => self.sum.undated += 1,
                    (Some(since), Some(time)) if time < since => {}
                    _ => self.add_entry(*entry, of_root),
                }
            }
            Line::Entry { .. } | Line::Foreign => {}
            Line::NotRoots => self.sum.not_roots += 1,
            Line::Unreadable => self.sum.unreadable += 1,
        }
    }

    fn add_entry(&mut self, entry: Entry, of_root: bool) {
        self.sum.verdicts += 1;
        self.sum.unattributed += u64::from(!of_root);
        self.sum.span.add(entry.time);
        let key = GroupKey {
            verifier: entry.verifier,
            policy: entry.policy,
            policy_sha256: entry.policy_sha256,
            statement: entry.statement,
        };
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&key) {
            self.sum.left_out += 1;
            return;
        }
        let group = self.groups.entry(key).or_default();
        group.span.add(entry.time);
        group.slowest_ms = group.slowest_ms.max(entry.ms);
        group.level = entry.level.or(group.level.take());
        match entry.verdict {
            Outcome::Allow if group.level.as_deref() == Some("skip") => group.skipped += 1,
            Outcome::Allow => group.allowed += 1,
            Outcome::Audit => group.audited += 1,
            Outcome::Refuse => group.refused += 1,
        }
        if entry.verdict == Outcome::Allow {
            return;
        }
        let exit = entry.audited_exit.unwrap_or(entry.exit);
        let key = (entry.verdict, entry.image, entry.digest, exit, entry.reason);
        if group.findings.len() >= FINDINGS_MAX && !group.findings.contains_key(&key) {
            group.left_out += 1;
            return;
        }
        let (count, span) = group.findings.entry(key).or_default();
        *count += 1;
        span.add(entry.time);
    }

    /// The sum.
    pub fn summary(self) -> Summary {
        let mut groups: Vec<Group> =
            self.groups.into_iter().map(|(key, counts)| counts.group(key)).collect();
        groups.sort_by(|a, b| b.span.last.cmp(&a.span.last).then_with(|| a.key.cmp(&b.key)));
        Summary { groups, ..self.sum }
    }
}

impl Counts {
    fn group(self, key: GroupKey) -> Group {
        let finding = |((verdict, image, digest, exit, reason), (count, span))| Finding {
            verdict,
            image,
            digest,
            exit,
            reason,
            count,
            span,
        };
        let mut findings: Vec<Finding> = self.findings.into_iter().map(finding).collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.count));
        Group {
            key,
            level: self.level,
            allowed: self.allowed,
            skipped: self.skipped,
            audited: self.audited,
            refused: self.refused,
            span: self.span,
            slowest_ms: self.slowest_ms,
            findings,
            findings_left_out: self.left_out,
        }
    }
}

impl Summary {
    /// How many pulls would have been refused, had every level been `strict`.
    pub fn audited(&self) -> u64 {
        self.groups.iter().map(|group| group.audited).sum()
    }

    /// How many were.
    pub fn refused(&self) -> u64 {
        self.groups.iter().map(|group| group.refused).sum()
    }

    /// Does it show that level `strict` would have changed nothing? Some pull was checked, none was
    /// refused or would have been, and nothing that could say otherwise was passed over.
    pub fn is_evidence(&self) -> bool {
        let checked: u64 = self.groups.iter().map(|group| group.allowed).sum();
        let passed_over = self.unreadable + self.undated + self.left_out;
        checked > 0 && self.audited() + self.refused() + passed_over == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(verdict: &str, sha256: &str, image: &str, time: &str) -> Line {
        let audited = if verdict == "audit" { r#","audited_exit":1"# } else { "" };
        let exit = u8::from(verdict == "refuse");
        let line = format!(
            r#"{{"verifier":"cosign-image-verifier","plugin":"cosign","policy_sha256":"{sha256}","statement":"p","level":"audit","image":"{image}","digest":"d","verdict":"{verdict}","exit":{exit}{audited},"reason":"r","ms":4,"time":"{time}"}}"#
        );
        let line = Line::parse(line.as_bytes());
        assert!(matches!(line, Line::Entry { .. }));
        line
    }

    fn lines() -> Vec<Line> {
        vec![
            entry("allow", "a", "r.io/a:1", "2026-11-20T00:00:00Z"),
            entry("audit", "a", "r.io/b:1", "2026-11-21T00:00:00Z"),
            entry("audit", "a", "r.io/c:1", "2026-11-21T01:00:00Z"),
            entry("audit", "a", "r.io/c:1", "2026-11-21T02:00:00Z"),
            entry("refuse", "b", "r.io/b:1", "2026-11-22T00:00:00Z"),
            Line::Foreign,
            Line::NotRoots,
        ]
    }

    fn sum(filter: Filter) -> Summary {
        let mut tally = Tally::new(filter);
        for line in lines() {
            tally.add(line);
        }
        tally.summary()
    }

    #[test]
    fn verdicts_are_told_apart_by_policy_and_the_latest_comes_first() {
        let summary = sum(Filter::default());
        assert_eq!((summary.verdicts, summary.not_roots), (5, 1));
        assert_eq!((summary.audited(), summary.refused()), (3, 1));
        let [strict, audit] = &summary.groups[..] else { panic!("{summary:?}") };
        assert_eq!(strict.key.policy_sha256.as_deref(), Some("b"));
        assert_eq!((audit.allowed, audit.audited, audit.refused), (1, 3, 0));
        let images: Vec<_> =
            audit.findings.iter().map(|f| (f.image.as_deref().unwrap(), f.count, f.exit)).collect();
        assert_eq!(images, [("r.io/c:1", 2, 1), ("r.io/b:1", 1, 1)]);
        assert_eq!(audit.span.first.unwrap().to_string(), "2026-11-20T00:00:00Z");
        assert_eq!(audit.findings[0].span.last.unwrap().to_string(), "2026-11-21T02:00:00Z");
    }

    #[test]
    fn a_filter_leaves_out_what_is_of_another_policy_or_time() {
        let of_policy = Filter { policy_sha256: Some("b".to_owned()), ..Filter::default() };
        assert_eq!(sum(of_policy).verdicts, 1);
        let since = Filter { since: "2026-11-21T01:00:00Z".parse().ok(), ..Filter::default() };
        assert_eq!(sum(since).verdicts, 3);
        let plugin = Filter { plugin: Some("other".to_owned()), ..Filter::default() };
        assert_eq!(sum(plugin).verdicts, 0);
    }

    #[test]
    fn the_number_of_findings_kept_is_bounded() {
        let mut tally = Tally::new(Filter::default());
        for number in 0..FINDINGS_MAX + 5 {
            let image = format!("r.io/a:{number}");
            tally.add(entry("audit", "a", &image, "2026-11-21T00:00:00Z"));
        }
        let summary = tally.summary();
        assert_eq!(summary.groups[0].findings.len(), FINDINGS_MAX);
        assert_eq!((summary.groups[0].findings_left_out, summary.audited()), (5, 10_005));
    }

    fn sum_of(lines: impl IntoIterator<Item = Line>, filter: Filter) -> Summary {
        let mut tally = Tally::new(filter);
        for line in lines {
            tally.add(line);
        }
        tally.summary()
    }

    #[test]
    fn only_checked_pulls_with_nothing_against_them_are_evidence() {
        let good = || entry("allow", "a", "r.io/a:1", "2026-11-21T00:00:00Z");
        let of = |json: &str| Line::parse(json.as_bytes());
        let all = Filter::default;
        assert!(sum_of([good()], all()).is_evidence());
        let skip = of(r#"{"verifier":"x","level":"skip","verdict":"allow","exit":0}"#);
        let summary = sum_of([skip.clone()], all());
        assert_eq!((summary.groups[0].allowed, summary.groups[0].skipped), (0, 1));
        assert!(!summary.is_evidence());
        assert!(sum_of([skip, good()], all()).is_evidence());
        assert!(!sum_of([], all()).is_evidence());
        let no_policy = of(r#"{"verifier":"x","verdict":"refuse","exit":3}"#);
        for against in [
            entry("audit", "a", "r.io/b:1", "2026-11-21T00:00:00Z"),
            entry("refuse", "a", "r.io/b:1", "2026-11-21T00:00:00Z"),
            no_policy.clone(),
            Line::Unreadable,
        ] {
            assert!(!sum_of([good(), against.clone()], all()).is_evidence(), "{against:?}");
        }
        // A policy that could not be read counts against every policy.
        let of_policy = || Filter { policy_sha256: Some("a".to_owned()), ..all() };
        assert!(!sum_of([good(), no_policy], of_policy()).is_evidence());
        let undated = of(r#"{"verifier":"x","verdict":"allow","exit":0}"#);
        let since = Filter { since: "2026-11-20T00:00:00Z".parse().ok(), ..all() };
        let summary = sum_of([good(), undated], since);
        assert_eq!((summary.verdicts, summary.undated), (1, 1));
        assert!(!summary.is_evidence());
    }
}
