//! What the value of an annotation must be: pure functions of the value and the time.

use std::fmt;
use std::time::Duration;

use regex_lite::{Regex, RegexBuilder};
use semver::{Version, VersionReq};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::RuleError;
use crate::UtcTime;
use crate::kms_cache::parse_age;

/// The longest regular expression, in bytes.
pub const PATTERN_MAX: usize = 1024;
/// The most memory that a compiled regular expression takes, in bytes.
pub const COMPILED_MAX: usize = 64 << 10;
/// The most values of `oneOf`.
pub const ONE_OF_MAX: usize = 256;
/// The longest `maxAge`: ten years.
pub const AGE_MAX: Duration = Duration::from_hours(3650 * 24);
/// The longest value that is matched, or read as a time or a version, in bytes.
pub const VALUE_MAX: usize = 4096;
/// How far ahead of this machine's clock a time may be: clocks differ.
pub const CLOCK_SKEW: Duration = Duration::from_mins(5);
/// The longest range of versions, in bytes.
const RANGE_MAX: usize = 256;
/// The deepest nesting of groups in a regular expression.
const NESTING_MAX: u32 = 32;

/// What a value must be.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// This, to the byte.
    Equals(String),
    /// One of these, to the byte.
    OneOf(Vec<String>),
    /// Something that matches as a whole.
    Matches(Pattern),
    /// A time (RFC 3339) that is not long past.
    MaxAge(Age),
    /// A version in a range.
    Version(Range),
    /// Anything but nothing or blanks.
    Present,
    /// Not there at all, not even empty.
    Absent,
}

/// A regular expression for whole values, in time linear in the value's length.
///
/// `.` does not match a line feed, and `\d`, `\s`, `\w`, `\b` and `(?i)` know ASCII only.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    whole: Regex,
}

/// The longest that may have passed since a time.
#[derive(Clone, Debug)]
pub struct Age {
    text: String,
    limit: Duration,
}

/// A range of semantic versions, as Cargo reads it: `1.2` stands for `^1.2`, and a pre-release is
/// within only where the range names one of the same version.
#[derive(Clone, Debug)]
pub struct Range {
    text: String,
    range: VersionReq,
}

impl Matcher {
    pub(super) fn one_of(values: Vec<String>) -> Result<Self, RuleError> {
        match values.len() {
            1..=ONE_OF_MAX => Ok(Self::OneOf(values)),
            count => Err(RuleError::OneOf { count }),
        }
    }

    pub(super) fn matching(text: String) -> Result<Self, RuleError> {
        if text.len() > PATTERN_MAX {
            return Err(RuleError::PatternTooLong);
        }
        let compile = |pattern: &str| {
            let mut builder = RegexBuilder::new(pattern);
            builder.size_limit(COMPILED_MAX).nest_limit(NESTING_MAX).build()
        };
        // By itself first: `a)|(?:b` would be valid between the parentheses, and not anchored.
        let whole = compile(&text).and_then(|_| compile(&format!(r"\A(?:{text})\z")));
        match whole {
            Ok(whole) => Ok(Self::Matches(Pattern { text, whole })),
            Err(error) => Err(RuleError::Pattern { problem: error.to_string() }),
        }
    }

    pub(super) fn at_most_old(text: String) -> Result<Self, RuleError> {
        match parse_age(&text, AGE_MAX) {
            Some(limit) => Ok(Self::MaxAge(Age { text, limit })),
            None => Err(RuleError::Age { text }),
        }
    }

    pub(super) fn version_in(text: String) -> Result<Self, RuleError> {
        if text.len() > RANGE_MAX {
            let problem = format!("longer than {RANGE_MAX} bytes");
            return Err(RuleError::VersionRange { problem });
        }
        match VersionReq::parse(&text) {
            Ok(range) => Ok(Self::Version(Range { text, range })),
            Err(error) => Err(RuleError::VersionRange { problem: error.to_string() }),
        }
    }

