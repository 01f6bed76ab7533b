//! What `civ promote` and `civ sign` say about signatures: the lines, and a part of the document.

use std::time::Duration;

use civ_policy::UtcTime;
use civ_promotion::Signatures;
use civ_promotion::sign::State;
use serde::Serialize;

use crate::failure::Failure;

/// The signatures of one image by one key.
#[derive(Serialize)]
pub(super) struct Report {
    image: String,
    formats: Vec<OfFormat>,
}

#[derive(Serialize)]
struct OfFormat {
    format: String,
    state: &'static str,
    /// Why it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Report {
    pub(super) fn of(signatures: &Signatures) -> Self {
        let format = |(format, state): (&_, &State)| OfFormat {
            format: civ_promotion::Format::to_string(format),
            state: match state {
                State::Added => "added",
                State::LeftOut(_) => "leftOut",
                State::Missing => "missing",
                State::Present => "present",
            },
            reason: match state {
                State::LeftOut(obstacle) => Some(obstacle.to_string()),
                State::Added | State::Missing | State::Present => None,
            },
        };
        Self {
            image: signatures.image.to_string(),
            formats: signatures.formats.iter().map(format).collect(),
        }
    }

    /// The images whose signatures are complete (or not): the ones signed before, and now.
    pub(super) fn images(all: &[Signatures], complete: bool) -> Vec<String> {
        let images = all.iter().filter(move |one| one.is_complete() == complete);
        images.map(|one| one.image.to_string()).collect()
    }

    /// A line for the image, and one for each form that cannot be.
    pub(super) fn lines(&self, dry_run: bool, algorithm: &str) -> Vec<String> {
        let of = |state| {
            let those = self.formats.iter().filter(move |one| one.state == state);
            those.map(|one| one.format.as_str()).collect::<Vec<_>>().join(" and ")
        };
        let (now, before) = (of(if dry_run { "missing" } else { "added" }), of("present"));
        let label = if dry_run { "would sign" } else { "signed  " };
        let mut lines = match (now.as_str(), before.as_str()) {
            ("", before) => vec![format!("signed   {} (before) as {before}", self.image)],
            (now, "") => vec![format!("{label} {} ({algorithm}) as {now}", self.image)],
            (now, before) => {
                vec![format!("{label} {} ({algorithm}) as {now}; before as {before}", self.image)]
            }
        };
        for one in &self.formats {
            if let Some(reason) = &one.reason {
                lines.push(format!("left out {} of {}: {reason}", one.format, self.image));
            }
        }
        lines
    }
}

/// The time that signatures state, where builds are to be reproducible: `SOURCE_DATE_EPOCH`, in
/// seconds ([reproducible-builds.org](https://reproducible-builds.org/specs/source-date-epoch/)).
pub(super) fn source_date_epoch() -> Result<Option<UtcTime>, Failure> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = text.to_str().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    match seconds.and_then(UtcTime::from_unix) {
        Some(time) => Ok(Some(time)),
        None => Err(Failure::usage("SOURCE_DATE_EPOCH is no number of seconds since 1970")),
    }
}
