//! A blob in flight from one registry to another: counted, hashed, and never finished unless it is
//! the one asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use civ_oci::Digest;
use civ_oci::digest::Hasher;
use futures_util::stream::{Stream, TryStreamExt as _, try_unfold};

use super::error::{check_digest, check_length};
use super::http::{self, Http};
use super::{RegistryError, guard};

/// A blob as it comes from a registry.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(super) response: reqwest::Response,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) http: Http,
}

/// Why the stream broke off: reqwest only says that it did. And whether it is the stream that
/// everything waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure {
    error: Arc<Mutex<Option<RegistryError>>>,
    reading: Arc<AtomicBool>,
}

impl Failure {
    /// The reason, if the stream was what broke.
    pub(super) fn take(&self) -> Option<RegistryError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the source owes a piece.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.load(Ordering::Relaxed)
    }

    fn set(&self, error: RegistryError) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// What the receiver's side sees of a failure.
#[derive(Debug, thiserror::Error)]
#[error("the source broke off")]
pub(super) struct BrokeOff;

impl Blob {
    /// The bytes, the last piece held back until all have been hashed: a receiver that was promised
    /// `size` bytes never gets a full blob that is not this one. `moved` hears of every piece.
    pub(super) fn into_stream(
        self,
        failure: Failure,
        moved: impl Fn(u64) + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, BrokeOff>> + Send + 'static {
        let state = Flow {
            hasher: Some(Hasher::new(self.digest.algorithm())),
            host: guard::authority(self.response.url()),
            http: self.http,
            response: self.response,
            digest: self.digest,
            size: self.size,
            seen: 0,
            held: None,
        };
        let reading = Arc::clone(&failure.reading);
        try_unfold((state, moved, reading), |(mut flow, moved, reading)| async move {
            reading.store(true, Ordering::Relaxed);
            let piece = flow.next().await?;
            reading.store(false, Ordering::Relaxed);
            if let Some(piece) = &piece {
                moved(piece.len() as u64);
            }
            Ok(piece.map(|piece| (piece, (flow, moved, reading))))
        })
        .map_err(move |error| {
            failure.set(error);
            BrokeOff
        })
    }
}

struct Flow {
    http: Http,
    host: String,
    response: reqwest::Response,
    digest: Digest,
    size: u64,
    /// Gone once the last piece was let through.
    hasher: Option<Hasher>,
    seen: u64,
    held: Option<Bytes>,
}

impl Flow {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let Some(mut hasher) = self.hasher.take() else { return Ok(None) };
        while let Some(piece) = self.receive().await? {
            hasher.update(&piece);
            self.seen += piece.len() as u64;
            if self.seen > self.size {
                return Err(RegistryError::TooLarge { limit: self.size });
            }
            if let Some(before) = self.held.replace(piece) {
                self.hasher = Some(hasher);
                return Ok(Some(before));
            }
        }
        check_length(self.size, self.seen)?;
        check_digest(&self.digest, hasher.finish())?;
        Ok(self.held.take())
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let piece = self.response.chunk();
        self.http.hear(&self.host, piece).await?.map_err(http::connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A response made of a body without a registry.
    fn blob(body: &'static [u8], of: &[u8]) -> Blob {
        let response = reqwest::Response::from(http_response(body));
        let http = Http::new(crate::Retry::default()).unwrap();
        Blob { response, digest: Digest::sha256(of), size: of.len() as u64, http }
    }

    fn http_response(body: &'static [u8]) -> ::http::Response<reqwest::Body> {
        let pieces = body.chunks(4).map(Ok::<_, std::io::Error>);
        let stream = futures_util::stream::iter(pieces);
        ::http::Response::new(reqwest::Body::wrap_stream(stream))
    }

    async fn flow(blob: Blob) -> (Vec<u8>, Option<RegistryError>) {
        let failure = Failure::default();
        let mut stream = Box::pin(blob.into_stream(failure.clone(), |_| {}));
        let mut out = Vec::new();
        while let Ok(Some(piece)) = stream.try_next().await {
            out.extend_from_slice(&piece);
        }
        (out, failure.take())
    }

    #[tokio::test]
    async fn passes_the_right_bytes() {
        for body in [&b""[..], b"abc", b"abcd", b"abcdefghij"] {
            let (out, failure) = flow(blob(body, body)).await;
            assert_eq!((out.as_slice(), failure.is_none()), (body, true));
        }
    }

    #[tokio::test]
    async fn never_lets_the_last_of_the_wrong_bytes_through() {
        let (out, failure) = flow(blob(b"abcdefgX", b"abcdefgh")).await;
        assert_eq!(out, b"abcd");
        assert!(matches!(failure, Some(RegistryError::BadContent(_))));
        let (out, failure) = flow(blob(b"abcdef", b"abcdefgh")).await;
        assert_eq!(out, b"abcd");
        assert!(matches!(failure, Some(RegistryError::Truncated { expected: 8, actual: 6 })));
        let (out, failure) = flow(blob(b"abcdefghi", b"abcdefgh")).await;
        assert_eq!(out, b"abcd");
        assert!(matches!(failure, Some(RegistryError::TooLarge { limit: 8 })));
    }
}