    /// Is `value` as asked? `None` is an annotation that is not there; `now` is what the clock says.
    pub fn check(&self, value: Option<&str>, now: UtcTime) -> Result<(), Mismatch> {
        let Some(value) = value else {
            return if matches!(self, Self::Absent) { Ok(()) } else { Err(Mismatch::Missing) };
        };
        let parsed = matches!(self, Self::Matches(_) | Self::MaxAge(_) | Self::Version(_));
        if parsed && value.len() > VALUE_MAX {
            return Err(Mismatch::TooLong { length: value.len() });
        }
        let holds = match self {
            Self::Absent => false,
            Self::Present if value.trim().is_empty() => return Err(Mismatch::Blank),
            Self::Present => true,
            Self::Equals(expected) => value == expected,
            Self::OneOf(expected) => expected.iter().any(|one| one == value),
            Self::Matches(pattern) => pattern.whole.is_match(value),
            Self::MaxAge(age) => return age.check(value, now),
            Self::Version(range) => {
                let version = value.strip_prefix('v').unwrap_or(value);
                let version = Version::parse(version).map_err(|_| Mismatch::NoVersion)?;
                range.range.matches(&version)
            }
        };
        if holds { Ok(()) } else { Err(Mismatch::Other) }
    }
}

impl Age {
    fn check(&self, value: &str, now: UtcTime) -> Result<(), Mismatch> {
        let time = OffsetDateTime::parse(value, &Rfc3339).map_err(|_| Mismatch::NoTime)?;
        let now = i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX);
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let age = now.saturating_sub(time.unix_timestamp());
        if age > seconds(self.limit) {
            Err(Mismatch::TooOld)
        } else if age < -seconds(CLOCK_SKEW) {
            Err(Mismatch::InFuture)
        } else {
            Ok(())
        }
    }
}

/// As it follows "asks for".
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(value) => write!(f, "{value:?}"),
            Self::OneOf(values) => {
                f.write_str("one of ")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value:?}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::Matches(pattern) => write!(f, "all of it to match \"{}\"", pattern.text),
            Self::MaxAge(age) => write!(f, "a time at most {} ago", age.text),
            Self::Version(range) => write!(f, "a version in {}", range.text),
            Self::Present => f.write_str("any value"),
            Self::Absent => f.write_str("its absence"),
        }
    }
}

