//! Signatures beside other signatures, and the gate that has the last word.

use std::collections::BTreeMap;

use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use civ_embedded_registry::{Action, Fault};
use civ_promotion::promote::{self, SignInPlace};
use civ_promotion::{Kind, Signer, Step, annotations};

use crate::setup::{Setup, key, reference, silent, writes};

async fn sign(setup: &Setup, signer: &Signer, recursive: bool) -> Vec<bool> {
    let image = reference(&format!("{}/team/app:v1", setup.source.host()));
    let what =
        SignInPlace { image: &image, annotations: &setup.annotations, recursive, dry_run: false };
    let images = promote::sign_in_place(&setup.client(), &what, signer, &silent()).await.unwrap();
    images.into_iter().map(|one| one.present).collect()
}

fn signatures(setup: &Setup) -> usize {
    let tag = format!("{}.sig", setup.digest.as_tag_stem());
    let manifest = setup.source.manifest("team/app", &tag).unwrap();
    String::from_utf8(manifest.bytes.to_vec()).unwrap().matches("cosign/signature").count()
}

#[tokio::test]
async fn every_signer_signs_once() {
    let mut setup = Setup::of(&SmallImage::new("sign", "linux/amd64"));
    let (ours, theirs) = (key("p256.pem"), key("rsa.pem"));
    assert_eq!(sign(&setup, &ours, false).await, [false]);
    assert_eq!(sign(&setup, &theirs, false).await, [false]);
    setup.source.clear_requests();
    assert_eq!(sign(&setup, &ours, false).await, [true]);
    assert_eq!(sign(&setup, &theirs, false).await, [true]);
    assert_eq!(writes(&setup.source), Vec::<String>::new());
    assert_eq!(signatures(&setup), 2);
    // Another claim is another signature.
    setup.annotations = annotations::parse(["tested=True"]).unwrap();
    assert_eq!(sign(&setup, &ours, false).await, [false]);
    assert_eq!(signatures(&setup), 3);
}

#[tokio::test]
async fn recursion_signs_the_children_of_an_index() {
    let index = SmallIndex::new("recursive");
    let setup = Setup::of(&index);
    assert_eq!(sign(&setup, &setup.signer, true).await, [false; 3]);
    let tags: Vec<String> = setup.source.tags("team/app").into_iter().map(|(tag, _)| tag).collect();
    for child in index.children() {
        assert!(tags.contains(&format!("{}.sig", child.digest().as_tag_stem())));
    }
}

#[tokio::test]
async fn a_dry_run_signs_nothing() {
    let setup = Setup::of(&SmallImage::new("dry", "linux/amd64"));
    let image = reference(&format!("{}/team/app:v1", setup.source.host()));
    let annotations = BTreeMap::new();
    let what =
        SignInPlace { image: &image, annotations: &annotations, recursive: true, dry_run: true };
    let planned = promote::sign_in_place(&setup.client(), &what, &setup.signer, &silent()).await;
    assert!(planned.unwrap().iter().all(|one| !one.present));
    assert_eq!(writes(&setup.source), Vec::<String>::new());
}

#[tokio::test]
async fn a_signature_that_another_signer_overwrote_is_written_again() {
    let setup = Setup::of(&SmallImage::new("race", "linux/amd64"));
    let theirs = key("p384.pem");
    sign(&setup, &theirs, false).await;
    let tag = format!("{}.sig", setup.digest.as_tag_stem());
    let by_them = setup.source.manifest("team/app", &tag).unwrap().digest;
    // Between our write and our second look the other signer's write takes its place.
    let fault = Fault::new(Action::MoveTag(vec![by_them])).method("GET").path_contains(".sig");
    setup.source.fault(fault.nth(2));
    assert_eq!(sign(&setup, &setup.signer, false).await, [false]);
    assert_eq!(signatures(&setup), 2);
}

#[tokio::test]
async fn what_the_gate_refuses_is_not_published() {
    let setup = Setup::of(&SmallImage::new("gate", "linux/amd64"));
    // The plan, the signer twice, and then the gate ask for the signatures.
    let fault = Fault::new(Action::status(404)).method("GET").path_contains(".sig");
    setup.target.fault(fault.nth(4));
    let error = setup.promote().await.unwrap_err();
    assert_eq!((error.step.clone(), error.kind()), (Step::Verify, Kind::Refused), "{error}");
    assert!(error.to_string().contains("unsigned"), "{error}");
    assert!(setup.published().is_none());
    setup.promote().await.unwrap();
}

#[tokio::test]
async fn an_image_without_that_name_is_an_error_that_says_where() {
    let setup = Setup::of(&SmallImage::new("absent", "linux/amd64"));
    let host = setup.source.host();
    for name in ["team/app:v2", "team/nothing:v1"] {
        let text = format!("{host}/{name}");
        let error = promote::find(&setup.client(), &reference(&text)).await.unwrap_err();
        assert_eq!((error.step.clone(), error.kind()), (Step::Resolve, Kind::Registry));
        assert!(error.to_string().contains(&text), "{error}");
        assert_eq!(error.hint(), Some("check the repository and the tag or digest"));
    }
}
