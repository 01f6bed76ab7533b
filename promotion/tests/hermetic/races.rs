//! Many signers of one image at once, in registries that know no "only if nobody else wrote".

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallImage};
use civ_oci::{Digest, Document};
use civ_promotion::promote::{self, SignInPlace};
use civ_promotion::sign::Signing;
use civ_promotion::signer::LocalKey;
use civ_promotion::{Client, Credentials, Formats, Retry, Signer};

use crate::setup::{bundles, reference, silent};

fn new_key() -> Signer {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let der = key.to_pkcs8v1().unwrap();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    Signer::Local(LocalKey::from_pem(pem.as_bytes()).unwrap())
}

/// Signs `image` with `signers` at the same time, each with connections of its own.
async fn sign_at_once(image: &str, signers: &[Arc<Signer>]) {
    let mut running = tokio::task::JoinSet::new();
    for signer in signers {
        let (signer, image) = (Arc::clone(signer), reference(image));
        running.spawn(async move {
            let client = Client::new(Credentials::Anonymous, Retry::default()).unwrap();
            let annotations = std::collections::BTreeMap::new();
            let signing =
                Signing { formats: Formats::Both, annotations: &annotations, created: None };
            let what = SignInPlace { image: &image, signing, recursive: false, dry_run: false };
            promote::sign_in_place(&client, &what, &signer, &silent()).await.unwrap();
        });
    }
    while let Some(outcome) = running.join_next().await {
        outcome.unwrap();
    }
}

/// How many signatures are under the `.sig` tag, and in bundles that are listed.
fn count(registry: &Registry, image: &Digest) -> (usize, usize) {
    let tag = format!("{}.sig", image.as_tag_stem());
    let stored = registry.manifest("team/app", &tag).unwrap();
    let Ok(Document::Manifest(manifest)) = Document::parse(&stored.bytes, &stored.media_type)
    else {
        panic!("no image")
    };
    (manifest.layers.len(), bundles(registry, "team/app", image).len())
}

async fn race(registry: Registry, signers: usize, text: &str) {
    let digest = SmallImage::new(text, "linux/amd64").seed_into(&registry, "team/app", "v1");
    let name = format!("{}/team/app@{digest}", registry.host());
    let keys: Vec<_> = (0..signers).map(|_| Arc::new(new_key())).collect();
    sign_at_once(&name, &keys).await;
    assert_eq!(count(&registry, &digest), (signers, signers), "{text}");
    // Each of them finds its own: had one been lost, it would be made again.
    sign_at_once(&name, &keys).await;
    assert_eq!(count(&registry, &digest), (signers, signers), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_signature_is_lost_among_signers_at_once() {
    for (signers, rounds) in [(2, 3), (4, 2), (16, 1)] {
        for round in 0..rounds {
            for (latency, listing) in [(0, false), (10, true)] {
                let registry = Registry::builder()
                    .referrers(listing)
                    .latency(Duration::from_millis(latency))
                    .start()
                    .unwrap();
                race(registry, signers, &format!("{signers} {latency} {listing} {round}")).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_in_many_processes_signs_but_a_few_times() {
    let registry = Registry::builder().referrers(false).start().unwrap();
    let digest = SmallImage::new("one key", "linux/amd64").seed_into(&registry, "team/app", "v1");
    let name = format!("{}/team/app@{digest}", registry.host());
    let key = Arc::new(new_key());
    sign_at_once(&name, &vec![Arc::clone(&key); 4]).await;
    let before = count(&registry, &digest);
    sign_at_once(&name, &[key]).await;
    assert_eq!(count(&registry, &digest), before);
    assert!((1..=4).contains(&before.0) && (1..=4).contains(&before.1), "{before:?}");
}
