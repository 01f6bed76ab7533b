//! Bringing content over: blobs side by side, then manifests from the bottom up, all by digest.
//! Nothing here is visible to anybody who pulls by tag.

use std::sync::Arc;

use civ_oci::{Descriptor, Selector};
use tokio::task::JoinSet;

use crate::error::{Cause, Error, Step};
use crate::plan::{Plan, reference};
use crate::progress::{Arrival, Progress, Wait};
use crate::registry::{Again, Client, CopyError, Destination, Source, Upload};

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
                source: source.once(),
                target: target.once(),
                descriptor,
                progress: Arc::clone(progress),
            };
            running.spawn(blob.run());
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(Ok(outcome)) => outcome.map_err(|(blob, error)| match error {
                CopyError::Source(error) => {
                    let step = Step::ReadBlob(blob.digest);
                    Error::new(step, reference(&plan.source), error.into())
                }
                CopyError::Target(error) => {
                    let step = Step::WriteBlob(blob.digest);
                    Error::new(step, plan.destination.clone(), error.into())
                }
            })?,
            Some(Err(_)) => {
                return Err(Error::new(Step::Prepare, plan.destination.clone(), Cause::Internal));
            }
        }
    }
}

/// Each attempt sends each of its requests once: it is the copy that is repeated.
struct BlobCopy {
    client: Client,
    source: Source,
    target: Destination,
    descriptor: Descriptor,
    progress: Arc<dyn Progress>,
}

impl BlobCopy {
    async fn run(self) -> Result<(), (Descriptor, CopyError)> {
        self.progress.blob_started(&self.descriptor);
        let again = |error: &CopyError, again: Again| {
            let (repository, why) = match error {
                CopyError::Source(why) => (self.source.repository(), why),
                CopyError::Target(why) => (self.target.repository(), why),
            };
            let wait = Wait { host: repository.host(), why, next: Some(again.count) };
            self.progress.blob_restarted(&self.descriptor, &wait);
        };
        match self.client.retry().persist(|made| self.attempt(made), again).await {
            Ok(how) => {
                self.progress.blob_done(&self.descriptor, how);
                Ok(())
            }
            Err(error) => Err((self.descriptor, error)),
        }
    }

    /// Copies the blob from its beginning: registries do not agree on how to go on in the middle.
    async fn attempt(&self, made: u32) -> Result<Arrival, CopyError> {
        // It may be there, and only the answer was lost.
        let look = self.target.read().has_blob(&self.descriptor);
        if made > 0 && look.await.map_err(CopyError::Target)? {
            return Ok(Arrival::Copied);
        }
        let upload = self.target.start_upload(&self.descriptor.digest).await;
        let session = match upload.map_err(CopyError::Target)? {
            Upload::Mounted => return Ok(Arrival::Mounted),
            Upload::Session(session) => session,
        };
        let blob = self.source.blob(&self.descriptor).await.map_err(CopyError::Source)?;
        let (progress, descriptor) = (Arc::clone(&self.progress), self.descriptor.clone());
        let moved = move |bytes| progress.blob_moved(&descriptor, bytes);
        self.target.finish_upload(session, blob, moved).await?;
        Ok(Arrival::Copied)
    }
}
