//! The demo's table, for a terminal of any width: the reason comes last and may wrap.

use std::time::Duration;

use super::stage::{Expected, Scene};
use crate::output::{Colour, Line};

/// What came of a pull.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The exit code of the verifier; none if it was killed.
    pub(crate) exit: Option<i32>,
    /// The reason given.
    pub(crate) reason: String,
    /// How long it took.
    pub(crate) wall: Duration,
}

impl Verdict {
    /// Whether the pull may go on.
    pub(crate) fn is_allowed(&self) -> bool {
        self.exit == Some(0)
    }

    /// A refusal counts for the reason that was meant, and for no other.
    pub(crate) fn is(&self, expected: Expected) -> bool {
        match expected {
            Expected::Allowed => self.is_allowed(),
            Expected::Refused(words) => self.exit == Some(1) && self.reason.contains(words),
        }
    }
}

/// A table of pulls, printed line by line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    width: usize,
}

impl Table {
    /// One that has room for these.
    pub(crate) fn of(scenes: &[Scene]) -> Self {
        Self { width: scenes.iter().map(|scene| scene.title.len()).max().unwrap_or_default() }
    }

    /// The names of the columns.
    pub(crate) fn head(self) -> Line {
        let (image, width) = ("image", self.width);
        let rest = format!("{:11}  {:7}  {:>4}  {:>7}  reason", "asked", "verdict", "exit", "ms");
        format!("  {image:width$}  {rest}").into()
    }

    /// What `asked` said about the image of `scene`; in capitals if it should have said something else.
    pub(crate) fn row(self, scene: &Scene, asked: &str, verdict: &Verdict) -> Line {
        let width = self.width;
        let (colour, word) = match (verdict.is_allowed(), verdict.is(scene.expected)) {
            (true, true) => (Colour::Green, "allowed"),
            (false, true) => (Colour::Red, "refused"),
            (true, false) => (Colour::Alarm, "ALLOWED"),
            (false, false) => (Colour::Alarm, "REFUSED"),
        };
        let exit = verdict.exit.map_or_else(|| "-".to_owned(), |exit| exit.to_string());
        let ms = verdict.wall.as_secs_f64() * 1e3;
        Line::default()
            .plain(format_args!("  {:width$}  {asked:11}  ", scene.title))
            .painted(colour, word)
            .plain(format_args!("  {exit:>4}  {ms:>7.1}  {}", verdict.reason))
    }
}

/// One line about a verdict that is not the expected one.
pub(crate) fn complaint(scene: &Scene, asked: &str) -> String {
    let title = scene.title;
    match scene.expected {
        Expected::Allowed => format!("Not as expected: \"{title}\" should be allowed by {asked}."),
        Expected::Refused(words) => format!(
            "Not as expected: \"{title}\" should be refused by {asked}, with exit code 1 and the words: {words}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_another_reason_is_not_the_expected_one() {
        let verdict =
            |exit, reason: &str| Verdict { exit, reason: reason.to_owned(), wall: Duration::ZERO };
        let refused = Expected::Refused("no signature");
        for (exit, reason, expected, is_expected) in [
            (Some(0), "", Expected::Allowed, true),
            (Some(1), "no signature for x", Expected::Allowed, false),
            (None, "killed", Expected::Allowed, false),
            (Some(1), "unsigned: no signature for x", refused, true),
            (Some(1), "registry down", refused, false),
            (Some(4), "no signature", refused, false),
            (Some(0), "no signature", refused, false),
            (None, "no signature", refused, false),
        ] {
            assert_eq!(verdict(exit, reason).is(expected), is_expected, "{exit:?} {reason}");
        }
    }
}
