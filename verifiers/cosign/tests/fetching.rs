//! What is fetched for a verdict, and what is said where not all of it could be.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_cosign::signatures::{REFERRER_MAX, REFERRERS_BYTES_MAX, SIGNATURE_ANNOTATION};
use civ_cosign::{PublicKey, StoredSignatures, TrustPolicy, bundle, dsse, verify_signatures};
use civ_oci::{
    Digest, ImageId, NextPage, ReferrersPage, RegistryRead, Repository, Selector, StoredManifest,
    Tag, media_type,
};
use civ_policy::UtcTime;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// What comes before the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("missing")]
    Missing,
    #[error("deadline passed")]
    Deadline,
}

/// A registry that notes what it is asked for.
#[derive(Default)]
struct Registry {
    signatures: Option<Vec<u8>>,
    manifests: BTreeMap<Digest, Vec<u8>>,
    blobs: BTreeMap<Digest, Result<Vec<u8>, Fault>>,
    listed: Vec<Value>,
    asked: RefCell<Vec<String>>,
}

impl Registry {
    /// Lists a referrer, and says that it is `size` long.
    fn attach(&mut self, manifest: &Value, padding: usize, size: Option<usize>) {
        let bytes = format!("{manifest}{}", " ".repeat(padding)).into_bytes();
        let mut listed = descriptor(media_type::OCI_MANIFEST, &bytes);
        listed["size"] = json!(size.unwrap_or(bytes.len()));
        listed["artifactType"] = json!(bundle::BUNDLE);
        // The list is in this order, from the newest.
        let created = format!("{:03}", 999 - self.listed.len());
        listed["annotations"] = json!({ "org.opencontainers.image.created": created });
        self.listed.push(listed);
        self.manifests.insert(Digest::sha256(&bytes), bytes);
    }

    fn count(&self, kind: &str) -> usize {
        self.asked.borrow().iter().filter(|asked| asked.starts_with(kind)).count()
    }
}

impl RegistryRead for Registry {
    type Error = Fault;

    fn is_deadline(error: &Fault) -> bool {
        *error == Fault::Deadline
    }

    fn manifest(
        &self,
        _: &Repository,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, Fault> {
        self.asked.borrow_mut().push(format!("manifest {selector}"));
        let bytes = match selector {
            Selector::Tag(tag) if *tag == Tag::of_signatures(&image().digest).unwrap() => {
                self.signatures.clone()
            }
            Selector::Tag(_) => None,
            Selector::Digest(digest) => self.manifests.get(digest).cloned(),
        };
        Ok(bytes.map(|bytes| StoredManifest {
            media_type: media_type::OCI_MANIFEST.to_owned(),
            digest: Digest::sha256(&bytes),
            bytes,
        }))
    }

    fn blob(&self, _: &Repository, digest: &Digest, limit: u64) -> Result<Vec<u8>, Fault> {
        self.asked.borrow_mut().push(format!("blob {digest}"));
        let blob = self.blobs.get(digest).cloned().unwrap_or(Err(Fault::Missing))?;
        if blob.len() as u64 > limit { Err(Fault::Missing) } else { Ok(blob) }
    }

    fn referrers(
        &self,
        _: &Repository,
        _: &Digest,
        _: Option<&NextPage>,
    ) -> Result<Option<ReferrersPage>, Fault> {
        self.asked.borrow_mut().push("referrers".to_owned());
        let index = json!({ "schemaVersion": 2, "manifests": self.listed });
        Ok(Some(ReferrersPage { bytes: index.to_string().into_bytes(), next: None }))
    }
}

fn image() -> ImageId {
    let repository: Repository = "r.example/team/app".parse().unwrap();
    repository.image(Digest::sha256(b"image"))
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    let digest = Digest::sha256(content).to_string();
    json!({ "mediaType": media_type, "size": content.len(), "digest": digest })
}

fn manifest(layers: &Value) -> Value {
    let config = descriptor(media_type::EMPTY, b"{}");
    json!({ "schemaVersion": 2, "config": config, "layers": layers })
}

fn signer() -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let spki = [&ED25519_SPKI, pair.public_key().as_ref()].concat();
    let key = PublicKey::from_spki_der(&spki).unwrap();
    (pair, key)
}

/// A bundle in which the trusted key has signed the image.
fn good_bundle() -> Vec<u8> {
    let (pair, key) = signer();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": image().digest.hex() } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    });
    let statement = statement.to_string().into_bytes();
    let signed = dsse::pre_authentication_encoding(dsse::IN_TOTO, &statement);
    bundle::to_bytes(&key, &statement, pair.sign(&signed).as_ref())
}

/// A referrer with that bundle, in line or as a blob of `registry`.
fn good_referrer(registry: &mut Registry, in_line: bool) -> Value {
    let bytes = good_bundle();
    let mut layer = descriptor(bundle::BUNDLE, &bytes);
    if in_line {
        layer["data"] = json!(STANDARD.encode(&bytes));
    }
    registry.blobs.insert(Digest::sha256(&bytes), Ok(bytes));
    manifest(&json!([layer]))
}

/// Another referrer, which has a bundle that is none.
fn bad_referrer(number: usize) -> Value {
    let mut layer = descriptor(bundle::BUNDLE, b"{}");
    layer["data"] = json!(STANDARD.encode("{}"));
    layer["annotations"] = json!({ "number": number.to_string() });
    manifest(&json!([layer]))
}

