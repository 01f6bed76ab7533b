//! A registry in this process with one image in it, and the gate asked about it.
//!
//! The gate is asked twice, once as the executable and once as the library over the same content,
//! and must give one verdict.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use civ_annotations::verify_annotations;
use civ_cosign::{StoredSignatures, TrustPolicy, VerifyError, verify_signatures};
use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallImage};
use civ_oci::manifest::MANIFEST_MAX;
use civ_oci::{
    Digest, ImageId, NextPage, ReferrersPage, RegistryRead, Repository, Selector, StoredManifest,
    Tag,
};
use civ_policy::{UtcTime, annotations};
use civ_private_node::verifier;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gate::{self, Call, Outcome};
use crate::signing::{Key, Layer, payload, signature_manifest};
use crate::{bundling, image, scratch};

/// The longest reason that the gate may print, in bytes.
pub const REASON_MAX: usize = 300;

/// A registry with one image in it, `team/app`, and a node that may pull it.
#[derive(Debug)]
pub struct Stage {
    /// The registry. Its log holds what the executable asked; the library leaves no trace.
    pub registry: Registry,
    /// The image.
    pub image: ImageId,
    directory: TempDir,
    policies: AtomicUsize,
}

impl Default for Stage {
    fn default() -> Self {
        Self::open(Registry::start().unwrap())
    }
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The exit code.
    pub code: i32,
    /// The reason.
    pub reason: String,
}

impl Stage {
    /// With this registry.
    pub fn open(registry: Registry) -> Self {
        let digest = SmallImage::new("app", "linux/amd64").seed_into(&registry, "team/app", "1");
        let image = repository(&registry, "team/app").image(digest);
        let directory = scratch::directory();
        Self { registry, image, directory, policies: AtomicUsize::default() }
    }

    /// Another repository of the same registry.
    pub fn repository(&self, path: &str) -> Repository {
        repository(&self.registry, path)
    }

    /// The payload that an honest signer of the image signs.
    pub fn payload(&self) -> String {
        payload(&self.image.repository.to_string(), &self.image.digest, "null")
    }

    /// The same with `optional` in it.
    pub fn payload_with(&self, optional: &str) -> String {
        payload(&self.image.repository.to_string(), &self.image.digest, optional)
    }

    /// What an honest signer with `key` adds to the image's signatures.
    pub fn honest(&self, key: &Key) -> Layer {
        Layer::signed(key, self.payload())
    }

    /// Makes these layers the image's signatures, the oldest first.
    pub fn publish(&self, layers: &[Layer]) {
        self.publish_for(&self.image, layers);
    }

    /// Makes these layers the signatures of any image of the registry.
    pub fn publish_for(&self, image: &ImageId, layers: &[Layer]) {
        for layer in layers {
            self.registry.put_blob(image.repository.path(), layer.payload.clone());
        }
        let manifest = signature_manifest(layers).to_string();
        self.publish_bytes(image, image::MANIFEST, manifest);
    }

    /// Puts any bytes where the signatures of `image` are looked for.
    pub fn publish_bytes(&self, image: &ImageId, media_type: &str, bytes: impl Into<Vec<u8>>) {
        let tag = Tag::of_signatures(&image.digest).unwrap();
        let path = image.repository.path();
        self.registry.put_manifest(path, Some(tag.as_str()), media_type, bytes);
    }

    /// Attaches a bundle to the image, as cosign does, and returns the manifest's digest.
    pub fn attach(&self, bundle: &Value) -> Digest {
        let bytes = bundle.to_string().into_bytes();
        self.registry.put_blob(self.image.repository.path(), bytes.clone());
        self.attach_manifest(&bundling::bundle_manifest(&self.subject(), &bytes))
    }

    /// Attaches whatever the manifest holds, and lists it where the registry does not.
    pub fn attach_manifest(&self, manifest: &Value) -> Digest {
        let path = self.image.repository.path();
        let bytes = manifest.to_string().into_bytes();
        let digest = self.registry.put_manifest(path, None, image::MANIFEST, bytes.clone());
        if self.registry.referrers(path, &self.image.digest).is_none() {
            let mut entry = bundling::descriptor(image::MANIFEST, &bytes);
            entry["artifactType"] = manifest["artifactType"].clone();
            self.list_by_tag(&[entry]);
        }
        digest
    }

