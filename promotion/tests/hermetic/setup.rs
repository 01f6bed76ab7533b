//! Two registries, a key, and a promotion between them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use civ_embedded_registry::image::Fixture;
use civ_embedded_registry::{Manifest, Registry};
use civ_oci::{Digest, Document, Reference, media_type};
use civ_promotion::progress::Silent;
use civ_promotion::registry::Credential;
use civ_promotion::signer::{LocalKey, NoPassword};
use civ_promotion::{
    Client, Credentials, Error, Formats, Progress, Promoted, Promotion, Retry, Signer, gate,
    promote,
};

/// A source with an image under `team/app:v1`, and a destination `prod/app:1.0`.
pub(crate) struct Setup {
    pub(crate) source: Registry,
    pub(crate) target: Registry,
    pub(crate) digest: Digest,
    pub(crate) signer: Signer,
    pub(crate) credentials: Credentials,
    pub(crate) retry: Retry,
    pub(crate) recursive: bool,
    pub(crate) formats: Formats,
    pub(crate) annotations: BTreeMap<String, String>,
    client: OnceLock<Client>,
}

impl Setup {
    pub(crate) fn of(image: &impl Fixture) -> Self {
        Self::between(Registry::start().unwrap(), Registry::start().unwrap(), image)
    }

    pub(crate) fn between(source: Registry, target: Registry, image: &impl Fixture) -> Self {
        let digest = image.seed_into(&source, "team/app", "v1");
        let pause = Duration::from_millis(1);
        Self {
            source,
            target,
            digest,
            signer: key("p256.pem"),
            credentials: Credentials::Anonymous,
            retry: Retry {
                attempts: 3,
                pause,
                pause_max: Duration::from_secs(2),
                ..Retry::default()
            },
            recursive: false,
            formats: Formats::Both,
            annotations: BTreeMap::new(),
            client: OnceLock::new(),
        }
    }

    /// With a user and password for the registries at `hosts`.
    pub(crate) fn login(mut self, hosts: &[String]) -> Self {
        let password = Credential::Password { user: "user".into(), password: "canary".into() };
        let known = hosts.iter().map(|host| (host.clone(), password.clone()));
        self.credentials = Credentials::Fixed(known.collect());
        self
    }

    /// Made when first needed: reading the system's certificates takes its time.
    pub(crate) fn client(&self) -> Client {
        let make = || Client::new(self.credentials.clone(), self.retry.clone()).unwrap();
        self.client.get_or_init(make).clone()
    }

    pub(crate) fn promotion(&self) -> Promotion {
        Promotion {
            source: reference(&format!("{}/team/app:v1", self.source.host())),
            destination: reference(&format!("{}/prod/app:1.0", self.target.host())),
            annotations: self.annotations.clone(),
            recursive: self.recursive,
            formats: self.formats,
            created: None,
            jobs: 4,
        }
    }

    pub(crate) async fn promote(&self) -> Result<Promoted, Error> {
        self.run(&self.promotion()).await
    }

    pub(crate) async fn run(&self, promotion: &Promotion) -> Result<Promoted, Error> {
        let client = self.client();
        let planned = promote::plan(&client, promotion, &self.signer).await?;
        planned.run(&client, &self.signer, &silent()).await
    }

    /// What the destination's tag names.
    pub(crate) fn published(&self) -> Option<Manifest> {
        self.target.manifest("prod/app", "1.0")
    }

    /// Whether a node that trusts the key lets the image in the destination pass.
    pub(crate) async fn passes_the_gate(&self) -> bool {
        self.ask_the_gate().await.is_ok()
    }

    /// What such a node says.
    pub(crate) async fn ask_the_gate(&self) -> Result<(), Error> {
        self.ask_the_gate_with(&self.client()).await
    }

    /// The same, asked with other credentials.
    pub(crate) async fn ask_the_gate_with(&self, client: &Client) -> Result<(), Error> {
        let image = reference(&format!("{}/prod/app@{}", self.target.host(), self.digest));
        let image = image.image().unwrap();
        let key = self.signer.public_key();
        gate::check(client, &image, key, &self.annotations).await
    }

    /// Everything that `image` is made of is at the destination, byte for byte.
    pub(crate) fn assert_arrived(&self, image: &impl Fixture) {
        for manifest in image.manifests() {
            let digest = Digest::sha256(&manifest.bytes);
            let found = self.target.manifest("prod/app", &digest.to_string()).unwrap();
            assert_eq!(*found.bytes, manifest.bytes);
            assert_eq!(found.media_type, manifest.media_type);
        }
        for blob in image.blobs() {
            let found = self.target.blob("prod/app", &blob.digest()).unwrap();
            assert_eq!(*found, blob.into_bytes());
        }
    }
}

/// Requests that change something.
pub(crate) fn writes(registry: &Registry) -> Vec<String> {
    let requests = registry.requests().into_iter();
    let writes = requests.filter(|one| !matches!(one.request.method.as_str(), "GET" | "HEAD"));
    writes.map(|one| one.to_string()).collect()
}

/// The digests of the manifests listed as referring to `image`: by the registry, or by the index
/// that stands in for its list.
pub(crate) fn bundles(registry: &Registry, repository: &str, image: &Digest) -> Vec<Digest> {
    let list = registry.referrers(repository, image).or_else(|| {
        let index = registry.manifest(repository, &image.as_tag_stem())?;
        Some(index.bytes.to_vec())
    });
    let Some(list) = list else { return Vec::new() };
    let Ok(Document::Index(list)) = Document::parse(&list, media_type::OCI_INDEX) else {
        panic!("no list")
    };
    list.manifests.into_iter().map(|referrer| referrer.digest).collect()
}

pub(crate) fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// One of the keys made for these tests.
pub(crate) fn key(name: &str) -> Signer {
    Signer::Local(local_key(name))
}

pub(crate) fn local_key(name: &str) -> LocalKey {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    LocalKey::read(path.as_ref(), &NoPassword).unwrap()
}