/// An image of signatures whose payloads are not in it.
fn signatures(payloads: &[&[u8]]) -> Vec<u8> {
    let layers = payloads.iter().map(|payload| {
        let mut layer = descriptor("application/vnd.dev.cosign.simplesigning.v1+json", payload);
        layer["annotations"] = json!({ SIGNATURE_ANNOTATION: STANDARD.encode(payload) });
        layer
    });
    manifest(&layers.collect()).to_string().into_bytes()
}

/// `Ok` or the reason.
fn verdict(registry: &Registry) -> Result<(), String> {
    let policy = json!({ "version": "1.0", "trustPolicies": [{
        "name": "production",
        "registryScopes": ["r.example/**"],
        "signatureVerification": { "level": "strict" },
        "keys": [{ "name": "release", "publicKey": signer().1.to_pem() }],
    }]});
    let policy = TrustPolicy::parse(policy.to_string().as_bytes()).unwrap();
    let image = image();
    let trust = policy.trust_for(&image).unwrap();
    let stored = StoredSignatures::of(&image, trust.signature_repository(&image), registry);
    let now = UtcTime::from_unix(std::time::Duration::from_hours(500_000)).unwrap();
    verify_signatures(trust, &image, now, stored).map(drop).map_err(|error| error.to_string())
}

fn assert_refused(registry: &Registry, reason: &str) {
    let found = verdict(registry).unwrap_err();
    assert!(found.starts_with(reason), "{found}");
}

#[test]
fn a_manifest_of_a_referrer_has_at_most_two_mebibytes() {
    let limit = usize::try_from(REFERRER_MAX).unwrap();
    let mut registry = Registry::default();
    let good = good_referrer(&mut registry, true);
    let length = good.to_string().len();
    let larger = "limit reached: manifest of a referrer of 2097153 bytes is larger than 2097152";
    for (padding, stated, asked, expected) in [
        (limit - length, None, 1, Ok(())),
        (limit + 1 - length, None, 0, Err(larger)),
        (limit + 1 - length, Some(100), 1, Err(larger)),
    ] {
        let mut registry = Registry::default();
        registry.attach(&good, padding, stated);
        match expected {
            Ok(()) => assert_eq!(verdict(&registry), Ok(())),
            Err(reason) => assert_refused(&registry, reason),
        }
        assert_eq!(registry.count("manifest sha256:"), asked);
    }
}

#[test]
fn referrers_have_at_most_eight_mebibytes_together() {
    let limit = usize::try_from(REFERRERS_BYTES_MAX).unwrap();
    let reason = "limit reached: the manifests and bundles of the referrers have more than 8388608";
    for (each, stated, read) in [(2 << 20, None, 4), (1 << 20, None, 8), (4 << 20, Some(9), 2)] {
        let mut registry = Registry::default();
        let good = good_referrer(&mut registry, true);
        for number in 0..12 {
            let bad = bad_referrer(number);
            registry.attach(&bad, each - bad.to_string().len(), stated);
        }
        registry.attach(&good, 0, None);
        assert_refused(&registry, reason);
        assert_eq!(registry.count("manifest sha256:"), read, "{each}");
        assert_eq!(read * each, limit);
    }
}

#[test]
fn a_small_referrer_is_read_where_larger_ones_no_longer_fit() {
    let mut registry = Registry::default();
    let good = good_referrer(&mut registry, false);
    for number in 0..12 {
        let bad = bad_referrer(number);
        registry.attach(&bad, (2 << 20) - 9_999 - bad.to_string().len(), None);
    }
    registry.attach(&good, 0, None);
    assert_eq!(verdict(&registry), Ok(()));
    assert_eq!(registry.count("manifest sha256:"), 5);
}

#[test]
fn bundles_count_among_what_referrers_have_together() {
    let mut registry = Registry::default();
    for number in 0..12_u8 {
        let mut blob = vec![b' '; 1 << 20];
        blob[0] = number;
        registry.attach(&manifest(&json!([descriptor(bundle::BUNDLE, &blob)])), 0, None);
        registry.blobs.insert(Digest::sha256(&blob), Ok(blob));
    }
    assert_refused(&registry, "limit reached: the manifests and bundles of the referrers");
    assert_eq!((registry.count("manifest sha256:"), registry.count("blob ")), (12, 7));
}

#[test]
fn that_time_was_up_is_said_whatever_failed_before() {
    let (lost, late) = (b"lost".as_slice(), b"late".as_slice());
    for payloads in [[lost, late], [late, lost]] {
        let mut registry =
            Registry { signatures: Some(signatures(&payloads)), ..Registry::default() };
        registry.blobs.insert(Digest::sha256(late), Err(Fault::Deadline));
        assert_refused(&registry, "deadline passed");
    }
    let registry = Registry { signatures: Some(signatures(&[lost])), ..Registry::default() };
    assert_refused(&registry, "missing");
}

#[test]
fn payloads_that_cannot_be_had_do_not_come_before_referrers() {
    let payloads: Vec<[u8; 1]> = (0..16).map(|number| [number]).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(<[u8; 1]>::as_slice).collect();
    let tag = Some(signatures(&payloads));
    let mut registry = Registry { signatures: tag, ..Registry::default() };
    assert_refused(&registry, "missing");
    assert_eq!((registry.count("blob "), registry.count("referrers")), (16, 1));
    registry.asked.take();
    let good = good_referrer(&mut registry, true);
    registry.attach(&good, 0, None);
    assert_eq!(verdict(&registry), Ok(()));
    assert_eq!((registry.count("blob "), registry.count("referrers")), (1, 1));
}
