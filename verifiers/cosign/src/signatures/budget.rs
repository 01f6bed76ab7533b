//! How much of what is stored is looked at for one verdict, and the number of requests that this adds
//! up to. Whoever may push to a repository decides how much is stored there; it must not decide how
//! long a pull takes, nor, by storing much in one place, whether the other is looked at.
//!
//! | place | looked at | asked for, at most |
//! |---|---|---|
//! | the tag `sha256-<hex>.sig` | its newest 100 signatures, with 16 payloads that are not in line | 1 + 16 |
//! | the list of referrers | 100 of those that may be signatures, on 3 pages | 3 |
//! | referrers | 16 of them, from both ends of the list, each with a blob | 16 × 2 |
//!
//! Sixteen is more than a pipeline has stages that sign, and with it all of the above takes 52
//! requests, or 84 where each blob is one redirect away. Of the verifiers' 8 s some 7.7 s are for
//! requests: enough if a registry answers each of the 52 within 0.14 s, or of the 84 within 0.09 s.
//!
//! Nor must what is stored decide how much memory and computing a verdict takes, of which dozens are
//! made at once in containerd's own share of the machine. So what referrers hold is bounded, too: a
//! manifest by 2 MiB, and all manifests and bundles together by 8 MiB.

use civ_oci::Selector;
use civ_oci::registry::REDIRECTS_MAX;

use super::problem::Large;
use super::{Place, Problem};

/// The most signatures looked at in one image of signatures, from the newest; cosign reads 1,000,
/// and nobody needs that many.
pub const SIGNATURES_MAX: usize = 100;
/// The most referrers looked at in a list.
pub const REFERRERS_MAX: usize = 100;
/// The largest simple-signing payload read, in bytes. Real ones have a few hundred; each is hashed
/// once for every algorithm of every key.
pub const PAYLOAD_MAX: u64 = 64 << 10;
/// The most pages of a list of referrers read. A registry that offers no list takes two requests to
/// say so.
pub(super) const PAGES_MAX: usize = 3;
/// The most distinct payloads fetched under the tag. Those in line cost nothing.
const TAG_PAYLOADS_MAX: usize = 16;
/// The most referrers fetched. Signers that attach one at every build leave many.
const REFERRERS_FETCHED_MAX: usize = 16;

/// The largest manifest of a referrer that is parsed, in bytes: room for a bundle of 1 MiB in line. A
/// parser takes up to sixteen times as much memory.
pub const REFERRER_MAX: u64 = 2 << 20;
/// The most that the manifests and bundles of all referrers have together, in bytes.
pub const REFERRERS_BYTES_MAX: u64 = 8 << 20;

/// All that is asked of a registry for one verdict: the tag, its payloads, the list, and referrers
/// with a blob each.
const QUESTIONS_MAX: usize = 1 + TAG_PAYLOADS_MAX + PAGES_MAX + REFERRERS_FETCHED_MAX * 2;

/// The most requests that the verifier makes to a registry for one verdict, redirects and repetitions
/// included, those to token servers not: as many as all that is asked for takes where each is as many
/// redirects away as are followed. So it is not the redirects of a registry that decide what is
/// looked at.
#[allow(clippy::cast_possible_truncation, reason = "a constant far below it")]
pub const REQUESTS_MAX: u32 = QUESTIONS_MAX as u32 * (1 + REDIRECTS_MAX);

/// What may still be fetched.
#[derive(Debug)]
pub(super) struct Budget {
    tag_payloads: usize,
    referrers: usize,
    referrers_blobs: usize,
    referrers_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tag_payloads: TAG_PAYLOADS_MAX,
            referrers: REFERRERS_FETCHED_MAX,
            referrers_blobs: 0,
            referrers_bytes: REFERRERS_BYTES_MAX,
        }
    }
}

impl Budget {
    /// Takes a referrer, and with it the right to fetch one blob, for it or for a later one. One that
    /// wants more must not take them from those behind it.
    pub(super) fn spend_referrer(&mut self) -> Result<(), Problem> {
        take(&mut self.referrers)?;
        self.referrers_blobs += 1;
        Ok(())
    }

    /// How long what a referrer holds may be at most: `size`, as it is stated, is compared with that
    /// before it is asked for.
    pub(super) fn bytes_for(&self, what: Large, size: u64) -> Result<u64, Problem> {
        let limit = what.limit();
        if size > limit {
            Err(Problem::TooLarge { what, size, limit })
        } else if size > self.referrers_bytes {
            Err(Problem::Bytes { limit: REFERRERS_BYTES_MAX })
        } else {
            Ok(limit.min(self.referrers_bytes))
        }
    }

    /// Takes the `bytes` that a referrer holds, whatever was stated. What is longer than it may be is
    /// not to be parsed, but was read all the same.
    pub(super) fn spend_bytes(&mut self, what: Large, bytes: &[u8]) -> Result<(), Problem> {
        let size = bytes.len() as u64;
        let permitted = self.bytes_for(what, size);
        self.referrers_bytes = self.referrers_bytes.saturating_sub(size);
        permitted.map(drop)
    }

    /// Takes a blob of what is stored at `place`.
    pub(super) fn spend_blob(&mut self, place: &Place) -> Result<(), Problem> {
        match place.name {
            Selector::Tag(_) => take(&mut self.tag_payloads),
            Selector::Digest(_) => take(&mut self.referrers_blobs),
        }
    }
}

fn take(left: &mut usize) -> Result<(), Problem> {
    *left = left.checked_sub(1).ok_or(Problem::LeftOut { count: 1 })?;
    Ok(())
}
