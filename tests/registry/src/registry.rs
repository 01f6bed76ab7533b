//! The registry as its user sees it: started with options, filled and inspected directly, asked what
//! was requested, told what to do wrong, and stopped when dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use civ_oci::Digest;

use crate::access::{Policy, Scheme, Tokens, basic_credentials};
use crate::api::{self, listings};
use crate::fault::{AtAccept, Fault, Faults};
use crate::log::{Log, LoggedRequest};
use crate::server::{Server, Shared};
use crate::store::Store;
use crate::wire::{Stop, lock};

const TOKEN_LIFETIME: Duration = Duration::from_mins(5);

/// What a registry is like. Created by [`Registry::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing listens before `start`"]
pub struct Builder {
    port: u16,
    options: Options,
}

#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "switches that have nothing to do with each other"
)]
pub(crate) struct Options {
    pub(crate) access: Policy,
    pub(crate) referrers: bool,
    pub(crate) immutable_tags: bool,
    pub(crate) absolute_locations: bool,
    pub(crate) page_size: usize,
    pub(crate) check_digests: bool,
    pub(crate) latency: Duration,
    pub(crate) bytes_per_second: Option<u64>,
}

impl Builder {
    /// Listens on this port instead of any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Whether there is a referrers API (the default). Without it, it answers 404 and `OCI-Subject`
    /// is not sent.
    pub fn referrers(mut self, on: bool) -> Self {
        self.options.referrers = on;
        self
    }

    /// Whether a tag, once put, refuses to point to another digest, as in Amazon ECR. Putting the
    /// same digest again succeeds.
    pub fn immutable_tags(mut self, on: bool) -> Self {
        self.options.immutable_tags = on;
        self
    }

    /// Whether `Location` is an absolute URL rather than a path (the default).
    pub fn absolute_locations(mut self, on: bool) -> Self {
        self.options.absolute_locations = on;
        self
    }

    /// The most tags and referrers given in one page, at least one. The default is no limit.
    pub fn page_size(mut self, size: usize) -> Self {
        self.options.page_size = size.max(1);
        self
    }

    /// Whether uploads must have the digest that they state (the default). Without it nothing is
    /// hashed, which is for benches that would otherwise measure the registry.
    pub fn check_digests(mut self, on: bool) -> Self {
        self.options.check_digests = on;
        self
    }

    /// Everything needs this user and password in each request.
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.options.access.scheme = Scheme::Basic(basic_credentials(user, password));
        self
    }

    /// Everything needs a token for it, which `/token` gives to this user and password.
    pub fn bearer(mut self, user: &str, password: &str) -> Self {
        self.options.access.scheme = Scheme::Bearer(basic_credentials(user, password));
        self
    }

    /// Whether pulling needs no user. With [`Self::bearer`] it needs a token nevertheless, which
    /// everybody gets.
    pub fn anonymous_pull(mut self, on: bool) -> Self {
        self.options.access.anonymous_pull = on;
        self
    }

    /// How long tokens are valid; five minutes by default.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.options.access.token_lifetime = lifetime;
        self
    }

    /// How long each response is held back.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.options.latency = latency;
        self
    }

    /// The bandwidth of each connection, in both directions together.
    pub fn bytes_per_second(mut self, bandwidth: u64) -> Self {
        self.options.bytes_per_second = Some(bandwidth);
        self
    }

    /// Starts the registry.
    pub fn start(self) -> io::Result<Registry> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options: self.options,
            url: format!("http://{address}"),
            store: Mutex::new(Store::default()),
            tokens: Tokens::default(),
            log: Log::default(),
            faults: Faults::default(),
            connections: AtomicU64::new(0),
            stop: Arc::new(Stop::default()),
        });
        let server = Server::start(listener, &shared)?;
        Ok(Registry { address, shared, server })
    }
}

/// A running registry on 127.0.0.1. Dropping it stops it and waits for its threads.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Server,
}

/// A manifest in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The digest under which it is kept, which after [`Registry::tamper`] is not that of its bytes.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
}

impl Registry {
    /// Starts a registry that is open to everybody, on any free port.
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// Chooses options.
    pub fn builder() -> Builder {
        Builder {
            port: 0,
            options: Options {
                access: Policy { token_lifetime: TOKEN_LIFETIME, ..Policy::default() },
                referrers: true,
                immutable_tags: false,
                absolute_locations: false,
                page_size: usize::MAX,
                check_digests: true,
                latency: Duration::ZERO,
                bytes_per_second: None,
            },
        }
    }

    /// The address listened on.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Host and port, as a reference names them: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Stops listening, ends all connections and waits for their threads. From then on connections
    /// are refused (unless another program takes the port). The content stays.
    pub fn stop(&self) {
        self.server.stop(&self.shared, self.address);
    }
}

