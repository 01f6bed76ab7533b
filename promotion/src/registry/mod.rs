//! A registry client that writes: the dispatcher's side of the protocol.
//!
//! Reading alone is what the gate does, with a blocking client of its own (`civ-registry`), which is
//! used here as well where the question is what the gate would say. Beside it there are streams,
//! uploads and patience. What both must agree on, they share.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Client`] | connections and credentials; hands out the two below |
//! | [`Source`] | a repository to read: manifests, and blobs as streams |
//! | [`Destination`] | a repository to write as well: uploads, mounts, manifests |
//! | `http` | one request: authenticated, repeated, redirected, bounded |
//! | `auth` | challenges, tokens and how long they last |
//! | `body` | a blob in flight, hashed before its last piece is let go |
//! | `gate` | the gate's client, with credentials |
//! | `guard` | where a registry may send us |
//! | [`Retry`] | how often and how patiently a registry is asked |
//! | [`Credentials`] | the docker configuration file |
//! | [`RegistryError`] | why not |
//! | [`Diagnostic`] | what a registry says for itself |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use civ_oci::Repository;
use civ_registry::Endpoint;

pub use credentials::{Credential, Credentials, CredentialsError};
pub use destination::Destination;
pub(crate) use destination::{CopyError, Upload};
pub use diagnostic::Diagnostic;
pub use error::RegistryError;
pub(crate) use error::{is_busy, root_cause};
pub(crate) use gate::GateReaders;
pub(crate) use retry::{Again, SILENCES_MAX, is_noticeable};
pub use retry::{Count, Retry};
pub use source::Source;

use crate::progress::Progress;
use auth::{Auth, Scope};
use http::{Http, Peer};
use retry::Listener;

mod auth;
mod body;
mod credentials;
mod destination;
mod diagnostic;
mod error;
mod gate;
mod guard;
mod http;
mod retry;
mod source;

/// How long a server on this machine may take to show whether it speaks TLS.
const LOOPBACK_MAX: Duration = Duration::from_secs(2);

/// Connections to registries, with the credentials for them. Cheap to clone; clones share
/// connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    credentials: Credentials,
    registries: Arc<Mutex<HashMap<String, Known>>>,
}

/// How a registry is spoken to.
type Known = (Endpoint, Arc<Auth>);

impl Client {
    /// A client that has asked nothing yet.
    pub fn new(credentials: Credentials, retry: Retry) -> Result<Self, RegistryError> {
        Ok(Self { http: Http::new(retry)?, credentials, registries: Arc::default() })
    }

    /// The same client, which tells `progress` when a registry keeps it waiting.
    #[must_use]
    pub fn telling(mut self, progress: Arc<dyn Progress>) -> Self {
        self.http.listener = Listener(progress);
        self
    }

    /// `repository`, to read.
    pub fn source(&self, repository: &Repository) -> Source {
        self.at(repository, Scope::pull(repository.path()))
    }

    /// `repository`, to read and write, taking blobs from `mounted` where that is another
    /// repository of the same registry.
    pub fn destination(
        &self,
        repository: &Repository,
        mounted: Option<&Repository>,
    ) -> Destination {
        let mounted =
            mounted.filter(|from| from.host() == repository.host() && *from != repository).cloned();
        let scope = Scope::push(repository.path(), mounted.as_ref().map(Repository::path));
        Destination::new(self.at(repository, scope), mounted)
    }

    /// `repository`, to delete from as well.
    pub(crate) fn clearing(&self, repository: &Repository) -> Destination {
        Destination::new(self.at(repository, Scope::delete(repository.path())), None)
    }

    /// How patiently requests are repeated.
    pub(crate) fn retry(&self) -> &Retry {
        &self.http.retry
    }

    /// Whoever is told that civ waits.
    pub(crate) fn progress(&self) -> &dyn Progress {
        &*self.http.listener.0
    }

    fn at(&self, repository: &Repository, scope: Scope) -> Source {
        let (endpoint, auth) = self.known(repository);
        Source::new(self.http.clone(), Peer { endpoint, auth, scope }, repository.clone())
    }

    fn known(&self, repository: &Repository) -> Known {
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = registries.entry(repository.host().to_owned()).or_insert_with(|| {
            let endpoint = Endpoint::of(repository).settled(LOOPBACK_MAX);
            let auth = Auth::new(repository.host(), &endpoint, &self.credentials);
            (endpoint, auth)
        });
        known.clone()
    }
}
