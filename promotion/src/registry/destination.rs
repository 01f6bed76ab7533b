//! Writing a repository, and deleting from it.
//!
//! A blob goes up in one PUT with its length stated: the one way that every registry understands
//! (Amazon ECR answers PATCH in a way of its own).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use civ_oci::registry::Selector;
use civ_oci::{Descriptor, Digest, Repository};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, Url};

use super::body::{Blob, Failure};
use super::http::{self, Call, Http};
use super::source::Source;
use super::{RegistryError, Retry, guard};
use crate::progress::Wait;

/// What a registry that lists referrers answers a manifest with a subject with.
const SUBJECT: &str = "oci-subject";
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Why a blob did not get from one registry to another.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// It could not be read.
    Source(RegistryError),
    /// It could not be written.
    Target(RegistryError),
}

/// A repository to read and write.
#[derive(Clone, Debug)]
pub struct Destination {
    read: Source,
    mounted: Option<Repository>,
}

/// How an upload begins.
#[derive(Debug)]
pub(crate) enum Upload {
    /// It does not have to: the registry took the blob from another repository of its own.
    Mounted,
    /// The registry waits for the bytes.
    Session(Session),
}

/// An upload that waits for its bytes.
#[derive(Debug)]
pub(crate) struct Session(Url);

impl Destination {
    pub(super) fn new(read: Source, mounted: Option<Repository>) -> Self {
        Self { read, mounted }
    }

    /// The same, with one attempt at everything.
    pub(crate) fn once(&self) -> Self {
        Self { read: self.read.once(), mounted: self.mounted.clone() }
    }

    /// The repository written.
    pub fn repository(&self) -> &Repository {
        self.read.repository()
    }

    /// The same repository, to read (with the token that may also write).
    pub fn read(&self) -> &Source {
        &self.read
    }

    /// How patiently requests are repeated.
    pub(crate) fn retry(&self) -> &Retry {
        &self.read.http.retry
    }

    /// Begins the upload of the blob with `digest`. Where blobs may be mounted the registry is
    /// asked to, and if it would rather not, its answer is a session all the same.
    pub(crate) async fn start_upload(&self, digest: &Digest) -> Result<Upload, RegistryError> {
        let mut url = self.read.url(&["blobs", "uploads", ""])?;
        if let Some(from) = &self.mounted {
            url.query_pairs_mut()
                .append_pair("mount", &digest.to_string())
                .append_pair("from", from.path());
        }
        let mut call = Call::new(Method::POST, url);
        call.headers.push((CONTENT_LENGTH, HeaderValue::from_static("0")));
        let response = self.read.http.send(&self.read.peer, &call).await?;
        let response = http::expect(response, &[201, 202]).await?;
        if response.status().as_u16() == 201 {
            return Ok(Upload::Mounted);
        }
        let url = http::location(&call.url, &response)?;
        guard::check_upload(&self.read.peer.endpoint, &url)?;
        Ok(Upload::Session(Session(url)))
    }

    /// Sends `blob` into `session`. `moved` hears of every piece. Cannot be repeated: a failure
    /// means a new session.
    pub(crate) async fn finish_upload(
        &self,
        session: Session,
        blob: Blob,
        moved: impl Fn(u64) + Send + 'static,
    ) -> Result<(), CopyError> {
        let (size, failure, count) = (blob.size, Failure::default(), Arc::new(AtomicU64::new(0)));
        let mut request = Request::new(Method::PUT, session.with_digest(&blob.digest));
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
        request.headers_mut().insert(CONTENT_TYPE, OCTETS);
        let counter = Arc::clone(&count);
        let stream = blob.into_stream(failure.clone(), move |bytes| {
            counter.fetch_add(bytes, Ordering::Relaxed);
            moved(bytes);
        });
        *request.body_mut() = Some(reqwest::Body::wrap_stream(stream));
        let upload = self.read.http.send_once(&self.read.peer, request);
        let is_reading = || failure.is_reading();
        let outcome = self.watch(upload, &count, size, is_reading).await;
        // The source's failure is the cause of ours.
        if let Some(error) = failure.take() {
            return Err(CopyError::Source(error));
        }
        let answer = http::expect(outcome.map_err(CopyError::Target)?, &[201]).await;
        answer.map(drop).map_err(CopyError::Target)
    }

