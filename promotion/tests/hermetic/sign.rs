//! Signatures in both forms, beside other signatures, and the gate that has the last word.

use std::collections::BTreeMap;

use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use civ_embedded_registry::{Action, Fault, Registry};
use civ_oci::media_type;
use civ_promotion::promote::{self, SignInPlace};
use civ_promotion::sign::{Obstacle, Signing, State};
use civ_promotion::{
    Cause, Error, Format, Formats, Kind, Signatures, Signer, Step, annotations, gate,
};

use crate::setup::{Setup, bundles, key, reference, silent, writes};

const EVERY: [Formats; 3] =
    [Formats::Both, Formats::Only(Format::Legacy), Formats::Only(Format::Bundle)];

async fn try_sign(
    setup: &Setup,
    signer: &Signer,
    recursive: bool,
) -> Result<Vec<Signatures>, Error> {
    let image = reference(&format!("{}/team/app:v1", setup.source.host()));
    let signing =
        Signing { formats: setup.formats, annotations: &setup.annotations, created: None };
    let what = SignInPlace { image: &image, signing, recursive, dry_run: false };
    promote::sign_in_place(&setup.client(), &what, signer, &silent()).await
}

/// Whether each image carried these signatures before.
async fn sign(setup: &Setup, signer: &Signer, recursive: bool) -> Vec<bool> {
    let images = try_sign(setup, signer, recursive).await.unwrap();
    images.iter().map(Signatures::is_complete).collect()
}

/// Signs the one image; what became of each form.
async fn states(setup: &Setup) -> Vec<(Format, State)> {
    let [signatures] = try_sign(setup, &setup.signer, false).await.unwrap().try_into().unwrap();
    signatures.formats.into_iter().collect()
}

/// How many signatures there are: under the `.sig` tag, and in bundles.
fn count(setup: &Setup) -> (usize, usize) {
    let tag = format!("{}.sig", setup.digest.as_tag_stem());
    let manifest = setup.source.manifest("team/app", &tag);
    let text = manifest.map(|found| String::from_utf8(found.bytes.to_vec()).unwrap());
    let legacy = text.map_or(0, |text| text.matches("cosign/signature").count());
    (legacy, bundles(&setup.source, "team/app", &setup.digest).len())
}

fn registries() -> [Registry; 2] {
    [true, false].map(|listing| Registry::builder().referrers(listing).start().unwrap())
}

#[tokio::test]
async fn every_signer_signs_once_in_every_form() {
    for registry in registries() {
        let image = SmallImage::new("sign", "linux/amd64");
        let mut setup = Setup::between(registry, Registry::start().unwrap(), &image);
        let (ours, theirs) = (key("p256.pem"), key("rsa.pem"));
        assert_eq!(sign(&setup, &ours, false).await, [false]);
        assert_eq!(sign(&setup, &theirs, false).await, [false]);
        assert_eq!(count(&setup), (2, 2));
        setup.source.clear_requests();
        assert_eq!(sign(&setup, &ours, false).await, [true]);
        assert_eq!(sign(&setup, &theirs, false).await, [true]);
        assert_eq!(writes(&setup.source), Vec::<String>::new());
        // Another claim is another signature.
        setup.annotations = annotations::parse(["tested=True"]).unwrap();
        assert_eq!(sign(&setup, &ours, false).await, [false]);
        assert_eq!(count(&setup), (3, 3));
    }
}