/// The content, without the checks of the API.
impl Registry {
    /// Keeps a blob.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes);
        let mut store = lock(&self.shared.store);
        store.repository_or_new(repository).blobs.insert(digest.clone(), Arc::new(bytes));
        digest
    }

    /// Keeps any bytes as a manifest of any type, and tags it.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: impl Into<Vec<u8>>,
    ) -> Digest {
        let mut store = lock(&self.shared.store);
        api::put_unchecked(&mut store, repository, tag, media_type, bytes.into())
    }

    /// Points a tag to a digest, which need not be there.
    pub fn tag(&self, repository: &str, tag: &str, digest: &Digest) {
        let mut store = lock(&self.shared.store);
        store.repository_or_new(repository).tags.insert(tag.to_owned(), digest.clone());
    }

    /// Removes a tag. Whether it was there.
    pub fn untag(&self, repository: &str, tag: &str) -> bool {
        let mut store = lock(&self.shared.store);
        store.repository_mut(repository).is_some_and(|found| found.tags.remove(tag).is_some())
    }

    /// Replaces the bytes of a blob or manifest, which keeps its digest. Whether it was there.
    pub fn tamper(&self, repository: &str, digest: &Digest, bytes: impl Into<Vec<u8>>) -> bool {
        let bytes = Arc::new(bytes.into());
        let mut store = lock(&self.shared.store);
        let Some(contents) = store.repository_mut(repository) else { return false };
        let blob = contents.blobs.get_mut(digest);
        let manifest = contents.manifests.get_mut(digest).map(|manifest| &mut manifest.bytes);
        let mut found = false;
        for kept in blob.into_iter().chain(manifest) {
            *kept = Arc::clone(&bytes);
            found = true;
        }
        found
    }

    /// Removes a blob or a manifest with its tags. Whether it was there.
    pub fn delete(&self, repository: &str, digest: &Digest) -> bool {
        let mut store = lock(&self.shared.store);
        store.repository_mut(repository).is_some_and(|contents| contents.delete(digest))
    }

    /// The manifest that a tag or a digest names.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        let store = lock(&self.shared.store);
        let contents = store.repository(repository)?;
        let digest = contents.resolve(reference)?;
        let manifest = contents.manifests.get(&digest)?.clone();
        Some(Manifest { digest, media_type: manifest.media_type, bytes: manifest.bytes })
    }

    /// The bytes of a blob.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        lock(&self.shared.store).repository(repository)?.blobs.get(digest).cloned()
    }

    /// The list of manifests that have this subject, as the referrers API gives it; `None` where it
    /// is switched off.
    pub fn referrers(&self, repository: &str, subject: &Digest) -> Option<Vec<u8>> {
        if !self.shared.options.referrers {
            return None;
        }
        let listed = listings::referrers_of(&lock(&self.shared.store), repository, subject);
        let descriptors: Vec<_> = listed.into_iter().map(|(_, descriptor)| descriptor).collect();
        Some(listings::index_of(&descriptors).to_string().into_bytes())
    }

    /// The digests of all manifests of a repository.
    pub fn manifests(&self, repository: &str) -> Vec<Digest> {
        let store = lock(&self.shared.store);
        let contents = store.repository(repository);
        contents.map(|found| found.manifests.keys().cloned().collect()).unwrap_or_default()
    }

    /// The digests of all blobs of a repository.
    pub fn blobs(&self, repository: &str) -> Vec<Digest> {
        let store = lock(&self.shared.store);
        let contents = store.repository(repository);
        contents.map(|found| found.blobs.keys().cloned().collect()).unwrap_or_default()
    }

    /// All tags of a repository and what they point to, in order.
    pub fn tags(&self, repository: &str) -> Vec<(String, Digest)> {
        let store = lock(&self.shared.store);
        let tags = store.repository(repository).into_iter().flat_map(|found| &found.tags);
        tags.map(|(tag, digest)| (tag.clone(), digest.clone())).collect()
    }

    /// The names of all repositories, in order.
    pub fn repositories(&self) -> Vec<String> {
        lock(&self.shared.store).repository_names()
    }
}

/// The requests.
impl Registry {
    /// All requests since the start or the last [`Self::clear_requests`], in the order in which
    /// their heads arrived. What was not even a request is not among them.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.requests()
    }

    /// The same as lines such as `GET /v2/app/manifests/v1 200`.
    pub fn request_lines(&self) -> Vec<String> {
        self.requests().iter().map(ToString::to_string).collect()
    }

    /// How many of them have this method and `part` in their path.
    pub fn count_requests(&self, method: &str, part: &str) -> usize {
        let requests = self.requests();
        let matching = requests
            .iter()
            .filter(|logged| logged.request.method == method && logged.request.path.contains(part));
        matching.count()
    }

    /// Forgets them.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// How many connections have been accepted since the start.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// All tokens ever given out.
    pub fn issued_tokens(&self) -> Vec<String> {
        self.shared.tokens.issued()
    }

    /// Makes all tokens given out so far invalid.
    pub fn expire_tokens(&self) {
        self.shared.tokens.expire();
    }
}

/// What goes wrong.
impl Registry {
    /// Adds a fault. Where several match a request, the one added first is played.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// Removes all faults, and serves new connections again.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// What becomes of new connections, until told otherwise.
    pub fn at_accept(&self, what: AtAccept) {
        self.shared.faults.set_at_accept(what);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
