//! A bounded, blocking, read-only client for OCI registries: what a verifier may ask, within a
//! deadline, a number of requests and a size, of a registry that it does not trust.
//!
//! Every answer that was asked for by digest is bounded, hashed and compared before anybody sees
//! it. Redirects and token servers that a registry names are followed only to where they may lead. It
//! knows no credentials; an [`Authorizer`], which no verifier has, may answer a registry's challenge,
//! and what it answers goes to that registry only.
//!
//! The verifiers read through it, and so does the dispatcher where it says what a verifier would say.
//!
//! | module | what it holds | I/O |
//! |---|---|---|
//! | [`client`] | [`Client`]: the implementation of [`civ_oci::RegistryRead`] | yes |
//! | [`transport`] | connections: TLS, time-outs, addresses that may be reached | yes |
//! | [`roots`] | the certificate authorities of the system, read when a chain asks for them | yes |
//! | `address` | where addresses lead, and what of them may be said | no |
//! | [`challenge`] | `WWW-Authenticate`: what a registry asks for | no |
//! | [`endpoint`] | [`Endpoint`]: where a repository's registry is | on loopback |
//! | `probe` | whether a server on loopback speaks TLS | yes |
//! | [`link`] | where a list goes on | no |
//! | [`guard`] | where a registry may send its clients | no |
//! | [`authorizer`] | [`Authorizer`]: who answers challenges where somebody has logged in | no |
//! | [`limits`] | [`Limits`]: every bound, with its reason | no |
//! | [`error`] | [`Error`] | no |
//!
//! The modules without I/O, and [`endpoint`], are shared with the dispatcher's own client, which writes.

mod address;
pub mod authorizer;
pub mod challenge;
pub mod client;
pub mod endpoint;
pub mod error;
pub mod guard;
pub mod limits;
pub mod link;
mod probe;
pub mod roots;
pub mod transport;

pub use authorizer::Authorizer;
pub use challenge::Challenge;
pub use client::Client;
pub use endpoint::Endpoint;
pub use error::Error;
pub use limits::Limits;
/// A proxy, as [`client::Options`] takes it.
pub use ureq::{Error as ProxyError, Proxy, ProxyProtocol};
