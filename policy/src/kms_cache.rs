//! How long the public key of a KMS key is used before KMS is asked again: `kmsCache` of a document.
//!
//! The public key behind a key's ARN never changes; what ages is whether the key is still enabled and
//! the node still allowed to ask, and with an alias, which key it is.

use std::time::Duration;

use civ_oci::strict_json::not_null;
use serde::Deserialize;

use crate::PolicyError;

/// How long an answer of KMS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmsCache {
    /// Up to this age an answer is used without asking again. 24 h if the document says nothing, at
    /// least one second, at most [`KmsCache::OLDEST`].
    pub max_age: Duration,
    /// Whether an older answer, up to [`KmsCache::OLDEST`], is used while KMS cannot be reached.
    pub use_stale: bool,
}

impl KmsCache {
    /// No answer older than this is used, whatever a document says: 7 days.
    pub const OLDEST: Duration = Duration::from_hours(7 * 24);
}

impl Default for KmsCache {
    fn default() -> Self {
        Self { max_age: Duration::from_hours(24), use_stale: false }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UntrustedKmsCache {
    #[serde(default, deserialize_with = "not_null")]
    max_age: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    use_stale: Option<bool>,
}

impl UntrustedKmsCache {
    pub(crate) fn validate(self) -> Result<KmsCache, PolicyError> {
        let default = KmsCache::default();
        let max_age = match self.max_age {
            None => default.max_age,
            Some(text) => {
                parse_age(&text, KmsCache::OLDEST).ok_or(PolicyError::KmsCacheAge { text })?
            }
        };
        Ok(KmsCache { max_age, use_stale: self.use_stale.unwrap_or(default.use_stale) })
    }
}

/// Digits and one unit, such as `90m`: at least a second, at most `oldest`.
pub(crate) fn parse_age(text: &str, oldest: Duration) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let is_number = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    let age = Duration::from_secs(number.checked_mul(seconds)?);
    (age <= oldest).then_some(age)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit_within_bounds() {
        for (text, seconds) in
            [("1s", 1), ("90m", 5_400), ("24h", 86_400), ("7d", 604_800), ("604800s", 604_800)]
        {
            assert_eq!(
                parse_age(text, KmsCache::OLDEST),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "1",
            "0s",
            "01h",
            "+1h",
            "-1h",
            "1.5h",
            " 1h",
            "1h ",
            "1 h",
            "1H",
            "1h30m",
            "8d",
            "169h",
            "604801s",
            "99999999999999999999s",
            "18446744073709551615d",
            "1\u{661}h",
            "1é",
        ] {
            assert_eq!(parse_age(text, KmsCache::OLDEST), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_age_leaves_the_bounds(text in "[0-9]{0,20}[smhd]?|\\PC{0,6}") {
            if let Some(age) = parse_age(&text, KmsCache::OLDEST) {
                prop_assert!(age >= Duration::from_secs(1) && age <= KmsCache::OLDEST);
            }
        }
    }
}