/// How a value is not as asked. The value itself is for whoever shows this to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// There is nothing but blanks.
    Blank,
    /// It is a time that is still to come, by more than [`CLOCK_SKEW`].
    InFuture,
    /// It is not there.
    Missing,
    /// It is no time as RFC 3339 has them.
    NoTime,
    /// It is no semantic version, with or without a `v` before it.
    NoVersion,
    /// It is something else.
    Other,
    /// It is longer than is looked at.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It is a time that is past for longer than is allowed.
    TooOld,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> UtcTime {
        "2026-11-22T05:00:00Z".parse().unwrap()
    }

    fn matching(pattern: &str) -> Matcher {
        Matcher::matching(pattern.to_owned()).unwrap()
    }

    fn check(matcher: &Matcher, value: &str) -> Result<(), Mismatch> {
        matcher.check(Some(value), now())
    }

    #[test]
    fn only_absence_matches_what_is_not_there() {
        let all = [
            Matcher::Equals(String::new()),
            Matcher::one_of(vec![String::new()]).unwrap(),
            matching(".*"),
            Matcher::at_most_old("3650d".to_owned()).unwrap(),
            Matcher::version_in("*".to_owned()).unwrap(),
            Matcher::Present,
        ];
        for matcher in &all {
            assert_eq!(matcher.check(None, now()), Err(Mismatch::Missing), "{matcher}");
        }
        assert_eq!(Matcher::Absent.check(None, now()), Ok(()));
        for value in ["", "x"] {
            assert_eq!(check(&Matcher::Absent, value), Err(Mismatch::Other));
        }
        assert_eq!(check(&Matcher::Present, "x"), Ok(()));
        for value in ["", " ", "\t\n"] {
            assert_eq!(check(&Matcher::Present, value), Err(Mismatch::Blank));
        }
    }

    #[test]
    fn a_pattern_is_for_the_whole_value() {
        for (pattern, value, matches) in [
            ("a|ab", "ab", true),
            ("a|ab", "abc", false),
            ("b", "abc", false),
            ("^b$", "a\nb\nc", false),
            ("(?m)^b$", "a\nb\nc", false),
            (".*", "a\nb", false),
            ("(?s).*", "a\nb", true),
            ("b", "b\n", false),
            ("https://github\\.com/example/.*", "https://github.com/example/app", true),
            ("https://github\\.com/example/.*", "https://github.com.evil/example/app", false),
            ("https://github\\.com/example/.*", "https://evil/?https://github.com/example/", false),
            ("(?i)example", "EXAMPLE", true),
            ("[a-z]+", "аdmin", false),
            ("", "", true),
            ("", "x", false),
        ] {
            let outcome = check(&matching(pattern), value);
            assert_eq!(outcome.is_ok(), matches, "{pattern} {value:?}");
        }
    }

    /// In a backtracking matcher each of these takes longer than the universe is old.
    #[test]
    fn a_pattern_that_would_be_catastrophic_elsewhere_takes_linear_time() {
        let value = format!("{}!", "a".repeat(VALUE_MAX - 1));
        for pattern in ["(a+)+", "(a|a)*", "(a*)*b", "(.*a){20}", "(a?){40}a{40}"] {
            assert_eq!(check(&matching(pattern), &value), Err(Mismatch::Other), "{pattern}");
        }
    }

    #[test]
    fn what_is_read_is_bounded_and_what_is_compared_is_not() {
        let long = "a".repeat(VALUE_MAX + 1);
        let too_long = Err(Mismatch::TooLong { length: VALUE_MAX + 1 });
        assert_eq!(check(&matching("a*"), &long), too_long);
        assert_eq!(check(&matching("a*"), &"a".repeat(VALUE_MAX)), Ok(()));
        assert_eq!(check(&Matcher::at_most_old("1d".to_owned()).unwrap(), &long), too_long);
        assert_eq!(check(&Matcher::version_in("*".to_owned()).unwrap(), &long), too_long);
        assert_eq!(check(&Matcher::Equals(long.clone()), &long), Ok(()));
    }

    #[test]
    fn an_age_is_that_of_a_time_with_any_offset_and_fraction() {
        let days = Matcher::at_most_old("90d".to_owned()).unwrap();
        for (value, outcome) in [
            ("2026-11-22T05:00:00Z", Ok(())),
            ("2026-11-22T04:59:59.123456789Z", Ok(())),
            ("2026-08-24T05:00:00Z", Ok(())),
            ("2026-08-24T04:59:59Z", Err(Mismatch::TooOld)),
            ("2026-08-24T04:59:59.999Z", Err(Mismatch::TooOld)),
            ("2026-08-24T00:00:00-05:00", Ok(())),
            ("2026-08-24T07:00:00+02:01", Err(Mismatch::TooOld)),
            ("1970-01-01T00:00:00Z", Err(Mismatch::TooOld)),
            ("0001-01-01T00:00:00Z", Err(Mismatch::TooOld)),
            ("2026-11-22T05:05:00Z", Ok(())),
            ("2026-11-22T05:05:01Z", Err(Mismatch::InFuture)),
            ("2026-11-22T05:00:00-01:00", Err(Mismatch::InFuture)),
            ("9999-12-31T23:59:59Z", Err(Mismatch::InFuture)),
            ("2026-11-22", Err(Mismatch::NoTime)),
            ("2026-11-22T05:00:00", Err(Mismatch::NoTime)),
            ("2026-11-22T05:00:00+0000", Err(Mismatch::NoTime)),
            ("2026-11-31T05:00:00Z", Err(Mismatch::NoTime)),
            ("2026-11-22T25:00:00Z", Err(Mismatch::NoTime)),
            (" 2026-11-22T05:00:00Z", Err(Mismatch::NoTime)),
            ("2026-11-22T05:00:00Z\n", Err(Mismatch::NoTime)),
            ("12026-11-22T05:00:00Z", Err(Mismatch::NoTime)),
            ("now", Err(Mismatch::NoTime)),
            ("1795248001", Err(Mismatch::NoTime)),
            ("", Err(Mismatch::NoTime)),
        ] {
            assert_eq!(check(&days, value), outcome, "{value}");
        }
    }

    #[test]
    fn a_version_is_in_a_range_with_or_without_a_v() {
        for (range, value, outcome) in [
            (">=1.2, <2", "1.2.0", Ok(())),
            (">=1.2, <2", "v1.9.9+build.5", Ok(())),
            (">=1.2, <2", "2.0.0", Err(Mismatch::Other)),
            (">=1.2, <2", "1.1.9", Err(Mismatch::Other)),
            (">=1.2, <2", "1.3.0-rc.1", Err(Mismatch::Other)),
            (">=1.3.0-rc.1, <2", "1.3.0-rc.2", Ok(())),
            ("1.2", "1.9.0", Ok(())),
            ("~1.2", "1.3.0", Err(Mismatch::Other)),
            ("*", "0.0.1", Ok(())),
            ("*", "vv1.0.0", Err(Mismatch::NoVersion)),
            ("*", "V1.0.0", Err(Mismatch::NoVersion)),
            ("*", "1.2", Err(Mismatch::NoVersion)),
            ("*", "1.2.3.4", Err(Mismatch::NoVersion)),
            ("*", "01.2.3", Err(Mismatch::NoVersion)),
            ("*", "99999999999999999999.0.0", Err(Mismatch::NoVersion)),
            ("*", "latest", Err(Mismatch::NoVersion)),
            ("*", "", Err(Mismatch::NoVersion)),
        ] {
            let matcher = Matcher::version_in(range.to_owned()).unwrap();
            assert_eq!(check(&matcher, value), outcome, "{range} {value}");
        }
    }

    proptest! {
        #[test]
        fn a_literal_pattern_matches_itself_and_nothing_longer(
            value in "\\PC{0,60}",
            more in "[^\n]{1,3}",
        ) {
            let matcher = matching(&regex_lite::escape(&value));
            prop_assert_eq!(check(&matcher, &value), Ok(()));
            for longer in [format!("{value}{more}"), format!("{more}{value}"), format!("{value}\n")] {
                prop_assert_eq!(check(&matcher, &longer), Err(Mismatch::Other));
            }
        }

        /// Whatever the pattern, what is allowed as a whole is found by an unanchored search too.
        #[test]
        fn no_pattern_matches_a_value_that_it_is_not_in(
            pattern in "[ab()|*+?.\\[\\]-]{0,12}",
            value in "[ab\n]{0,8}",
        ) {
            if let Ok(matcher) = Matcher::matching(pattern.clone())
                && check(&matcher, &value).is_ok()
            {
                prop_assert!(Regex::new(&pattern).unwrap().is_match(&value));
                let apart = format!("({pattern})#");
                prop_assert_eq!(check(&matching(&apart), &format!("{value}#")), Ok(()));
            }
        }

        #[test]
        fn a_time_is_allowed_if_and_only_if_it_is_in_the_window(seconds in 0_i64..4_000_000_000) {
            let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap().format(&Rfc3339).unwrap();
            let matcher = Matcher::at_most_old("30d".to_owned()).unwrap();
            let age = i64::try_from(now().unix_seconds()).unwrap() - seconds;
            prop_assert_eq!(check(&matcher, &time).is_ok(), (-300..=30 * 86_400).contains(&age));
        }

        #[test]
        fn no_value_makes_a_matcher_panic(value in "\\PC{0,40}|[0-9TZ:.+-]{0,40}") {
            for matcher in [
                Matcher::at_most_old("1s".to_owned()).unwrap(),
                Matcher::version_in("*".to_owned()).unwrap(),
            ] {
                let _ = check(&matcher, &value);
            }
        }
    }
}
