//! Adding an entry to a list that others add to at the same time: the layers of a `.sig` image, or
//! the index that stands in for a list of referrers. Both are documents under a tag.
//!
//! Registries have no "write only if nobody else did": whoever writes a tag replaces what another
//! wrote since it was read. So every writer restores what it has seen. It reads the tag; writes all
//! that is there, all that it ever saw there, and its own; waits until whoever read the tag before
//! that write must have written; and reads again. It is done when nothing that it knows of is
//! missing and nobody has written during such a wait.
//!
//! What can be lost this way is only the entry of a writer that another one overtakes by more than
//! that wait between a look at the tag and the end of the write right after it. The wait is a
//! multiple of what the same two requests took here, and grows when others are seen to write.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use civ_oci::{Descriptor, Digest, Selector, StoredManifest, Tag};
use serde_json::value::RawValue;

use crate::error::Cause;
use crate::registry::{Destination, RegistryError, Retry};

/// The most times that the tag is written.
const ROUNDS_MAX: u32 = 40;
/// The longest that is tried, in all.
const PATIENCE: Duration = Duration::from_mins(1);
/// Codes by which registries say that a tag may not change. ECR says the first.
const IMMUTABLE: [&str; 3] = ["TAG_INVALID", "TAG_IMMUTABLE", "ImageTagAlreadyExistsException"];
/// Codes by which registries say that a document names something that they do not have.
const DANGLING: [&str; 3] = ["MANIFEST_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID"];

/// An entry of a list, as the text that it is.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What makes it another entry than others, however it is written.
    pub(crate) key: String,
    /// Its JSON.
    pub(crate) text: Box<RawValue>,
}

/// A document, and what has to be there before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// A list under a tag, and an entry that is to be in it.
pub(crate) trait Listing {
    /// The tag.
    fn tag(&self) -> &Tag;
    /// The entry.
    fn ours(&self) -> &Entry;
    /// Whether `entry` says what ours says.
    fn is_ours(&self, entry: &Entry) -> bool;
    /// What is in the list.
    fn entries(&self, stored: &StoredManifest) -> Result<Vec<Entry>, Cause>;
    /// The list with `entries`, otherwise like `base`.
    fn render(&self, base: Option<&StoredManifest>, entries: &[Entry]) -> Result<Rendered, Cause>;
    /// The manifest that a registry asks to be there for this entry.
    fn names(&self, entry: &Entry) -> Option<Digest>;
}

