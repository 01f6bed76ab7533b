//! Trust policies: which repositories a document speaks of, and what it asks of their images.
//!
//! Parsing is strict: an unknown field, a duplicate key, a scope stated twice or trailing bytes make
//! the whole document invalid, since a policy that is misread is worse than none. Nothing here talks
//! to a registry, reads a clock or an environment variable; [`mod@file`] opens the one file it is given.
//!
//! | module | what it holds |
//! |---|---|
//! | [`annotations`] | the document of `annotations-image-verifier` |
//! | [`cosign`] | the document of `cosign-image-verifier` |
//! | [`digestion`] | the document of `digestion-image-verifier`, Bottlerocket's unchanged |
//! | [`notation`] | the document of `notation-image-verifier`, the Notary Project's unchanged |
//! | [`scope`] | [`Scope`]: which repositories a statement is for |
//! | [`statements`] | [`Statements`]: which statement is for a repository |
//! | [`kms`] | [`KmsKeyRef`]: `awskms://` key references; [`KeySource`]: who knows their public keys |
//! | [`kms_cache`] | [`KmsCache`]: how long an answer of KMS is used |
//! | [`level`] | [`Level`]: what a failed check leads to |
//! | [`deadline`] | how long a verdict may take |
//! | [`evidence`] | [`Evidence`]: why a pull may go on |
//! | [`mod@file`] | [`PolicyFile`]: opening a policy without being led elsewhere |
//! | [`time`] | [`UtcTime`]: moments as policies write them |
//! | [`transparency`] | [`transparency::Requirements`]: logs and timestamps that a statement asks for |
//! | [`verdict`] | [`Verdict`], [`Refusal`], [`Exit`]; [`Observer`]: who hears how one comes about |
//! | [`error`] | [`PolicyError`] |

pub mod annotations;
pub mod cosign;
pub mod deadline;
pub mod digestion;
pub mod error;
pub mod evidence;
pub mod file;
pub mod kms;
pub mod kms_cache;
pub mod level;
pub mod notation;
pub mod scope;
pub mod statements;
pub mod time;
pub mod transparency;
pub mod verdict;

pub use error::PolicyError;
pub use evidence::{Evidence, Exempt};
pub use file::{PolicyFile, PolicyFileError};
pub use kms::{KeySource, KmsKeyRef};
pub use kms_cache::KmsCache;
pub use level::Level;
pub use scope::Scope;
pub use statements::{NoStatement, Statements};
pub use time::UtcTime;
pub use verdict::{Exit, Observer, Refusal, Verdict};
