//! What the demo pulls: a registry on loopback, an image promoted and signed into it, and seven others
//! that lack something, each in its own way.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallIndex};
use civ_oci::{Digest, Document, Tag, media_type};
use civ_policy::PolicyFile;
use civ_private_node::place::{self, Unfit};
use civ_promotion::progress::Silent;
use civ_promotion::signer::LocalKey;
use civ_promotion::{
    Client, Credentials, Format, Formats, Progress, Promotion, Retry, Signer, promote,
};
use pem_rfc7468::LineEnding;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::failure::{Exit, Failure};

const TAG: &str = "1.0";
const COSIGN: &str = "cosign";
const DIGESTION: &str = "digestion";
const ANNOTATIONS: &str = "annotations";
/// The annotation that the policy asks for, and what it is.
const OWNER: (&str, &str) = ("team", "platform");

/// One pull, and what should come of it.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// What is special about the image.
    pub(crate) title: &'static str,
    /// What is pulled, by tag.
    pub(crate) reference: String,
    /// What the tag resolves to.
    pub(crate) digest: Digest,
    /// The size of what the tag resolves to, in bytes.
    pub(crate) size: u64,
    /// Which verifier is asked when there is no containerd to ask all.
    pub(crate) verifier: &'static str,
    /// That verifier's policy.
    pub(crate) policy: PathBuf,
    /// What should come of it.
    pub(crate) expected: Expected,
}

/// What should come of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It goes on: exit code 0.
    Allowed,
    /// The image is refused, exit code 1, and the reason has these words in it.
    Refused(&'static str),
}

/// A registry with images, and policies that speak of them.
#[derive(Debug)]
pub(crate) struct Stage {
    registry: Registry,
    directory: TempDir,
    scenes: Vec<Scene>,
}

impl Stage {
    /// Starts the registry, promotes and signs, and writes the policies.
    pub(crate) async fn set() -> Result<Self, Failure> {
        let directory = place::private("civ-demo-", verifiers_take_policies_from)
            .map_err(|error| Failure::new(Exit::Key, error))?;
        let registry = Registry::start().map_err(|error| {
            Failure::new(Exit::Registry, format_args!("no loopback port to be had: {error}"))
        })?;
        let mut stage = Self { registry, directory, scenes: Vec::new() };
        stage.add_images().await.map_err(|error| {
            let fact = format_args!("the demo's registry could not be set up: {error:#}");
            Failure::new(Exit::Internal, fact)
        })?;
        Ok(stage)
    }

