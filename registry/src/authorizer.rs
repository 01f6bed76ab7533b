//! Permission to read, where somebody other than a node asks.
//!
//! A verifier asks every registry as nobody in particular. The dispatcher asks the same questions
//! with this client, for somebody who may have logged in to the registry. What is kept for that
//! never comes here: the client hands over what the registry asks for, and gets the header to answer
//! with.

use std::error::Error;
use std::fmt;

use civ_oci::Repository;

use crate::Challenge;

/// Answers the challenges of one registry.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// The `Authorization` header to read `repository` with, where its registry asked for it by
    /// `challenge`; `None` to ask as a verifier does. The client sends it to the registry of
    /// `repository` and nowhere else. Whoever answers must see to it that a token server, which the
    /// registry names, learns nothing that is not meant for it.
    ///
    /// What time it takes is not taken from the client's: verifiers find no credentials.
    ///
    /// # Errors
    /// Whatever keeps those who are known to the registry from being known to it now.
    fn authorization(
        &self,
        challenge: &Challenge,
        repository: &Repository,
    ) -> Result<Option<String>, Box<dyn Error + Send + Sync>>;
}
