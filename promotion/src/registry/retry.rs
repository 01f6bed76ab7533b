//! How often and how patiently a registry is asked, and what whoever waits is told about it.
//!
//! There is one budget for one thing: whoever makes a longer attempt of several requests (the copy of
//! a blob) sends each of them once, and repeats the whole.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::RegistryError;
use crate::progress::{Progress, Silent, Wait};

/// Attempts at something to which the registry says nothing at all: each costs a long wait.
pub(crate) const SILENCES_MAX: u32 = 2;
/// Failures after which civ has been waiting long enough to say so.
const QUIET_FAILURES: u32 = 3;
/// A pause that is long enough to say so, whatever came before.
const QUIET_PAUSE: Duration = Duration::from_secs(2);

/// How often and how patiently a request is repeated.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The pause after the first failure; it doubles from there.
    pub pause: Duration,
    /// The longest pause, also where the registry asks for a longer one: beyond, civ gives up.
    pub pause_max: Duration,
    /// The longest that civ waits for an answer to begin, and for a stream to go on. A second such
    /// wait for the same thing is the last.
    pub silence_max: Duration,
    /// The longest that a registry may take to store a blob once it has all of it; twice, likewise.
    pub storing_max: Duration,
    /// The longest until a request is answered, attempts and pauses included, save those pauses that
    /// the registry asks for; and again as long until its answer, where that is small, is complete.
    pub question_max: Duration,
}

impl Default for Retry {
    /// A registry that restarts is waited for: a quarter of a minute.
    fn default() -> Self {
        Self {
            attempts: 7,
            pause: Duration::from_millis(250),
            pause_max: Duration::from_mins(1),
            silence_max: Duration::from_secs(30),
            storing_max: Duration::from_mins(5),
            question_max: Duration::from_mins(1),
        }
    }
}

impl Retry {
    /// Makes an attempt, and others after failures that may pass: as many as allowed, and one more
    /// after a token that ran out. `attempt` is told how many there were before, and `again` why
    /// there is to be another.
    pub(crate) async fn persist<T, E, A>(
        &self,
        mut attempt: impl FnMut(u32) -> A,
        mut again: impl FnMut(&E, Again),
    ) -> Result<T, E>
    where
        E: AsRef<RegistryError>,
        A: Future<Output = Result<T, E>>,
    {
        let (mut made, mut refreshed) = (0, false);
        let mut attempts = Attempts::of(self);
        loop {
            let error = match attempt(made).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            made += 1;
            if matches!(error.as_ref(), RegistryError::Unauthorized) && !refreshed {
                refreshed = true;
                continue;
            }
            let Some(pause) = attempts.after(error.as_ref()) else { return Err(error) };
            again(&error, attempts.again(error.as_ref(), pause));
            tokio::time::sleep(pause).await;
        }
    }

    /// The same, with one attempt at everything.
    pub(super) fn once(&self) -> Self {
        Self { attempts: 1, ..self.clone() }
    }

    /// The pause after failure number `failed`, given what the registry asked for; none if that is
    /// too long.
    pub(crate) fn pause_after(&self, failed: u32, asked: Option<Duration>) -> Option<Duration> {
        if let Some(after) = asked {
            return (after <= self.pause_max).then_some(after);
        }
        let doubled = self.pause.saturating_mul(1 << failed.saturating_sub(1).min(16));
        Some(doubled.min(self.pause_max))
    }
}

/// Which attempt comes next, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The attempt, from 2.
    pub attempt: u32,
    /// How many there are at most, if what failed goes on failing so.
    pub of: u32,
}

/// Another attempt that is to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again {
    /// Which one it is.
    pub(crate) count: Count,
    /// Whether this has taken long enough for whoever waits to wonder.
    pub(crate) is_noticeable: bool,
}

/// What has been tried of one thing.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    retry: &'a Retry,
    failed: u32,
    silences: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn of(retry: &'a Retry) -> Self {
        Self { retry, failed: 0, silences: 0 }
    }

    /// Notes that an attempt failed with `error`. The pause before the next one, if there is to be
    /// one.
    pub(super) fn after(&mut self, error: &RegistryError) -> Option<Duration> {
        self.failed += 1;
        self.silences += u32::from(error.is_silence());
        let goes_on = error.is_transient()
            && self.failed < self.retry.attempts
            && self.silences < SILENCES_MAX;
        if goes_on { self.retry.pause_after(self.failed, error.asked()) } else { None }
    }

    pub(super) fn failed(&self) -> u32 {
        self.failed
    }

    /// The attempt that comes after `error`.
    fn next(&self, error: &RegistryError) -> Count {
        let left = self.retry.attempts.saturating_sub(self.failed);
        let silences_left = SILENCES_MAX.saturating_sub(self.silences);
        let left = if error.is_silence() { left.min(silences_left) } else { left };
        Count { attempt: self.failed + 1, of: self.failed + left }
    }

    /// The attempt that comes `pause` after `error`.
    pub(super) fn again(&self, error: &RegistryError, pause: Duration) -> Again {
        let is_noticeable = self.silences > 0 || is_noticeable(self.failed, pause);
        Again { count: self.next(error), is_noticeable }
    }
}

/// Whether `pause`, after failure number `failed`, is for whoever waits to wonder about.
pub(crate) fn is_noticeable(failed: u32, pause: Duration) -> bool {
    failed >= QUIET_FAILURES || pause >= QUIET_PAUSE
}

/// Whoever is told that civ waits.
#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<dyn Progress>);

impl Listener {
    /// Says that what the registry at `host` was asked is asked again, because of `why`, if that is
    /// worth saying.
    pub(crate) fn hear(&self, host: &str, why: &RegistryError, again: Again) {
        if again.is_noticeable {
            self.0.waiting(&Wait { host, why, next: Some(again.count) });
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self(Arc::new(Silent))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Diagnostic;
    use super::*;

    #[test]
    fn waits_longer_each_time_and_as_long_as_asked() {
        let retry = Retry::default();
        let seconds = Duration::from_secs;
        for (failed, asked, expected) in [
            (1, None, Some(Duration::from_millis(250))),
            (2, None, Some(Duration::from_millis(500))),
            (5, None, Some(seconds(4))),
            (60, None, Some(seconds(60))),
            (1, Some(seconds(0)), Some(seconds(0))),
            (1, Some(seconds(60)), Some(seconds(60))),
            (1, Some(seconds(3600)), None),
        ] {
            assert_eq!(retry.pause_after(failed, asked), expected, "{failed} {asked:?}");
        }
    }

    #[test]
    fn silence_is_suffered_twice_and_other_failures_as_often_as_allowed() {
        let after = Duration::from_secs(30);
        let silence = || RegistryError::Stalled { after };
        let busy = || RegistryError::Answer { status: 503, diagnostic: Diagnostic::default() };
        let retry = Retry::default();
        let mut attempts = Attempts::of(&retry);
        assert!(attempts.after(&busy()).is_some());
        assert_eq!(attempts.next(&busy()), Count { attempt: 2, of: 7 });
        assert!(attempts.after(&silence()).is_some());
        assert_eq!(attempts.next(&silence()), Count { attempt: 3, of: 3 });
        assert!(attempts.after(&silence()).is_none());

        let mut attempts = Attempts::of(&retry);
        let made = std::iter::repeat_with(|| attempts.after(&busy())).take_while(Option::is_some);
        assert_eq!(made.count(), 6);
        let refusal = RegistryError::Answer { status: 403, diagnostic: Diagnostic::default() };
        assert!(Attempts::of(&retry).after(&refusal).is_none());
    }
}
