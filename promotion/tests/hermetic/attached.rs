//! What is attached to an image, who made it, and deleting it without harm to anything else.

use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use civ_embedded_registry::{Action, Fault, Registry, Response};
use civ_oci::{Digest, ImageId, media_type};
use civ_promotion::attached::{
    self, Attached, AttachmentKind, FoundSigner, NamedKey, Problem, Wanted,
};
use civ_promotion::promote::{self, SignInPlace};
use civ_promotion::sign::Signing;
use civ_promotion::{Cause, Formats, Signer, annotations};

use crate::setup::{Setup, bundles, key, reference, silent, writes};

async fn sign(setup: &Setup, signer: &Signer) {
    let image = reference(&format!("{}/team/app:v1", setup.source.host()));
    let annotations = annotations::parse(["a=1"]).unwrap();
    let signing = Signing { formats: Formats::Both, annotations: &annotations, created: None };
    let what = SignInPlace { image: &image, signing, recursive: false, dry_run: false };
    promote::sign_in_place(&setup.client(), &what, signer, &silent()).await.unwrap();
}

fn image(setup: &Setup) -> ImageId {
    let name = format!("{}/team/app@{}", setup.source.host(), setup.digest);
    reference(&name).image().unwrap()
}

async fn find(setup: &Setup, keys: &[NamedKey]) -> Attached {
    attached::find(&setup.client(), &image(setup), keys).await.unwrap()
}

async fn clean(setup: &Setup, wanted: Wanted) -> Result<(), civ_promotion::Error> {
    let found = find(setup, &[]).await;
    attached::clean(&setup.client(), &found, wanted).await
}

/// A manifest that says that it refers to `subject`.
fn put_referrer(registry: &Registry, artifact_type: &str, subject: &Digest) -> Digest {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{artifact_type}","size":2,"digest":"{}"}},"layers":[],"subject":{{"mediaType":"{}","size":1,"digest":"{subject}"}}}}"#,
        media_type::OCI_MANIFEST,
        Digest::sha256(b"{}"),
        media_type::OCI_MANIFEST,
    );
    registry.put_manifest("team/app", None, media_type::OCI_MANIFEST, text)
}

fn list_by_tag(setup: &Setup, referrers: &[&Digest]) {
    let describe = |digest: &&Digest| {
        format!(r#"{{"mediaType":"{}","size":1,"digest":"{digest}"}}"#, media_type::OCI_MANIFEST)
    };
    let list: Vec<_> = referrers.iter().map(describe).collect();
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        media_type::OCI_INDEX,
        list.join(",")
    );
    let tag = setup.digest.as_tag_stem();
    setup.source.put_manifest("team/app", Some(&tag), media_type::OCI_INDEX, index);
}

fn without_list(text: &str) -> Setup {
    let registry = Registry::builder().referrers(false).start().unwrap();
    Setup::between(registry, Registry::start().unwrap(), &SmallImage::new(text, "linux/amd64"))
}

#[tokio::test]
async fn says_who_signed_only_where_a_key_verifies_it() {
    let setup = Setup::of(&SmallImage::new("who", "linux/amd64"));
    let (ours, theirs) = (key("p256.pem"), key("rsa.pem"));
    sign(&setup, &ours).await;
    sign(&setup, &theirs).await;
    let known = NamedKey { name: "ours".to_owned(), key: ours.public_key().clone() };
    let found = find(&setup, &[known]).await;
    let signatures: Vec<_> = found.attachments.iter().flat_map(|one| &one.signatures).collect();
    assert_eq!((found.attachments.len(), signatures.len()), (3, 4));
    let by_us = FoundSigner::Verified("ours".to_owned());
    assert_eq!(signatures.iter().filter(|one| one.signer == by_us).count(), 2);
    for signature in signatures {
        let said = signature.said.as_ref().unwrap();
        assert!(said.is_about_image);
        assert_eq!(said.annotations.get("a").map(String::as_str), Some("1"));
        assert_eq!(said.repository.as_deref().map(|name| name.ends_with("/team/app")), Some(true));
    }
    let strangers = find(&setup, &[]).await;
    let mut signatures = strangers.attachments.iter().flat_map(|one| &one.signatures);
    assert!(signatures.all(|one| !matches!(one.signer, FoundSigner::Verified(_))));
}

