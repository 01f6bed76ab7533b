//! The nouns of container images: what a reference, a digest, a descriptor and a manifest are, and
//! how their text is parsed. A leaf without I/O, so that every parser here can be tested and fuzzed
//! alone; both halves of civ (the gate and the dispatcher) share it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mod@reference`] | [`Reference`], [`Repository`], [`Tag`]: the names of images |
//! | [`digest`] | [`Digest`]: content addresses, and the comparison of bytes with them |
//! | [`image`] | [`ImageId`]: the one thing a verdict can be about |
//! | [`descriptor`] | [`Descriptor`], [`Platform`] |
//! | [`manifest`] | [`Document`]: a manifest or an index, told apart without guessing |
//! | [`media_type`] | the media types civ knows |
//! | [`registry`] | [`RegistryRead`]: what a verifier may ask of a registry |
//! | [`strict_json`] | JSON that every reader reads alike, in one form only |
//! | [`text`] | text of strangers on one line |

pub mod descriptor;
pub mod digest;
pub mod image;
pub mod manifest;
pub mod media_type;
pub mod reference;
pub mod registry;
pub mod strict_json;
pub mod text;

pub use descriptor::{Descriptor, Platform};
pub use digest::{Algorithm, Digest, DigestError, DigestMismatch};
pub use image::ImageId;
pub use manifest::{Document, DocumentError, ImageIndex, ImageManifest};
pub use reference::{Reference, ReferenceError, Repository, Tag};
pub use registry::{NextPage, ReferrersPage, RegistryRead, Selector, StoredManifest};
