//! Bringing content over: blobs side by side, then manifests from the bottom up, all by digest.
//! Nothing here is visible to anybody who pulls by tag.

use std::sync::Arc;

use civ_oci::{Descriptor, Selector};
use tokio::task::JoinSet;

use crate::error::{Cause, Error, Step};
use crate::plan::{Plan, reference};
use crate::progress::{Arrival, Progress};
use crate::registry::{Client, Destination, RegistryError, Source, Upload};

/// Copies what `plan` says is missing, `jobs` blobs at a time.
pub async fn copy(
    plan: &Plan,
    client: &Client,
    source: &Source,
    target: &Destination,
    jobs: usize,
    progress: &Arc<dyn Progress>,
) -> Result<(), Error> {
    copy_blobs(plan, client, source, target, jobs.max(1), progress).await?;
    for manifest in plan.missing_manifests() {
        let image = plan.destination.repository.image(manifest.digest.clone());
        let name = Selector::Digest(manifest.digest.clone());
        target
            .push_manifest(&name, &manifest.media_type, &manifest.bytes)
            .await
            .map_err(|e| Error::new(Step::WriteManifest, reference(&image), e.into()))?;
        progress.manifest_written(&image);
    }
    Ok(())
}

/// Dropping the future stops all copies.
async fn copy_blobs(
    plan: &Plan,
    client: &Client,
    source: &Source,
    target: &Destination,
    jobs: usize,
    progress: &Arc<dyn Progress>,
) -> Result<(), Error> {
    let mut waiting = plan.missing_blobs().cloned();
    let mut running = JoinSet::new();
    loop {
        for descriptor in waiting.by_ref().take(jobs - running.len()) {
            let blob = BlobCopy {
                client: client.clone(),
                source: source.clone(),
                target: target.clone(),
                descriptor,
                progress: Arc::clone(progress),
            };
            running.spawn(blob.run());
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(Ok(outcome)) => outcome.map_err(|(descriptor, error)| {
                let step = Step::CopyBlob(descriptor.digest);
                Error::new(step, plan.destination.clone(), error.into())
            })?,
            Some(Err(_)) => {
                return Err(Error::new(Step::Prepare, plan.destination.clone(), Cause::Internal));
            }
        }
    }
}

struct BlobCopy {
    client: Client,
    source: Source,
    target: Destination,
    descriptor: Descriptor,
    progress: Arc<dyn Progress>,
}

impl BlobCopy {
    async fn run(self) -> Result<(), (Descriptor, RegistryError)> {
        self.progress.blob_started(&self.descriptor);
        match self.client.retry().persist(|made| self.attempt(made)).await {
            Ok(how) => {
                self.progress.blob_done(&self.descriptor, how);
                Ok(())
            }
            Err(error) => Err((self.descriptor, error)),
        }
    }

    /// Copies the blob from its beginning: registries do not agree on how to go on in the middle.
    async fn attempt(&self, made: u32) -> Result<Arrival, RegistryError> {
        if made > 0 {
            // It may be there, and only the answer was lost.
            if self.target.read().has_blob(&self.descriptor).await? {
                return Ok(Arrival::Copied);
            }
            self.progress.blob_restarted(&self.descriptor);
        }
        let session = match self.target.start_upload(&self.descriptor.digest).await? {
            Upload::Mounted => return Ok(Arrival::Mounted),
            Upload::Session(session) => session,
        };
        let blob = self.source.blob(&self.descriptor).await?;
        let (progress, descriptor) = (Arc::clone(&self.progress), self.descriptor.clone());
        let moved = move |bytes| progress.blob_moved(&descriptor, bytes);
        self.target.finish_upload(session, blob, moved).await?;
        Ok(Arrival::Copied)
    }
}