/// Adds the entry of `listing`, unless it is there. True if it was written.
pub(crate) async fn add(target: &Destination, listing: &impl Listing) -> Result<bool, Cause> {
    let name = Selector::Tag(listing.tag().clone());
    let mut pace = Pace::of(target.retry());
    let begun = Instant::now();
    let mut seen: Vec<Entry> = Vec::new();
    let mut dangling = BTreeSet::new();
    let mut written = false;
    // What the tag named when it was last written or read with nothing missing.
    let mut complete = None;
    for _ in 0..ROUNDS_MAX {
        let found = target.read().find_manifest(&name).await?;
        let present = found.as_ref().map(|found| listing.entries(found)).transpose()?;
        let present = present.unwrap_or_default();
        let found_digest = found.as_ref().map(|found| found.digest.clone());
        let is_quiet = complete == found_digest;
        let entries = union(listing, &present, &seen, &dangling);
        let has_all = entries.iter().all(|entry| is_among(&present, entry));
        if has_all && (is_quiet || !written || begun.elapsed() > PATIENCE) {
            return Ok(written);
        }
        if begun.elapsed() > PATIENCE {
            break;
        }
        pace.contended += u32::from(written && !is_quiet);
        seen = entries;
        if has_all {
            complete = found_digest;
            tokio::time::sleep(pace.settle()).await;
            continue;
        }
        let rendered = listing.render(found.as_ref(), &seen)?;
        for (descriptor, bytes) in &rendered.blobs {
            target.push_blob(descriptor, bytes).await?;
        }
        let (looked, digest) = pace.look(target, &name).await?;
        if digest != found_digest {
            pace.contended += 1;
            tokio::time::sleep(pace.pause()).await;
            continue;
        }
        match target.push_manifest(&name, &rendered.media_type, &rendered.bytes).await {
            Ok(()) => written = true,
            Err(error) if is_dangling(&error) => {
                let before = dangling.len();
                find_dangling(target, listing, &seen, &mut dangling).await?;
                if dangling.len() == before {
                    return Err(error.into());
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        complete = Some(Digest::sha256(&rendered.bytes));
        pace.window = pace.window.max(looked.elapsed());
        tokio::time::sleep(pace.settle()).await;
    }
    Err(Cause::SignatureLost)
}

/// Whether the registry refused because the tag may not change.
pub(crate) fn is_immutable(error: &RegistryError) -> bool {
    error.code().is_some_and(|code| IMMUTABLE.contains(&code))
}

/// What is there, then what was there, and ours, if nothing of that says the same.
fn union(
    listing: &impl Listing,
    present: &[Entry],
    seen: &[Entry],
    dangling: &BTreeSet<String>,
) -> Vec<Entry> {
    let mut entries = present.to_vec();
    entries.retain(|entry| !dangling.contains(&entry.key));
    for entry in seen.iter().chain([listing.ours()]) {
        let said = listing.is_ours(entry) && entries.iter().any(|known| listing.is_ours(known));
        if !said && !dangling.contains(&entry.key) && !is_among(&entries, entry) {
            entries.push(entry.clone());
        }
    }
    entries
}

fn is_among(entries: &[Entry], entry: &Entry) -> bool {
    entries.iter().any(|known| known.key == entry.key)
}

fn is_dangling(error: &RegistryError) -> bool {
    error.code().is_some_and(|code| DANGLING.contains(&code))
}

/// Entries whose manifests are gone: a registry takes no list that names them.
async fn find_dangling(
    target: &Destination,
    listing: &impl Listing,
    entries: &[Entry],
    dangling: &mut BTreeSet<String>,
) -> Result<(), Cause> {
    for entry in entries {
        let Some(digest) = listing.names(entry) else { continue };
        if target.read().find_digest(&Selector::Digest(digest)).await?.is_none() {
            dangling.insert(entry.key.clone());
        }
    }
    Ok(())
}

/// How long to wait for others.
#[derive(Debug)]
struct Pace {
    /// The least wait.
    least: Duration,
    /// The longest time from a look at the tag to the end of the write that followed.
    window: Duration,
    /// The shortest time that a look at the tag took.
    glance: Duration,
    /// How often others were seen to have written.
    contended: u32,
}

impl Pace {
    /// The least wait: for a machine that is busy, and lets a process stand still so long.
    const SETTLE_MIN: Duration = Duration::from_millis(150);
    const SETTLE_MAX: Duration = Duration::from_secs(3);
    const PAUSE_MIN: Duration = Duration::from_millis(4);
    const PAUSE_MAX: Duration = Duration::from_secs(1);
    /// A look that took longer than this, and than twice the shortest one, is stale.
    const GLANCE_MAX: Duration = Duration::from_millis(20);
    const GLANCES: usize = 5;

    /// Who is told to be impatient with registries is with other writers, too.
    fn of(retry: &Retry) -> Self {
        Self {
            least: Self::SETTLE_MIN.min(retry.pause),
            window: Duration::ZERO,
            glance: Duration::MAX,
            contended: 0,
        }
    }

    /// What the tag names, and since when that is known. A look that took unusually long is
    /// repeated: what it saw may be old.
    async fn look(
        &mut self,
        target: &Destination,
        name: &Selector,
    ) -> Result<(Instant, Option<Digest>), RegistryError> {
        let mut last = None;
        for _ in 0..Self::GLANCES {
            let looked = Instant::now();
            let digest = target.read().find_digest(name).await?;
            let took = looked.elapsed();
            self.glance = self.glance.min(took);
            last = Some((looked, digest));
            if took <= self.glance.saturating_mul(2).max(Self::GLANCE_MAX) {
                break;
            }
        }
        Ok(last.unwrap_or_else(|| (Instant::now(), None)))
    }

    /// How long after a write it can still be undone, up to half as long again: not all at once.
    fn settle(&self) -> Duration {
        let settle = self.window.saturating_mul(4).max(self.least);
        let settle = settle.saturating_mul(1 + self.contended).min(Self::SETTLE_MAX);
        settle + (settle / 2).mul_f64(random_fraction())
    }

    /// How long to let others write before the next attempt.
    fn pause(&self) -> Duration {
        let pause = self.window.max(Self::PAUSE_MIN).saturating_mul(1 << self.contended.min(8));
        pause.min(Self::PAUSE_MAX).mul_f64(random_fraction())
    }
}

/// From 0 up to 1. Without randomness, in the middle.
fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_for_slow_registries_and_for_others_but_not_for_ever() {
        let millis = Duration::from_millis;
        for (window, contended, least) in [
            (millis(0), 0, millis(150)),
            (millis(5), 0, millis(150)),
            (millis(100), 0, millis(400)),
            (millis(5), 3, millis(600)),
            (millis(100), 5, millis(2400)),
            (Duration::from_mins(1), 0, Pace::SETTLE_MAX),
            (Duration::MAX, u32::MAX - 1, Pace::SETTLE_MAX),
        ] {
            let pace = Pace { window, contended, ..Pace::of(&Retry::default()) };
            let settle = pace.settle();
            assert!(least <= settle && settle <= least * 3 / 2, "{pace:?}: {settle:?}");
            assert!(pace.pause() <= Pace::PAUSE_MAX, "{pace:?}");
        }
    }

    struct Letters {
        tag: Tag,
        ours: Entry,
    }

    fn entry(key: &str) -> Entry {
        Entry { key: key.to_owned(), text: serde_json::value::to_raw_value(key).unwrap() }
    }

    impl Listing for Letters {
        fn tag(&self) -> &Tag {
            &self.tag
        }

        fn ours(&self) -> &Entry {
            &self.ours
        }

        fn is_ours(&self, entry: &Entry) -> bool {
            entry.key.eq_ignore_ascii_case(&self.ours.key)
        }

        fn entries(&self, _: &StoredManifest) -> Result<Vec<Entry>, Cause> {
            Ok(Vec::new())
        }

        fn render(&self, _: Option<&StoredManifest>, _: &[Entry]) -> Result<Rendered, Cause> {
            Err(Cause::Internal)
        }

        fn names(&self, _: &Entry) -> Option<Digest> {
            None
        }
    }

    #[test]
    fn nothing_that_was_ever_seen_is_left_out_and_nothing_is_there_twice() {
        let listing = Letters { tag: "t".parse().unwrap(), ours: entry("o") };
        let gone = BTreeSet::from(["x".to_owned()]);
        for (present, seen, expected) in [
            ("", "", "o"),
            ("ab", "", "abo"),
            ("b", "abo", "bao"),
            ("ao", "", "ao"),
            ("aO", "ao", "aO"),
            ("aO", "a", "aO"),
            ("ax", "bx", "abo"),
        ] {
            let letters = |text: &str| {
                text.chars().map(|letter| entry(&letter.to_string())).collect::<Vec<_>>()
            };
            let union = union(&listing, &letters(present), &letters(seen), &gone);
            let union: String = union.into_iter().map(|entry| entry.key).collect();
            assert_eq!(union, expected, "{present} {seen}");
        }
    }
}