    async fn add_images(&mut self) -> anyhow::Result<()> {
        let (release, stranger) = (new_key()?, new_key()?);
        let tested = BTreeMap::from([("e2e-tests-passed".to_owned(), "True".to_owned())]);

        let signed = self.promote("app", &release, &tested).await?;
        let unsigned = owned("unsigned").seed_into(&self.registry, "prod/unsigned", TAG);
        // Signed in one form: the other one would still be good.
        let legacy = Formats::Only(Format::Legacy);
        let tampered = owned("tampered");
        let tampered = self.promote_index("tampered", &tampered, &release, &tested, legacy).await?;
        self.tamper_with_signature("prod/tampered", &tampered)?;
        let other_key = self.promote("other-key", &stranger, &tested).await?;
        self.copy_with_signature("prod/app", "prod/copied", &signed)?;
        let untested = self.promote("untested", &release, &BTreeMap::new()).await?;
        let unlisted = self.promote("unlisted", &release, &tested).await?;
        let ownerless = SmallIndex::new("ownerless");
        let both = Formats::Both;
        let ownerless =
            self.promote_index("ownerless", &ownerless, &release, &tested, both).await?;

        let cosign = self.write_policy(COSIGN, &self.cosign_policy(&release))?;
        let listed = [&signed, &unsigned, &tampered, &other_key, &untested, &ownerless];
        let listed = json!({ "version": "1.0", "trustedDigests": listed });
        let digestion = self.write_policy(DIGESTION, &listed)?;
        let annotations = self.write_policy(ANNOTATIONS, &self.annotations_policy())?;

        let (yes, no) = (Expected::Allowed, Expected::Refused);
        let by_cosign = [
            ("signed", "app", &signed, yes),
            ("unsigned", "unsigned", &unsigned, no("unsigned: no signature")),
            ("signature tampered with", "tampered", &tampered, no("signature invalid")),
            ("signed by another key", "other-key", &other_key, no("signature invalid")),
            ("signed for another repository", "copied", &signed, no("for another repository")),
            ("annotation missing", "untested", &untested, no("annotation missing")),
        ];
        let by_digestion = [
            ("digest listed", "app", &signed, yes),
            ("digest not listed", "unlisted", &unlisted, no("digest not listed")),
        ];
        let by_annotations = [
            ("team stated", "app", &signed, yes),
            ("team not stated", "ownerless", &ownerless, no("missing from the index")),
        ];
        for (verifier, policy, pulls) in [
            (COSIGN, &cosign, &by_cosign[..]),
            (DIGESTION, &digestion, &by_digestion),
            (ANNOTATIONS, &annotations, &by_annotations),
        ] {
            for (title, name, digest, expected) in pulls {
                let stored = self.registry.manifest(&format!("prod/{name}"), &digest.to_string());
                self.scenes.push(Scene {
                    title,
                    reference: format!("{}/prod/{name}:{TAG}", self.host()),
                    digest: (*digest).clone(),
                    size: stored.context("an image is gone")?.bytes.len() as u64,
                    verifier,
                    policy: policy.clone(),
                    expected: *expected,
                });
            }
        }
        Ok(())
    }

    /// The registry's `host:port`.
    pub(crate) fn host(&self) -> String {
        self.registry.host()
    }

    /// Every question to a verifier.
    pub(crate) fn scenes(&self) -> &[Scene] {
        &self.scenes
    }

    /// One pull of each image: containerd asks all verifiers.
    pub(crate) fn pulls(&self) -> Vec<Scene> {
        let is_second_look = |scene: &Scene| matches!(scene.title, "digest listed" | "team stated");
        self.scenes.iter().filter(|scene| !is_second_look(scene)).cloned().collect()
    }

