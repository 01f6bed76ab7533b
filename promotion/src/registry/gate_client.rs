//! This client, as the gate's code reads registries: one question at a time, blocking.

use civ_oci::{
    Digest, NextPage, ReferrersPage, RegistryRead, Repository, Selector, StoredManifest,
};
use tokio::runtime::Handle;

use super::allowance::Allowance;
use super::{Client, RegistryError};

/// Reads for the gate's code. Not to be used on a thread of the runtime.
#[derive(Clone, Debug)]
pub(crate) struct GateClient {
    client: Client,
    runtime: Handle,
}

impl Client {
    /// This client for the gate's code.
    pub(crate) fn gate(&self) -> GateClient {
        GateClient { client: self.clone(), runtime: Handle::current() }
    }

    /// The same, to come to one verdict for which a node makes at most `requests_max` requests.
    pub(crate) fn gate_within(&self, requests_max: u32) -> GateClient {
        let mut client = self.clone();
        client.http.allowance = Some(Allowance::of(requests_max));
        client.gate()
    }
}

impl RegistryRead for GateClient {
    type Error = RegistryError;

    fn manifest(
        &self,
        repository: &Repository,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        let source = self.client.source(repository);
        self.runtime.block_on(source.find_manifest(selector))
    }

    fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let source = self.client.source(repository);
        self.runtime.block_on(source.blob_bytes(digest, limit))
    }

    fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        page: Option<&NextPage>,
    ) -> Result<Option<ReferrersPage>, RegistryError> {
        let source = self.client.source(repository);
        self.runtime.block_on(source.referrers(subject, page))
    }
}
