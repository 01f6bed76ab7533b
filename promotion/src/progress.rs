//! What happens while it happens, for whoever wants to draw it.

use std::error::Error;
use std::fmt;

use civ_oci::{Descriptor, ImageId, Reference};

use crate::plan::Plan;
use crate::registry::Count;

/// Hears of every step, from several tasks at once. Every method may be left as it is.
pub trait Progress: Send + Sync + 'static {
    /// What is to be done is known; none of it is done yet.
    fn planned(&self, plan: &Plan) {
        let _ = plan;
    }

    /// The copy of a blob begins.
    fn blob_started(&self, blob: &Descriptor) {
        let _ = blob;
    }

    /// `bytes` more of a blob are on their way.
    fn blob_moved(&self, blob: &Descriptor, bytes: u64) {
        let _ = (blob, bytes);
    }

    /// A registry keeps civ waiting: it is silent, or a request failed and is made again.
    fn waiting(&self, wait: &Wait<'_>) {
        let _ = wait;
    }

    /// The copy of a blob failed, and begins anew.
    fn blob_restarted(&self, blob: &Descriptor, why: &Wait<'_>) {
        let _ = (blob, why);
    }

    /// A blob is at the destination.
    fn blob_done(&self, blob: &Descriptor, how: Arrival) {
        let _ = (blob, how);
    }

    /// A manifest or index is at the destination, under its digest.
    fn manifest_written(&self, image: &ImageId) {
        let _ = image;
    }

    /// An image is signed; `added` is false where this very signature was there before.
    fn signed(&self, image: &ImageId, added: bool) {
        let _ = (image, added);
    }

    /// The gate would let the image pass.
    fn verified(&self, image: &ImageId) {
        let _ = image;
    }

    /// The tag names the image; `moved` is false where it did before.
    fn tagged(&self, tag: &Reference, moved: bool) {
        let _ = (tag, moved);
    }
}

/// Why civ waits, displayed on one line without what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    /// The registry, as host and port.
    pub host: &'a str,
    /// What failed, or how long the registry has been silent.
    pub why: &'a (dyn Error + Send + Sync),
    /// The attempt that comes next; none while the present one goes on.
    pub next: Option<Count>,
}

impl fmt::Display for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, why, next } = self;
        match next {
            Some(Count { attempt, of }) => write!(f, "again ({attempt} of {of}): {host}: {why}"),
            None => write!(f, "waiting: {host}: {why}"),
        }
    }
}

/// How a blob got where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Byte by byte.
    Copied,
    /// The registry took it from another of its repositories.
    Mounted,
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
