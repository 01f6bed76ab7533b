//! Every bound on what a registry can make its client do.

use std::time::Duration;

use civ_oci::manifest::MANIFEST_MAX;
use civ_oci::registry::REDIRECTS_MAX;

/// The bounds of a [`Client`](crate::Client).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for a connection, name resolution and TLS included. A dead mirror must leave time for
    /// saying so. 2 s.
    pub connect: Duration,
    /// Requests in all, redirects included, those to token servers not. 6, which a manifest and its
    /// blobs take; whoever has to look in more places says so. Fifty verifiers may run at once.
    pub requests: u32,
    /// Requests to token servers. 2.
    pub token_requests: u32,
    /// Redirects of one request. [`REDIRECTS_MAX`].
    pub redirects: u32,
    /// Repetitions of a request that was answered with 429, 502, 503 or 504, or not at all. 1.
    pub retries: u32,
    /// A manifest or index, in bytes. 4 MiB, as the distribution specification recommends.
    pub manifest: u64,
    /// The body of an error or of a token, in bytes. 64 KiB, as go-containerregistry.
    pub error_body: u64,
    /// The header of an answer, in bytes. 16 KiB, twice what web servers send at most by default.
    pub header: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            requests: 6,
            token_requests: 2,
            redirects: REDIRECTS_MAX,
            retries: 1,
            manifest: MANIFEST_MAX,
            error_body: 64 << 10,
            header: 16 << 10,
        }
    }
}