    /// Makes the index that stands in for the referrers API list these.
    pub fn list_by_tag(&self, descriptors: &[Value]) {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": image::INDEX,
            "manifests": descriptors,
        });
        let tag = self.image.digest.to_string().replace(':', "-");
        let path = self.image.repository.path();
        self.registry.put_manifest(path, Some(&tag), image::INDEX, index.to_string());
    }

    /// The descriptor of the image.
    pub fn subject(&self) -> Value {
        let path = self.image.repository.path();
        let manifest = self.registry.manifest(path, &self.image.digest.to_string()).unwrap();
        bundling::descriptor(&manifest.media_type, &manifest.bytes)
    }

    /// Removes a manifest.
    pub fn detach(&self, digest: &Digest) {
        assert!(self.registry.delete(self.image.repository.path(), digest));
    }

    /// A statement that asks for a signature of one of these keys on every image of the registry.
    pub fn statement(&self, keys: &[(&str, &Key)]) -> Value {
        let keys: Vec<_> = keys
            .iter()
            .map(|(name, key)| json!({ "name": name, "publicKey": key.public_pem() }))
            .collect();
        json!({
            "name": "production",
            "registryScopes": [format!("{}/**", self.registry.host())],
            "signatureVerification": { "level": "strict" },
            "keys": keys,
        })
    }

    /// Writes a policy of one statement.
    pub fn write_policy(&self, statement: &Value) -> PathBuf {
        let number = self.policies.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(format!("{number}.json"));
        fs::write(&path, document(statement)).expect("a file in a directory of ours");
        path
    }

    /// Pulls the image with the executable.
    pub fn call(&self, statement: &Value) -> Outcome {
        self.call_about(&self.image, statement)
    }

    fn call_about(&self, image: &ImageId, statement: &Value) -> Outcome {
        self.call_verifier("cosign-image-verifier", image, statement)
    }

    /// Pulls any image of the registry with this executable.
    pub fn call_verifier(&self, verifier: &str, image: &ImageId, statement: &Value) -> Outcome {
        let executable = gate::executable(verifier);
        let name = format!("{}:1", image.repository);
        let policy = self.write_policy(statement);
        let digest = image.digest.to_string();
        let mut call = Call::pull(executable, &name, &digest).policy(&policy);
        if let Some(stored) = self.registry.manifest(image.repository.path(), &digest) {
            let size = stored.bytes.len() as u64;
            call = call.stdin(verifier::descriptor(&stored.media_type, &digest, size));
        }
        call.run()
    }

    /// What the gate says about the image.
    #[track_caller]
    pub fn ask(&self, statement: &Value) -> Verdict {
        self.ask_about(&self.image, statement)
    }

    /// What the gate says about any image of the registry: executable and library alike.
    #[track_caller]
    pub fn ask_about(&self, image: &ImageId, statement: &Value) -> Verdict {
        let verdict = Verdict::of(&self.call_about(image, statement)).unwrap();
        if statement["signatureVerification"]["level"] == "strict" {
            let in_process = self.library_code(image, statement);
            assert_eq!(in_process, verdict.code, "the library disagrees: {verdict:?}");
        }
        verdict
    }

    /// What the gate says about what an image says of itself: executable and library alike.
    #[track_caller]
    pub fn ask_annotations(&self, image: &ImageId, statement: &Value) -> Verdict {
        let outcome = self.call_verifier("annotations-image-verifier", image, statement);
        let verdict = Verdict::of(&outcome).unwrap();
        if statement["level"].is_null() {
            let in_process = self.described_code(image, statement);
            assert_eq!(in_process, verdict.code, "the library disagrees: {verdict:?}");
        }
        verdict
    }

    fn described_code(&self, image: &ImageId, statement: &Value) -> i32 {
        let policy = annotations::Policy::parse(document(statement).as_bytes());
        let Ok(policy) = policy else { return 3 };
        let Ok(statement) = policy.statement_for(image) else { return 1 };
        match verify_annotations(statement, image, now(), &InProcess(&self.registry)) {
            Ok(_) => 0,
            Err(civ_annotations::VerifyError::Rejected(_)) => 1,
            Err(_) => 4,
        }
    }

    /// What the exit code must be, as the library sees it.
    fn library_code(&self, image: &ImageId, statement: &Value) -> i32 {
        let Ok(policy) = TrustPolicy::parse(document(statement).as_bytes()) else { return 3 };
        match self.verify(&policy, image) {
            Ok(()) => 0,
            Err(VerifyError::Registry(_)) => 4,
            Err(_) => 1,
        }
    }

    /// The library's verdict, without a process or a socket.
    pub fn verify(
        &self,
        policy: &TrustPolicy,
        image: &ImageId,
    ) -> Result<(), VerifyError<NotInRegistry>> {
        let registry = InProcess(&self.registry);
        let trust = policy.trust_for(image).expect("the statement is for all of the registry");
        let stored = StoredSignatures::of(image, trust.signature_repository(image), &registry);
        verify_signatures(trust, image, now(), stored).map(drop)
    }
}