    /// The policies that were written, by the plugin they are for.
    pub(crate) fn policies(&self) -> [(&'static str, PathBuf); 3] {
        [COSIGN, DIGESTION, ANNOTATIONS].map(|plugin| (plugin, self.policy_path(plugin)))
    }

    async fn promote(
        &self,
        name: &str,
        key: &Signer,
        annotations: &BTreeMap<String, String>,
    ) -> anyhow::Result<Digest> {
        self.promote_index(name, &owned(name), key, annotations, Formats::Both).await
    }

    /// Puts `index` upstream, and promotes it with the code of `civ promote`.
    async fn promote_index(
        &self,
        name: &str,
        index: &SmallIndex,
        key: &Signer,
        annotations: &BTreeMap<String, String>,
        formats: Formats,
    ) -> anyhow::Result<Digest> {
        index.seed_into(&self.registry, &format!("upstream/{name}"), TAG);
        let promotion = Promotion {
            source: format!("{}/upstream/{name}:{TAG}", self.host()).parse()?,
            destination: format!("{}/prod/{name}:{TAG}", self.host()).parse()?,
            annotations: annotations.clone(),
            recursive: false,
            formats,
            created: None,
            jobs: 4,
        };
        let client = Client::new(Credentials::Anonymous, Retry::default())?;
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let planned = promote::plan(&client, &promotion, key).await?;
        Ok(planned.run(&client, key, &progress).await?.image.digest)
    }

    /// Replaces the signed payload by one that claims more, as whoever may push could.
    fn tamper_with_signature(&self, repository: &str, digest: &Digest) -> anyhow::Result<()> {
        let tag = Tag::of_signatures(digest).context("no signature tag")?;
        let stored = self.registry.manifest(repository, tag.as_str()).context("no signature")?;
        let mut manifest: Value = serde_json::from_slice(&stored.bytes)?;
        let Document::Manifest(parsed) = Document::parse(&stored.bytes, &stored.media_type)? else {
            anyhow::bail!("a signature image is a manifest");
        };
        let payload = parsed.layers.first().context("no payload")?;
        let payload = self.registry.blob(repository, &payload.digest).context("no payload")?;
        let payload = String::from_utf8(payload.to_vec())?.replace("True", "Very");
        let layer = manifest.pointer_mut("/layers/0").context("no layer")?;
        layer["digest"] = self.registry.put_blob(repository, payload.clone()).to_string().into();
        if let Some(layer) = layer.as_object_mut() {
            layer.remove("data");
        }
        let tag = Some(tag.as_str());
        self.registry.put_manifest(repository, tag, media_type::OCI_MANIFEST, manifest.to_string());
        Ok(())
    }

    /// Copies an image and its signature to a repository that nobody signed it for.
    fn copy_with_signature(&self, from: &str, to: &str, digest: &Digest) -> anyhow::Result<()> {
        for blob in self.registry.blobs(from) {
            let blob = self.registry.blob(from, &blob).context("a blob is gone")?;
            self.registry.put_blob(to, blob.to_vec());
        }
        for manifest in self.registry.manifests(from) {
            let stored = self
                .registry
                .manifest(from, &manifest.to_string())
                .context("a manifest is gone")?;
            self.registry.put_manifest(to, None, &stored.media_type, stored.bytes.to_vec());
        }
        self.registry.tag(to, TAG, digest);
        let tag = Tag::of_signatures(digest).context("no signature tag")?;
        let signature = self.registry.manifest(from, tag.as_str()).context("no signature")?;
        self.registry.tag(to, tag.as_str(), &signature.digest);
        Ok(())
    }

    fn cosign_policy(&self, key: &Signer) -> Value {
        json!({
            "version": "1.0",
            "trustPolicies": [{
                "name": "production",
                "registryScopes": [format!("{}/prod/*", self.host())],
                "signatureVerification": { "level": "strict" },
                "keys": [{ "name": "release", "publicKey": key.public_key().to_pem() }],
                "annotations": { "e2e-tests-passed": "True" },
            }],
        })
    }

    fn annotations_policy(&self) -> Value {
        json!({
            "version": "1.0",
            "trustPolicies": [{
                "name": "owned",
                "registryScopes": [format!("{}/prod/*", self.host())],
                "rules": [{ "annotation": OWNER.0, "equals": OWNER.1 }],
            }],
        })
    }

    fn policy_path(&self, plugin: &str) -> PathBuf {
        self.directory.path().join(plugin).join("trustpolicy.json")
    }

    fn write_policy(&self, plugin: &str, policy: &Value) -> anyhow::Result<PathBuf> {
        let path = self.policy_path(plugin);
        write_policy(&path, &serde_json::to_vec_pretty(policy)?)?;
        Ok(path)
    }
}

/// Does nothing on the way to a directory make a verifier refuse a policy in it?
fn verifiers_take_policies_from(directory: &Path) -> Result<(), Unfit> {
    let path = directory.join("trustpolicy.json");
    write_policy(&path, b"{}")?;
    PolicyFile::read(&path).map_err(|error| Unfit::Refused(error.problem.to_string()))?;
    fs::remove_file(&path)?;
    Ok(())
}

/// Whatever the umask: only this user may write to it, and to its directory.
fn write_policy(path: &Path, content: &[u8]) -> io::Result<()> {
    place::create(path.parent().unwrap_or(path))?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

/// An index that says whose it is.
fn owned(name: &str) -> SmallIndex {
    SmallIndex::new(name).annotation(OWNER.0, OWNER.1)
}

/// A signing key that lives as long as the demo.
fn new_key() -> anyhow::Result<Signer> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let der = key.to_pkcs8v1()?;
    let pem = pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, der.as_ref())
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Signer::Local(LocalKey::from_pem(pem.as_bytes())?))
}