#[tokio::test]
async fn a_signature_moved_from_another_image_is_shown_as_such() {
    let setup = Setup::of(&SmallImage::new("moved", "linux/amd64"));
    sign(&setup, &setup.signer).await;
    let other = SmallImage::new("other", "linux/amd64").seed_into(&setup.source, "team/app", "v2");
    let sig = |digest: &Digest| format!("{}.sig", digest.as_tag_stem());
    let ours = setup.source.manifest("team/app", &sig(&setup.digest)).unwrap().digest;
    setup.source.tag("team/app", &sig(&other), &ours);
    let other = image(&setup).repository.image(other);
    let found = attached::find(&setup.client(), &other, &[]).await.unwrap();
    let signature = found.attachments[0].signatures[0].said.as_ref().unwrap();
    assert!(!signature.is_about_image);
    assert_eq!(signature.digest, setup.digest.to_string());
}

#[tokio::test]
async fn deletes_what_is_asked_for_and_leaves_the_image() {
    for listing in [true, false] {
        for (wanted, expected) in [
            (Wanted::All, (0, 0)),
            (Wanted::Referrers, (1, 0)),
            (Wanted::Kind(AttachmentKind::Signature), (0, 1)),
            (Wanted::Kind(AttachmentKind::Sbom), (1, 1)),
        ] {
            let registry = Registry::builder().referrers(listing).start().unwrap();
            let fixture = SmallImage::new("delete", "linux/amd64");
            let setup = Setup::between(registry, Registry::start().unwrap(), &fixture);
            let sbom = put_referrer(&setup.source, "application/spdx+json", &setup.digest);
            if !listing {
                list_by_tag(&setup, &[&sbom]);
            }
            sign(&setup, &setup.signer).await;
            clean(&setup, wanted).await.unwrap();
            let left = find(&setup, &[]).await.attachments;
            let tags = left.iter().filter(|one| one.tag.is_some()).count();
            assert_eq!((tags, left.len() - tags), expected, "{listing} {wanted:?}");
            assert!(setup.source.manifest("team/app", "v1").is_some());
            let tag = setup.source.manifest("team/app", &setup.digest.as_tag_stem());
            assert_eq!(tag.is_some(), !listing && expected.1 > 0, "{wanted:?}");
        }
    }
}

#[tokio::test]
async fn a_list_that_names_other_images_deletes_none_of_them() {
    let setup = without_list("forged");
    let other = SmallImage::new("other", "linux/amd64").seed_into(&setup.source, "team/app", "v2");
    let of_other = put_referrer(&setup.source, "application/spdx+json", &other);
    let gone = Digest::sha256(b"gone");
    list_by_tag(&setup, &[&other, &of_other, &setup.digest, &gone]);
    let found = find(&setup, &[]).await;
    let kept: Vec<_> = found.to_keep(Wanted::All).iter().map(|one| one.problem.clone()).collect();
    assert_eq!(kept, [(); 3].map(|()| Some(Problem::NoReferrer)));
    clean(&setup, Wanted::All).await.unwrap();
    for digest in [&other, &of_other, &setup.digest] {
        assert!(setup.source.manifest("team/app", &digest.to_string()).is_some());
    }
    assert_eq!(bundles(&setup.source, "team/app", &setup.digest).len(), 3, "all but what is gone");
}

#[tokio::test]
async fn an_image_with_such_a_tag_is_left_alone_and_so_is_the_tag() {
    let setup = Setup::of(&SmallImage::new("tagged", "linux/amd64"));
    let index = SmallIndex::new("production").seed_into(&setup.source, "team/app", "prod");
    let stem = setup.digest.as_tag_stem();
    setup.source.tag("team/app", &stem, &setup.digest);
    setup.source.tag("team/app", &format!("{stem}.sig"), &setup.digest);
    setup.source.tag("team/app", &format!("{stem}.att"), &index);
    setup.source.clear_requests();
    clean(&setup, Wanted::All).await.unwrap();
    assert_eq!(setup.source.count_requests("DELETE", ""), 0);
    for tag in ["v1", "prod", &stem, &format!("{stem}.sig")] {
        assert!(setup.source.manifest("team/app", tag).is_some(), "{tag}");
    }
}

