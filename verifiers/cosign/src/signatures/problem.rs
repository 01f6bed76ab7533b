//! What is stored where signatures are, and is none that can be looked at.

use std::fmt;

use super::Place;
use super::budget::{PAYLOAD_MAX, REFERRER_MAX};
use crate::bundle::{BUNDLE_MAX, BundleError};

/// What takes the place of a signature that cannot be looked at.
#[derive(Debug)]
pub enum Unreadable<E> {
    /// The registry failed. What it did not give might have been the one that was missing.
    Registry(E),
    /// What is stored is not a signature, or is not looked at.
    Problem(Problem),
}

/// What is wrong with a thing stored where signatures are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A referrer that says it is a bundle, and is none made with a key.
    #[error("signature unreadable: bundle {place}: {source}")]
    Bundle {
        /// Where.
        place: Place,
        /// Why not.
        source: BundleError,
    },
    /// All referrers together are larger than civ reads.
    #[error(
        "limit reached: the manifests and bundles of the referrers have more than {limit} bytes"
    )]
    Bytes {
        /// The most that is read.
        limit: u64,
    },
    /// There are more than civ looks at.
    #[error("limit reached: {count} more signatures were not looked at")]
    LeftOut {
        /// How many.
        count: usize,
    },
    /// The list of the image's referrers has more pages than civ reads.
    #[error("limit reached: the list of referrers of {place} has more than {limit} pages")]
    Pages {
        /// The image.
        place: Place,
        /// How many are read.
        limit: usize,
    },
    /// Layers that should hold a signature.
    #[error(
        "signatures unreadable: none of {count} layers of {place} holds a well-formed signature"
    )]
    Layers {
        /// Where.
        place: Place,
        /// How many.
        count: usize,
    },
    /// Not what should be there.
    #[error("signatures unreadable: {place} is not {expected}")]
    Place {
        /// Where.
        place: Place,
        /// What should be there.
        expected: &'static str,
    },
    /// What should list the image's referrers does not.
    #[error("signatures unreadable: the referrers of {place} are not listed as they should be")]
    Referrers {
        /// The image.
        place: Place,
    },
    /// One thing is larger than civ reads.
    #[error("limit reached: {what} of {size} bytes is larger than {limit}")]
    TooLarge {
        /// What it is.
        what: Large,
        /// The length stated.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
}

/// What can be larger than civ reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Large {
    /// A simple-signing payload.
    Payload,
    /// A bundle.
    Bundle,
    /// The manifest of a referrer.
    Manifest,
}

impl Large {
    /// How much of it is read, in bytes.
    pub fn limit(self) -> u64 {
        match self {
            Self::Payload => PAYLOAD_MAX,
            Self::Bundle => BUNDLE_MAX,
            Self::Manifest => REFERRER_MAX,
        }
    }
}

impl fmt::Display for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Payload => "payload",
            Self::Bundle => "bundle",
            Self::Manifest => "manifest of a referrer",
        })
    }
}

impl<E> From<Problem> for Unreadable<E> {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}
