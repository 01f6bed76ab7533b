//! What the registry keeps: per repository blobs, manifests and tags, and the uploads under way.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use civ_oci::digest::Hasher;
use civ_oci::{Algorithm, Digest};
use serde_json::{Value, json};

/// How much of an upload is read before it is hashed, while it is still in the processor's cache.
const PIECE: u64 = 256 << 10;
/// The most memory reserved on the word of a `Content-Length`.
const RESERVE_MAX: u64 = 1 << 30;

/// All content, behind one lock that is never held while bytes are read, hashed or written.
#[derive(Debug, Default)]
pub(crate) struct Store {
    repositories: BTreeMap<String, Contents>,
    uploads: BTreeMap<String, Upload>,
    uploads_started: u64,
}

/// The content of one repository.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) blobs: BTreeMap<Digest, Arc<Vec<u8>>>,
    pub(crate) manifests: BTreeMap<Digest, StoredManifest>,
    pub(crate) tags: BTreeMap<String, Digest>,
}

/// A manifest as it was put.
#[derive(Clone, Debug)]
pub(crate) struct StoredManifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Where it is listed as a referrer. Read when it was put, as registries do.
    pub(crate) referrer: Option<Referrer>,
}

/// A manifest's entry in the list of its subject's referrers.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    pub(crate) subject: String,
    pub(crate) descriptor: Value,
}

/// An upload under way. It has a lock of its own, held while its bytes arrive.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    repository: String,
    pub(crate) received: Arc<Mutex<Received>>,
}

impl Store {
    pub(crate) fn repository(&self, name: &str) -> Option<&Contents> {
        self.repositories.get(name)
    }

    pub(crate) fn repository_mut(&mut self, name: &str) -> Option<&mut Contents> {
        self.repositories.get_mut(name)
    }

    pub(crate) fn repository_or_new(&mut self, name: &str) -> &mut Contents {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(crate) fn repository_names(&self) -> Vec<String> {
        self.repositories.keys().cloned().collect()
    }

    pub(crate) fn start_upload(&mut self, repository: &str, received: Received) -> String {
        self.uploads_started += 1;
        // The shape of a UUID, which is what other registries use and some clients may expect.
        let id = format!("00000000-0000-4000-8000-{:012x}", self.uploads_started);
        let received = Arc::new(Mutex::new(received));
        self.uploads.insert(id.clone(), Upload { repository: repository.to_owned(), received });
        id
    }

    pub(crate) fn upload(&self, repository: &str, id: &str) -> Option<Upload> {
        self.uploads.get(id).filter(|upload| upload.repository == repository).cloned()
    }

    pub(crate) fn end_upload(&mut self, id: &str) {
        self.uploads.remove(id);
    }
}

impl StoredManifest {
    pub(crate) fn new(digest: &Digest, media_type: String, bytes: Vec<u8>) -> Self {
        let referrer = Referrer::of(digest, &media_type, &bytes);
        Self { media_type, bytes: Arc::new(bytes), referrer }
    }
}

impl Referrer {
    fn of(digest: &Digest, media_type: &str, bytes: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(bytes).ok()?;
        let subject = document.pointer("/subject/digest")?.as_str()?.to_owned();
        let mut descriptor = json!({
            "mediaType": media_type,
            "size": bytes.len(),
            "digest": digest.to_string(),
        });
        let artifact_type =
            document.get("artifactType").or_else(|| document.pointer("/config/mediaType"));
        let fields = descriptor.as_object_mut()?;
        if let Some(artifact_type) = artifact_type {
            fields.insert("artifactType".to_owned(), artifact_type.clone());
        }
        if let Some(annotations) = document.get("annotations") {
            fields.insert("annotations".to_owned(), annotations.clone());
        }
        Some(Self { subject, descriptor })
    }
}

impl Contents {
    /// The digest that a tag or a digest in a path stands for.
    pub(crate) fn resolve(&self, reference: &str) -> Option<Digest> {
        match self.tags.get(reference) {
            Some(digest) => Some(digest.clone()),
            None => reference.parse().ok(),
        }
    }

    /// Removes a blob or a manifest, and the tags of the manifest. Whether there was one.
    pub(crate) fn delete(&mut self, digest: &Digest) -> bool {
        let blob = self.blobs.remove(digest).is_some();
        self.delete_manifest(digest) || blob
    }

    pub(crate) fn delete_manifest(&mut self, digest: &Digest) -> bool {
        self.tags.retain(|_, tagged| tagged != digest);
        self.manifests.remove(digest).is_some()
    }
}

/// Bytes that have arrived, hashed on the way if that is wanted.
#[derive(Debug, Default)]
pub(crate) struct Received {
    bytes: Vec<u8>,
    hasher: Option<Hasher>,
}

impl Received {
    pub(crate) fn new(hash: bool) -> Self {
        Self { bytes: Vec::new(), hasher: hash.then(|| Hasher::new(Algorithm::Sha256)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends all of `source`. What came before an error is kept, so that an upload can resume.
    pub(crate) fn append(
        &mut self,
        mut source: impl Read,
        stated_length: Option<u64>,
    ) -> io::Result<()> {
        let reserve = stated_length.unwrap_or_default().min(RESERVE_MAX);
        self.bytes.try_reserve(usize::try_from(reserve).unwrap_or_default())?;
        loop {
            let start = self.bytes.len();
            let outcome = source.by_ref().take(PIECE).read_to_end(&mut self.bytes);
            if let Some(hasher) = &mut self.hasher {
                hasher.update(self.bytes.get(start..).unwrap_or_default());
            }
            if outcome? == 0 {
                return Ok(());
            }
        }
    }

    /// The bytes, if `digest` is theirs or nobody wants to know. Otherwise their digest.
    pub(crate) fn into_blob(self, digest: &Digest) -> Result<Arc<Vec<u8>>, Digest> {
        let Some(hasher) = self.hasher else { return Ok(Arc::new(self.bytes)) };
        let actual = match digest.algorithm() {
            Algorithm::Sha256 => hasher.finish(),
            algorithm @ Algorithm::Sha512 => Digest::of(algorithm, &self.bytes),
        };
        if actual == *digest { Ok(Arc::new(self.bytes)) } else { Err(actual) }
    }
}
