//! The public key of an AWS KMS key, asked for by a node with its own credentials.
//!
//! A trust policy can name a key by its ARN alone. Then the node asks KMS, within a part of the
//! verdict's time, and keeps the answer for a while. The whole AWS of the gate is in this crate: one
//! signed request, and those that credentials take. Which key is trusted is the policy's to say and
//! nobody else's: the answer must name the ARN that was asked for, and the host that is asked follows
//! from the policy, whatever the environment holds.
//!
//! | module | what it holds | I/O |
//! |---|---|---|
//! | [`public_keys`] | [`PublicKeys`]: the implementation of [`civ_policy::KeySource`] | yes |
//! | [`kms`] | the request `GetPublicKey`, and what may be wrong with its answer | yes |
//! | [`cache`] | [`Cache`]: answers kept under `/run/civ` | files |
//! | [`credentials`] | [`Credentials`], and the places where a node finds them | yes |
//! | [`sigv4`] | the signature of a request | no |
//! | [`network`] | [`Network`]: one bounded exchange at a time, until a deadline | yes |
//! | [`environment`] | [`Environment`]: the variables that may be read | no |

pub mod cache;
pub mod credentials;
pub mod environment;
pub mod kms;
pub mod network;
pub mod public_keys;
pub mod sigv4;

pub use cache::{Cache, CacheError};
pub use credentials::{Credentials, CredentialsError};
pub use environment::Environment;
pub use kms::KmsError;
pub use network::{Network, NetworkError};
pub use public_keys::{Endpoints, Options, PublicKeys};
