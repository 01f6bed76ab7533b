//! What happens while it happens, for whoever wants to draw it.

use civ_oci::{Descriptor, ImageId, Reference};

use crate::plan::Plan;

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

    /// The copy of a blob failed, and begins anew.
    fn blob_restarted(&self, blob: &Descriptor) {
        let _ = blob;
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