    /// Writes a small blob, unless it is there already.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let once = self.once();
        let attempt = |_| once.push_blob_once(descriptor, bytes);
        let (listener, host) = (&self.read.http.listener, self.repository().host());
        let again = |error: &RegistryError, again| listener.hear(host, error, again);
        self.retry().persist(attempt, again).await
    }

    /// The answer to an upload can be lost, and its session is gone then: each attempt looks first.
    async fn push_blob_once(
        &self,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        if self.read.has_blob(descriptor).await? {
            return Ok(());
        }
        let Upload::Session(session) = self.start_upload(&descriptor.digest).await? else {
            return Ok(());
        };
        let mut request = Request::new(Method::PUT, session.with_digest(&descriptor.digest));
        request.headers_mut().insert(CONTENT_TYPE, OCTETS);
        *request.body_mut() = Some(bytes.to_vec().into());
        let upload = self.read.http.send_once(&self.read.peer, request);
        let sent = AtomicU64::new(descriptor.size);
        let response = self.watch(upload, &sent, descriptor.size, || false).await?;
        http::expect(response, &[201]).await.map(|_| ())
    }

    /// Writes a manifest or index under `name`.
    pub async fn push_manifest(
        &self,
        name: &Selector,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        self.put_manifest(name, media_type, bytes).await.map(|_| ())
    }

    /// Writes a manifest that refers to another, under its digest. True if the registry says that
    /// it has taken it into its list of referrers
    /// ([distribution specification, "Pushing Manifests with Subject"](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests-with-subject)).
    pub async fn push_referrer(
        &self,
        referrer: &Descriptor,
        bytes: &[u8],
    ) -> Result<bool, RegistryError> {
        let name = Selector::Digest(referrer.digest.clone());
        let response = self.put_manifest(&name, &referrer.media_type, bytes).await?;
        Ok(response.headers().contains_key(SUBJECT))
    }

    async fn put_manifest(
        &self,
        name: &Selector,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Response, RegistryError> {
        let mut call = Call::new(Method::PUT, self.read.url(&["manifests", &name.to_string()])?);
        let media_type = HeaderValue::from_str(media_type)
            .map_err(|_| RegistryError::NoHeader { header: "Content-Type" })?;
        call.headers.push((CONTENT_TYPE, media_type));
        call.body = Bytes::copy_from_slice(bytes);
        let response = self.read.http.send(&self.read.peer, &call).await?;
        http::expect(response, &[200, 201, 202]).await
    }

    /// Deletes a manifest, or only its tag where `name` is one. That it is gone already is no
    /// error: false.
    pub(crate) async fn delete_manifest(&self, name: &Selector) -> Result<bool, RegistryError> {
        let call = Call::new(Method::DELETE, self.read.url(&["manifests", &name.to_string()])?);
        let response = self.read.http.send(&self.read.peer, &call).await?;
        let response = http::expect(response, &[200, 202, 204, 404]).await?;
        Ok(response.status().as_u16() != 404)
    }

    /// Waits for `upload` as long as its bytes move, and then for the registry to store them. Where
    /// it waits for the source, that has a limit of its own.
    async fn watch(
        &self,
        upload: impl Future<Output = Result<Response, RegistryError>>,
        count: &AtomicU64,
        size: u64,
        is_reading: impl Fn() -> bool,
    ) -> Result<Response, RegistryError> {
        let Http { retry, listener, .. } = &self.read.http;
        let step = retry.silence_max;
        let mut upload = std::pin::pin!(upload);
        let (mut before, mut silent) = (0, Duration::ZERO);
        loop {
            if let Ok(outcome) = tokio::time::timeout(step, &mut upload).await {
                return outcome;
            }
            let now = count.load(Ordering::Relaxed);
            let moves = now != before || is_reading();
            silent = if moves { Duration::ZERO } else { silent + step };
            before = now;
            let why = RegistryError::Stalled { after: silent };
            if silent >= if now == size { retry.storing_max } else { step } {
                return Err(why);
            }
            if silent > Duration::ZERO {
                let host = self.repository().host();
                listener.0.waiting(&Wait { host, why: &why, next: None });
            }
        }
    }
}

impl AsRef<RegistryError> for CopyError {
    fn as_ref(&self) -> &RegistryError {
        let (Self::Source(error) | Self::Target(error)) = self;
        error
    }
}

impl Session {
    fn with_digest(&self, digest: &Digest) -> Url {
        let mut url = self.0.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        url
    }
}
