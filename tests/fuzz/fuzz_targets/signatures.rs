//! Everything that a registry may say where signatures are looked for, under keys that have signed
//! nothing: whatever it says, the image is refused, and nothing is read beyond the bounds.
//!
//! The input is five documents, split at blank lines: what is under the `.sig` tag, the list of
//! referrers (if empty, there is no such list, and the next is under its tag), a manifest by digest, and
//! two blobs. Unlike a registry's, none of them is compared with its digest.
#![no_main]

use std::cell::Cell;
use std::sync::LazyLock;

use civ_cosign::{REQUESTS_MAX, StoredSignatures, TrustPolicy, verify_signatures};
use civ_oci::{
    Digest, ImageId, NextPage, ReferrersPage, RegistryRead, Repository, Selector, StoredManifest,
    media_type,
};
use civ_policy::UtcTime;

#[path = "../untrusted_keys.rs"]
mod untrusted_keys;

static POLICY: LazyLock<TrustPolicy> = LazyLock::new(|| {
    let keys = untrusted_keys::PEM.iter().enumerate();
    let keys: Vec<_> = keys
        .map(|(n, pem)| serde_json::json!({ "name": format!("k{n}"), "publicKey": pem }))
        .collect();
    let policy = serde_json::json!({ "version": "1.0", "trustPolicies": [{
        "name": "production",
        "registryScopes": ["*"],
        "signatureVerification": { "level": "strict" },
        "signedIdentity": { "type": "any" },
        "keys": keys,
    }]});
    TrustPolicy::parse(policy.to_string().as_bytes()).unwrap()
});

struct Anything<'a> {
    documents: [&'a [u8]; 5],
    requests: Cell<u32>,
    blobs: Cell<usize>,
}

impl Anything<'_> {
    fn count(&self) {
        self.requests.set(self.requests.get() + 1);
        // Each but the first may have been redirected.
        assert!(self.requests.get() <= REQUESTS_MAX, "more is read than may be asked for");
    }
}

impl RegistryRead for Anything<'_> {
    type Error = std::convert::Infallible;

    fn manifest(
        &self,
        _: &Repository,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, Self::Error> {
        self.count();
        let (bytes, media_type) = match selector {
            Selector::Tag(tag) if tag.as_str().strip_suffix(".sig").is_some() => {
                (self.documents[0], media_type::OCI_MANIFEST)
            }
            Selector::Tag(_) => (self.documents[2], media_type::OCI_INDEX),
            Selector::Digest(_) => (self.documents[2], media_type::OCI_MANIFEST),
        };
        let (media_type, digest) = (media_type.to_owned(), Digest::sha256(bytes));
        Ok(Some(StoredManifest { media_type, digest, bytes: bytes.to_vec() }))
    }

    fn blob(&self, _: &Repository, _: &Digest, limit: u64) -> Result<Vec<u8>, Self::Error> {
        self.count();
        let number = self.blobs.replace(self.blobs.get() + 1);
        let bytes = self.documents[3 + number % 2];
        Ok(bytes[..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX))].to_vec())
    }

    fn referrers(
        &self,
        _: &Repository,
        _: &Digest,
        page: Option<&NextPage>,
    ) -> Result<Option<ReferrersPage>, Self::Error> {
        self.count();
        let next = page.is_none().then(|| NextPage::new("?more".to_owned()));
        let bytes = self.documents[1].to_vec();
        Ok((!bytes.is_empty()).then_some(ReferrersPage { bytes, next }))
    }
}

fn split(mut bytes: &[u8]) -> [&[u8]; 5] {
    [0; 5].map(|_| {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
        let (document, rest) = bytes.split_at(end);
        bytes = rest.get(2..).unwrap_or_default();
        document
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let now: UtcTime = "2026-11-22T05:00:00Z".parse().unwrap();
    let repository: Repository = untrusted_keys::REPOSITORY.parse().unwrap();
    let image: ImageId = repository.image(Digest::sha256(untrusted_keys::IMAGE));
    let documents = split(bytes);
    let registry = Anything { documents, requests: Cell::new(0), blobs: Cell::new(0) };
    let trust = POLICY.trust_for(&image).unwrap();
    let stored = StoredSignatures::of(&image, &image.repository, &registry);
    match verify_signatures(trust, &image, now, stored) {
        Ok(_) => panic!("allowed by a key that has signed nothing"),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});