#[tokio::test]
async fn only_the_forms_asked_for_are_written_and_each_suffices() {
    for registry in 0..2 {
        for (formats, expected) in EVERY.into_iter().zip([(1, 1), (1, 0), (0, 1)]) {
            let [listing, silent] = registries();
            let registry = if registry == 0 { listing } else { silent };
            let image = SmallImage::new("forms", "linux/amd64");
            let mut setup = Setup::between(registry, Registry::start().unwrap(), &image);
            setup.formats = formats;
            sign(&setup, &setup.signer, false).await;
            assert_eq!(count(&setup), expected, "{formats:?}");
            let name = format!("{}/team/app@{}", setup.source.host(), setup.digest);
            let image = reference(&name).image().unwrap();
            let key = setup.signer.public_key();
            gate::check(&setup.client(), &image, key, &BTreeMap::new()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_form_that_is_missing_is_added_to_the_one_that_is_there() {
    let mut setup = Setup::of(&SmallImage::new("second form", "linux/amd64"));
    setup.formats = Formats::Only(Format::Legacy);
    sign(&setup, &setup.signer, false).await;
    setup.formats = Formats::Both;
    let expected = [(Format::Legacy, State::Present), (Format::Bundle, State::Added)];
    assert_eq!(states(&setup).await, expected);
    assert_eq!(count(&setup), (1, 1));
}

#[tokio::test]
async fn recursion_signs_the_children_of_an_index() {
    let index = SmallIndex::new("recursive");
    let setup = Setup::of(&index);
    assert_eq!(sign(&setup, &setup.signer, true).await, [false; 3]);
    let tags: Vec<String> = setup.source.tags("team/app").into_iter().map(|(tag, _)| tag).collect();
    for child in index.children() {
        assert!(tags.contains(&format!("{}.sig", child.digest().as_tag_stem())));
        assert_eq!(bundles(&setup.source, "team/app", &child.digest()).len(), 1);
    }
}

#[tokio::test]
async fn a_dry_run_signs_nothing() {
    let setup = Setup::of(&SmallImage::new("dry", "linux/amd64"));
    let image = reference(&format!("{}/team/app:v1", setup.source.host()));
    let annotations = BTreeMap::new();
    let signing = Signing { formats: Formats::Both, annotations: &annotations, created: None };
    let what = SignInPlace { image: &image, signing, recursive: true, dry_run: true };
    let planned = promote::sign_in_place(&setup.client(), &what, &setup.signer, &silent()).await;
    let planned = planned.unwrap();
    assert!(planned[0].formats.values().all(|state| *state == State::Missing), "{planned:?}");
    assert_eq!(writes(&setup.source), Vec::<String>::new());
}

#[tokio::test]
async fn a_signature_that_another_signer_overwrote_is_written_again() {
    let mut setup = Setup::of(&SmallImage::new("race", "linux/amd64"));
    setup.formats = Formats::Only(Format::Legacy);
    let theirs = key("p384.pem");
    sign(&setup, &theirs, false).await;
    let tag = format!("{}.sig", setup.digest.as_tag_stem());
    let by_them = setup.source.manifest("team/app", &tag).unwrap().digest;
    // Between our write and our look at it the other signer's write takes its place.
    let fault = Fault::new(Action::MoveTag(vec![by_them])).method("GET").path_contains(".sig");
    setup.source.fault(fault.nth(3));
    assert_eq!(sign(&setup, &setup.signer, false).await, [false]);
    assert_eq!(count(&setup).0, 2);
}

#[tokio::test]
async fn a_signature_that_came_between_look_and_write_is_not_overwritten() {
    let mut setup = Setup::of(&SmallImage::new("between", "linux/amd64"));
    setup.formats = Formats::Only(Format::Legacy);
    sign(&setup, &key("p384.pem"), false).await;
    let tag = format!("{}.sig", setup.digest.as_tag_stem());
    let by_them = setup.source.manifest("team/app", &tag).unwrap().digest;
    setup.source.untag("team/app", &tag);
    let fault = Fault::new(Action::MoveTag(vec![by_them])).method("HEAD").path_contains(".sig");
    setup.source.fault(fault.nth(1));
    sign(&setup, &setup.signer, false).await;
    assert_eq!(count(&setup).0, 2);
    let overwritten = setup.source.count_requests("PUT", ".sig");
    assert_eq!(overwritten, 2, "one write by them and one by us");
}

#[tokio::test]
async fn an_immutable_sig_tag_leaves_the_bundle() {
    let registry = Registry::builder().immutable_tags(true).start().unwrap();
    let image = SmallImage::new("immutable", "linux/amd64");
    let mut setup = Setup::between(registry, Registry::start().unwrap(), &image);
    sign(&setup, &setup.signer, false).await;
    setup.signer = key("p384.pem");
    let immutable = State::LeftOut(Obstacle::ImmutableSignatures);
    let left = |bundle| [(Format::Legacy, immutable), (Format::Bundle, bundle)];
    assert_eq!(states(&setup).await, left(State::Added));
    assert_eq!(states(&setup).await, left(State::Present));
    assert_eq!(count(&setup), (1, 2));
    setup.formats = Formats::Only(Format::Legacy);
    let error = try_sign(&setup, &setup.signer, false).await.unwrap_err();
    assert!(matches!(*error.cause, Cause::Obstacle(Obstacle::ImmutableSignatures)), "{error}");
    assert!(error.hint().unwrap().contains("IMMUTABLE_WITH_EXCLUSION"));
}

#[tokio::test]
async fn tags_that_may_not_change_at_all_are_an_error_once_both_are_there() {
    let registry = Registry::builder().immutable_tags(true).referrers(false).start().unwrap();
    let image = SmallImage::new("immutable", "linux/amd64");
    let mut setup = Setup::between(registry, Registry::start().unwrap(), &image);
    sign(&setup, &setup.signer, false).await;
    assert_eq!(count(&setup), (1, 1));
    setup.signer = key("p384.pem");
    let error = try_sign(&setup, &setup.signer, false).await.unwrap_err();
    assert!(matches!(*error.cause, Cause::Obstacle(Obstacle::ImmutableSignatures)), "{error}");
    setup.formats = Formats::Only(Format::Bundle);
    let error = try_sign(&setup, &setup.signer, false).await.unwrap_err();
    assert!(matches!(*error.cause, Cause::Obstacle(Obstacle::ImmutableReferrers)), "{error}");
}

#[tokio::test]
async fn the_image_that_cosign_copy_put_under_the_list_s_tag_stays_there() {
    let index = SmallIndex::new("taken");
    let registry = Registry::builder().referrers(false).start().unwrap();
    let mut setup = Setup::between(registry, Registry::start().unwrap(), &index);
    let tag = setup.digest.as_tag_stem();
    setup.source.tag("team/app", &tag, &setup.digest);
    let taken = State::LeftOut(Obstacle::ReferrersTagTaken);
    assert_eq!(states(&setup).await, [(Format::Legacy, State::Added), (Format::Bundle, taken)]);
    setup.formats = Formats::Only(Format::Bundle);
    let error = try_sign(&setup, &setup.signer, false).await.unwrap_err();
    assert!(matches!(*error.cause, Cause::Obstacle(Obstacle::ReferrersTagTaken)), "{error}");
    assert_eq!(setup.source.manifest("team/app", &tag).unwrap().digest, setup.digest);
    // A registry that lists referrers itself has no use for the tag.
    let mut setup = Setup::of(&index);
    setup.source.tag("team/app", &tag, &setup.digest);
    setup.formats = Formats::Only(Format::Bundle);
    assert_eq!(states(&setup).await, [(Format::Bundle, State::Added)]);
}

#[tokio::test]
async fn a_list_that_names_what_is_gone_is_mended() {
    let registry = Registry::builder().referrers(false).start().unwrap();
    let image = SmallImage::new("gone", "linux/amd64");
    let mut setup = Setup::between(registry, Registry::start().unwrap(), &image);
    setup.formats = Formats::Only(Format::Bundle);
    sign(&setup, &key("rsa.pem"), false).await;
    sign(&setup, &key("p384.pem"), false).await;
    let [gone, kept] = bundles(&setup.source, "team/app", &setup.digest).try_into().unwrap();
    setup.source.delete("team/app", &gone);
    assert_eq!(states(&setup).await, [(Format::Bundle, State::Added)]);
    let left = bundles(&setup.source, "team/app", &setup.digest);
    assert_eq!((left.len(), left.contains(&kept), left.contains(&gone)), (2, true, false));
}

#[tokio::test]
async fn more_signatures_than_verifiers_read_are_not_written() {
    let mut setup = Setup::of(&SmallImage::new("full", "linux/amd64"));
    setup.formats = Formats::Only(Format::Legacy);
    sign(&setup, &key("rsa.pem"), false).await;
    let tag = format!("{}.sig", setup.digest.as_tag_stem());
    let manifest = setup.source.manifest("team/app", &tag).unwrap();
    let text = String::from_utf8(manifest.bytes.to_vec()).unwrap();
    let (before, layer) = text.split_once("\"layers\":[").unwrap();
    let layers = vec![layer.strip_suffix("]}").unwrap(); 100].join(",");
    let full = format!("{before}\"layers\":[{layers}]}}");
    setup.source.put_manifest("team/app", Some(&tag), media_type::OCI_MANIFEST, full);
    let error = try_sign(&setup, &setup.signer, false).await.unwrap_err();
    assert!(error.to_string().contains("100 signatures"), "{error}");

    // As many bundles: any manifest that says it is one counts.
    for n in 0..100 {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","n":{n},"subject":{{"digest":"{}"}}}}"#,
            media_type::OCI_MANIFEST,
            setup.digest
        );
        setup.source.put_manifest("team/app", None, media_type::OCI_MANIFEST, text);
    }
    setup.formats = Formats::Only(Format::Bundle);
    let error = try_sign(&setup, &setup.signer, false).await.unwrap_err();
    assert!(matches!(*error.cause, Cause::TooManyReferrers { limit: 100 }), "{error}");
}

#[tokio::test]
async fn what_the_gate_refuses_is_not_published() {
    let setup = Setup::of(&SmallImage::new("gate", "linux/amd64"));
    // The plan, the signer three times, and then the gate ask for the signatures.
    let fault = Fault::new(Action::status(404)).method("GET").path_contains(".sig");
    setup.target.fault(fault.nth(5));
    let error = setup.promote().await.unwrap_err();
    assert_eq!((error.step.clone(), error.kind()), (Step::Verify, Kind::Refused), "{error}");
    assert!(error.to_string().contains("unsigned"), "{error}");
    assert!(setup.published().is_none());
    setup.promote().await.unwrap();
}

#[tokio::test]
async fn a_bundle_that_the_gate_refuses_is_not_published_either() {
    let setup = Setup::of(&SmallImage::new("gate", "linux/amd64"));
    // The referrer is read once: by the gate, right after it was written.
    let spoilt = Action::edit(|_, response| {
        let text = String::from_utf8_lossy(response.body()).replace("vnd.dev.sigstore", "vnd.x");
        response.with_body(text.into())
    });
    let is_bundle = |request: &civ_embedded_registry::Request| request.path.contains("/manifests/");
    let digest = setup.digest.to_string();
    let fault = Fault::new(spoilt).method("GET").when(move |request| {
        is_bundle(request) && request.path.contains("sha256:") && !request.path.contains(&digest)
    });
    setup.target.fault(fault);
    let error = setup.promote().await.unwrap_err();
    assert_eq!(error.step, Step::Verify, "{error}");
    assert!(setup.published().is_none());
    setup.target.clear_faults();
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

/// What README and SECURITY say of the cost of a pull.
#[tokio::test]
async fn a_node_finds_what_civ_signed_in_few_requests() {
    for (listing, by_formats) in [(true, [1, 1, 3]), (false, [1, 1, 4])] {
        for (formats, expected) in EVERY.into_iter().zip(by_formats) {
            let registry = Registry::builder().referrers(listing).start().unwrap();
            let image = SmallImage::new("requests", "linux/amd64");
            let mut setup = Setup::between(registry, Registry::start().unwrap(), &image);
            setup.formats = formats;
            sign(&setup, &setup.signer, false).await;
            setup.source.clear_requests();
            let image = reference(&format!("{}/team/app@{}", setup.source.host(), setup.digest));
            let (image, key) = (image.image().unwrap(), setup.signer.public_key());
            gate::check(&setup.client(), &image, key, &BTreeMap::new()).await.unwrap();
            let asked = setup.source.request_lines();
            assert_eq!(
                asked.len(),
                expected,
                "{formats:?}, lists referrers: {listing}: {asked:#?}"
            );
        }
    }
}
