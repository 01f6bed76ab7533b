//! The gate's own client, for whoever has to know what the gate would read.
//!
//! What a verifier may spend on a registry, and what it follows, decide about an image as its
//! signatures do: a registry that answers too slowly, or redirects too often, is one that no node
//! pulls from. So this is the verifiers' client with their limits, and not the one beside it. Only who
//! asks, and from where, is another: where there are credentials for a registry, and it asks for some,
//! they are used, by the rules of [`Auth`]; and proxies and certificate authorities are those that the
//! environment names for this machine, as for the client beside it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use civ_oci::Repository;
use civ_policy::deadline::WORK_MAX;
use civ_registry::client::Options;
use civ_registry::{Authorizer, Challenge};
use tokio::runtime::Handle;

use super::auth::{Auth, Scope};
use super::http::Http;
use super::{Client, RegistryError, guard};

/// Opens registries as verifiers do. Not to be used on a thread of the runtime.
#[derive(Clone, Debug)]
pub(crate) struct GateReaders {
    client: Client,
    runtime: Handle,
}

impl Client {
    /// The gate's way of reading, with the credentials of this client. To be called on a thread of
    /// the runtime.
    pub(crate) fn gate(&self) -> GateReaders {
        GateReaders { client: self.clone(), runtime: Handle::current() }
    }
}

impl GateReaders {
    /// A client for the registry of `repository` that makes at most `requests_max` requests, and has
    /// from now the time that a verifier has for everything.
    pub(crate) fn open(
        &self,
        repository: &Repository,
        requests_max: u32,
    ) -> Result<civ_registry::Client, civ_registry::Error> {
        let (endpoint, auth) = self.client.known(repository);
        let proxy = guard::way_out(&endpoint).map_err(|source| {
            civ_registry::Error::Unreachable { what: repository.to_string(), source }
        })?;
        let mut options = Options::until(Instant::now() + WORK_MAX);
        options.limits.requests = requests_max;
        options.proxy = proxy;
        let bundle = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
        options.authorities = bundle.map(PathBuf::from);
        options.authorizer = Some(Arc::new(LoggedIn {
            auth,
            http: self.client.http.clone(),
            runtime: self.runtime.clone(),
        }));
        civ_registry::Client::new(repository, options)
    }
}

/// Somebody who may have logged in to one registry.
#[derive(Debug)]
struct LoggedIn {
    auth: Arc<Auth>,
    http: Http,
    runtime: Handle,
}

impl Authorizer for LoggedIn {
    fn authorization(
        &self,
        challenge: &Challenge,
        repository: &Repository,
    ) -> Result<Option<String>, Box<dyn Error + Send + Sync>> {
        let scope = Scope::pull(repository.path());
        let answer = self.auth.answer(&self.http, challenge, &scope);
        let Some(header) = self.runtime.block_on(answer)? else { return Ok(None) };
        let header = header.to_str().map_err(|_| RegistryError::BadToken)?;
        Ok(Some(header.to_owned()))
    }
}
