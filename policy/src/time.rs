//! Points in time as policies write them. Reading the clock is for executables: here time is an
//! argument.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use der::DateTime;
use serde::{Deserialize, Serialize, Serializer};

/// A second of UTC since 1970, written as RFC 3339 with `Z`: `2026-11-21T08:00:00Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct UtcTime(DateTime);

impl UtcTime {
    /// The time that is `since_epoch` after the start of 1970; fractions of a second are dropped.
    ///
    /// `None` after the year 9999.
    pub fn from_unix(since_epoch: Duration) -> Option<Self> {
        DateTime::from_unix_duration(Duration::from_secs(since_epoch.as_secs())).ok().map(Self)
    }

    /// Seconds since the start of 1970.
    pub fn unix_seconds(self) -> u64 {
        self.0.unix_duration().as_secs()
    }
}

impl FromStr for UtcTime {
    type Err = UtcTimeError;

    fn from_str(text: &str) -> Result<Self, UtcTimeError> {
        text.parse().map(Self).map_err(|_| UtcTimeError)
    }
}

impl TryFrom<String> for UtcTime {
    type Error = UtcTimeError;

    fn try_from(text: String) -> Result<Self, UtcTimeError> {
        text.parse()
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not a time as policies write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time in UTC such as \"2026-11-21T08:00:00Z\"")]
pub struct UtcTimeError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_utc_to_the_second_and_nothing_looser() {
        let time: UtcTime = "2026-11-21T08:00:01Z".parse().unwrap();
        assert_eq!(time.unix_seconds(), 1_795_248_001);
        assert_eq!(UtcTime::from_unix(Duration::from_millis(1_795_248_001_999)), Some(time));
        assert_eq!(time.to_string(), "2026-11-21T08:00:01Z");
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T08:00:01",
            "2026-11-21T08:00:01+00:00",
            "2026-11-21T08:00:01.5Z",
            "2026-11-21t08:00:01z",
            "2026-11-31T08:00:01Z",
            "2026-02-29T08:00:01Z",
            "2026-11-21T24:00:00Z",
            "1969-12-31T23:59:59Z",
            " 2026-11-21T08:00:01Z",
        ] {
            assert_eq!(text.parse::<UtcTime>(), Err(UtcTimeError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_shown_as_itself(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z|\\PC{0,30}") {
            if let Ok(time) = text.parse::<UtcTime>() {
                prop_assert_eq!(time.to_string(), text);
            }
        }
    }
}