#[tokio::test]
async fn what_is_not_of_this_image_alone_never_goes_by_digest() {
    let setup = Setup::of(&SmallImage::new("shared", "linux/amd64"));
    sign(&setup, &setup.signer).await;
    let stem = setup.digest.as_tag_stem();
    // Another image's signatures, and a bill of materials that another image has, too.
    let other = setup.source.manifest("team/app", &format!("{stem}.sig")).unwrap();
    let other = String::from_utf8(other.bytes.to_vec()).unwrap().replace("data", "gone");
    let other =
        setup.source.put_manifest("team/app", Some("other"), media_type::OCI_MANIFEST, other);
    let payload = setup.source.put_blob("team/app", *b"{}");
    let chart = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"x/y","size":2,"digest":"{payload}"}},"layers":[{{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","size":2,"digest":"{payload}"}}]}}"#
    );
    let chart =
        setup.source.put_manifest("team/app", Some("chart"), media_type::OCI_MANIFEST, chart);
    setup.source.tag("team/app", &format!("{stem}.att"), &chart);
    setup.source.tag("team/app", &format!("{stem}.sbom"), &other);
    let by_tag = |request: &civ_embedded_registry::Request| !request.path.contains("sha256:");
    setup.source.fault(Fault::new(Action::status(405)).method("DELETE").when(by_tag));
    for kind in [AttachmentKind::Attestation, AttachmentKind::Sbom] {
        let error = clean(&setup, Wanted::Kind(kind)).await.unwrap_err();
        assert!(matches!(*error.cause, Cause::Undeletable(_)), "{error}");
    }
    clean(&setup, Wanted::Kind(AttachmentKind::Signature)).await.unwrap();
    for tag in ["chart", "other"] {
        assert!(setup.source.manifest("team/app", tag).is_some(), "{tag}");
    }
    assert!(setup.source.manifest("team/app", &format!("{stem}.sig")).is_none());
}

#[tokio::test]
async fn a_tag_that_is_said_to_be_gone_and_is_not_is_not_called_deleted() {
    let setup = Setup::of(&SmallImage::new("still there", "linux/amd64"));
    let stem = setup.digest.as_tag_stem();
    let blob = setup.source.put_blob("team/app", *b"{}");
    let sbom = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"x/y","size":2,"digest":"{blob}"}},"layers":[]}}"#
    );
    let tag = format!("{stem}.sbom");
    setup.source.put_manifest("team/app", Some(&tag), media_type::OCI_MANIFEST, sbom);
    setup.source.fault(Fault::new(Action::status(404)).method("DELETE"));
    let error = clean(&setup, Wanted::Kind(AttachmentKind::Sbom)).await.unwrap_err();
    assert!(matches!(*error.cause, Cause::StillThere), "{error}");
}

#[tokio::test]
async fn a_registry_that_deletes_manifests_only_is_asked_for_those() {
    let setup = Setup::of(&SmallImage::new("by digest", "linux/amd64"));
    sign(&setup, &setup.signer).await;
    let by_tag = |request: &civ_embedded_registry::Request| !request.path.contains("sha256:");
    setup.source.fault(Fault::new(Action::status(400)).method("DELETE").when(by_tag));
    clean(&setup, Wanted::All).await.unwrap();
    assert!(find(&setup, &[]).await.attachments.is_empty());
    assert!(setup.source.manifest("team/app", "v1").is_some());
}

#[tokio::test]
async fn a_registry_that_deletes_nothing_is_named_as_such() {
    let setup = without_list("refused");
    sign(&setup, &setup.signer).await;
    let refusal = Response::error(405, "UNSUPPORTED", "The operation is unsupported.");
    setup.source.fault(Fault::new(Action::Answer(refusal)).method("DELETE"));
    setup.source.clear_requests();
    let error = clean(&setup, Wanted::All).await.unwrap_err();
    assert!(matches!(*error.cause, Cause::Undeletable(_)), "{error}");
    assert!(error.hint().unwrap().contains("storage.delete.enabled"));
    assert!(writes(&setup.source).iter().all(|write| write.starts_with("DELETE")));
    assert_eq!(find(&setup, &[]).await.attachments.len(), 2);
}

#[tokio::test]
async fn deleting_asks_for_permission_to_delete() {
    let registry = Registry::builder().bearer("user", "canary").start().unwrap();
    let host = registry.host();
    let fixture = SmallImage::new("login", "linux/amd64");
    let setup = Setup::between(registry, Registry::start().unwrap(), &fixture).login(&[host]);
    sign(&setup, &setup.signer).await;
    clean(&setup, Wanted::All).await.unwrap();
    assert!(find(&setup, &[]).await.attachments.is_empty());
}