fn repository(registry: &Registry, path: &str) -> Repository {
    format!("{}/{path}", registry.host()).parse().unwrap()
}

/// A policy of one statement.
pub fn document(statement: &Value) -> String {
    json!({ "version": "1.0", "trustPolicies": [statement] }).to_string()
}

impl Verdict {
    /// The verdict of a call that ended as every call must: in time, with an exit code that the
    /// contract knows, and with one line of at most [`REASON_MAX`] bytes.
    pub fn of(outcome: &Outcome) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{what}: {outcome:?}"));
        let Some(code @ (0..=5 | 70)) = outcome.code else { return wrong("unknown exit code") };
        let Some(reason) = outcome.stdout.strip_suffix('\n') else { return wrong("no line") };
        if outcome.timed_out {
            return wrong("too late");
        }
        if reason.is_empty() || reason.len() > REASON_MAX || reason.contains(char::is_control) {
            return wrong("not one line of bounded length");
        }
        Ok(Self { code, reason: reason.to_owned() })
    }

    /// Panics unless the exit code is `code` and the reason has `words` in it.
    #[track_caller]
    pub fn expect(&self, what: &str, code: i32, words: &str) {
        let Self { code: actual, reason } = self;
        assert!(*actual == code && reason.contains(words), "{what}: exit {actual}: {reason}");
    }
}

/// Calls, and checks what holds for every call: the exit code, and in time one printable line with
/// `words` in it for containerd, and whole lines of the log on stderr.
#[track_caller]
pub fn assert_ends(call: &Call, code: i32, words: &str) -> Outcome {
    let outcome = call.run();
    let said = format!("{outcome:?}");
    Verdict::of(&outcome).unwrap_or_else(|problem| panic!("{problem}")).expect(&said, code, words);
    let is_whole = |line: &str| {
        (line.starts_with("step=") || line.starts_with("verifier="))
            && !line.contains(char::is_control)
    };
    assert!(outcome.stderr.lines().all(is_whole), "{said}");
    outcome
}

/// The registry's content, read without a socket.
struct InProcess<'a>(&'a Registry);

/// The registry holds no such blob, or one with other content.
#[derive(Debug)]
pub struct NotInRegistry;

impl std::fmt::Display for NotInRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not in the registry")
    }
}

impl std::error::Error for NotInRegistry {}

impl RegistryRead for InProcess<'_> {
    type Error = NotInRegistry;

    fn manifest(
        &self,
        repository: &Repository,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, NotInRegistry> {
        let found = self.0.manifest(repository.path(), &selector.to_string());
        let Some(found) = found else { return Ok(None) };
        let digest = Digest::sha256(&found.bytes);
        let is_other = matches!(selector, Selector::Digest(asked) if *asked != digest);
        if is_other || found.bytes.len() as u64 > MANIFEST_MAX {
            return Err(NotInRegistry);
        }
        let (media_type, bytes) = (found.media_type, found.bytes.to_vec());
        Ok(Some(StoredManifest { media_type, digest, bytes }))
    }

    fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, NotInRegistry> {
        let found = self.0.blob(repository.path(), digest).ok_or(NotInRegistry)?;
        let honest = found.len() as u64 <= limit && digest.check(&found).is_ok();
        if honest { Ok(found.to_vec()) } else { Err(NotInRegistry) }
    }

    fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        _page: Option<&NextPage>,
    ) -> Result<Option<ReferrersPage>, NotInRegistry> {
        let listed = self.0.referrers(repository.path(), subject);
        Ok(listed.map(|bytes| ReferrersPage { bytes, next: None }))
    }
}

fn now() -> UtcTime {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    UtcTime::from_unix(since_epoch).expect("before the year 10000")
}
