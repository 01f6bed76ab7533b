//! What an image says of itself, and whether that is what a policy asks for.
//!
//! It holds no socket, clock or environment: a registry is an argument
//! ([`civ_oci::RegistryRead`]), and so is the time. [`verify_annotations`] reads the document that is
//! pulled, by its digest, and beyond it only what the statement's rules are about: the manifests that
//! an index lists, and the configurations of images for their labels. All of it is reached through
//! digests from the one that is pulled, so nobody but the image's author can have written it. Whether
//! to trust the author is for signatures to say.
//!
//! | module | what it holds |
//! |---|---|
//! | [`verify`] | [`verify_annotations`], [`DescribedImage`], [`VerifyError`] |
//! | [`mod@decide`] | [`decide()`]: all of this in order, up to the verdict |
//! | [`documents`] | the image's documents, each read once and only if a rule needs it |
//! | [`rejection`] | [`Rejection`]: why an image is not as asked; [`Site`]: where that was seen |
//! | [`platform`] | which manifests of an index a node may run |

pub mod decide;
pub mod documents;
pub mod platform;
pub mod rejection;
pub mod verify;

/// The most requests that the verifier makes to a registry for one verdict, redirects and repetitions
/// included, those to token servers not. One suffices for what is pulled. This is for the manifests of
/// an index and their configurations, each as many redirects away as are followed.
#[allow(clippy::cast_possible_truncation, reason = "a constant far below it")]
pub const REQUESTS_MAX: u32 = (1 + 2 * documents::MANIFESTS_MAX as u32) * (1 + REDIRECTS_MAX);

use civ_oci::registry::REDIRECTS_MAX;

pub use decide::decide;
pub use rejection::{Rejection, Site};
pub use verify::{DescribedImage, VerifyError, verify_annotations};
