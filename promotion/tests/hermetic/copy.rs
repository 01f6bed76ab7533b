//! What arrives, and what has to travel for it.

use civ_embedded_registry::image::{Fixture, LargeImage, SmallImage, SmallIndex};
use civ_embedded_registry::{Action, Fault, Registry};
use civ_oci::{Descriptor, Digest, media_type};
use civ_promotion::plan::TagState;
use civ_promotion::registry::RegistryError;
use civ_promotion::{Cause, Format, Formats, Promotion, Signatures, Step, promote};

use crate::setup::{Setup, reference, silent, writes};

#[tokio::test]
async fn an_image_arrives_byte_for_byte_signed_and_tagged_last() {
    let image = SmallImage::new("copy", "linux/amd64");
    let setup = Setup::of(&image);
    let promoted = setup.promote().await.unwrap();
    setup.assert_arrived(&image);
    assert_eq!(setup.published().unwrap().digest, setup.digest);
    assert!(promoted.tag_moved());
    assert_eq!(promoted.signatures.len(), 1);
    assert!(promoted.signatures[0].added());
    assert!(setup.passes_the_gate().await);

    let puts = writes(&setup.target);
    let signed = puts.iter().position(|put| put.contains(".sig")).unwrap();
    let tagged = puts.iter().position(|put| put.contains("/manifests/1.0")).unwrap();
    assert_eq!(tagged, puts.len() - 1, "{puts:#?}");
    assert!(signed < tagged);
    assert!(setup.source.requests().iter().all(|one| one.request.method != "PUT"));
}

#[tokio::test]
async fn an_index_arrives_with_all_its_children_before_it() {
    let index = SmallIndex::new("copy");
    let setup = Setup::of(&index);
    setup.promote().await.unwrap();
    setup.assert_arrived(&index);
    assert_eq!(setup.published().unwrap().bytes.as_slice(), index.index());
}

#[tokio::test]
async fn blobs_go_up_in_one_put_of_known_length() {
    let image = LargeImage::new("one put", 3, 400_000);
    let setup = Setup::of(&image);
    setup.promote().await.unwrap();
    setup.assert_arrived(&image);
    for one in setup.target.requests() {
        assert_ne!(one.request.method, "PATCH");
        if one.request.method == "PUT" {
            assert!(one.request.header("content-length").is_some(), "{one}");
            assert!(one.request.header("transfer-encoding").is_none(), "{one}");
        }
    }
}

#[tokio::test]
async fn a_second_run_moves_nothing() {
    let index = SmallIndex::new("again");
    let mut setup = Setup::of(&index);
    setup.recursive = true;
    setup.promote().await.unwrap();
    setup.source.clear_requests();
    setup.target.clear_requests();
    let promoted = setup.promote().await.unwrap();
    assert!(!promoted.tag_moved());
    assert!(promoted.signatures.iter().all(Signatures::is_complete));
    assert_eq!(writes(&setup.target), Vec::<String>::new());
    assert_eq!(setup.source.count_requests("GET", "/blobs/"), 0);
}

#[tokio::test]
async fn a_tag_that_somebody_moves_meanwhile_names_the_image_in_the_end() {
    let image = SmallImage::new("moved meanwhile", "linux/amd64");
    let setup = Setup::of(&image);
    setup.promote().await.unwrap();
    let (client, promotion) = (setup.client(), setup.promotion());
    let planned = promote::plan(&client, &promotion, &setup.signer).await.unwrap();
    assert_eq!(planned.plan.tag, TagState::Same);
    let other =
        SmallImage::new("unsigned", "linux/amd64").seed_into(&setup.target, "prod/app", "1.0");
    let promoted = planned.run(&client, &setup.signer, &silent()).await.unwrap();
    assert_eq!(setup.published().unwrap().digest, setup.digest);
    assert_eq!(promoted.tag_was, TagState::Other(other));
}

#[tokio::test]
async fn a_promoted_image_that_lost_its_signature_gets_it_back() {
    let image = SmallImage::new("lost", "linux/amd64");
    let mut setup = Setup::of(&image);
    setup.formats = Formats::Only(Format::Legacy);
    setup.promote().await.unwrap();
    assert!(setup.target.untag("prod/app", &format!("{}.sig", setup.digest.as_tag_stem())));
    assert!(!setup.passes_the_gate().await);
    let promoted = setup.promote().await.unwrap();
    assert_eq!((promoted.tag_moved(), promoted.signatures[0].added()), (false, true));
    assert!(setup.passes_the_gate().await);
}

#[tokio::test]
async fn only_what_is_missing_is_copied() {
    let image = SmallImage::new("missing", "linux/amd64");
    let setup = Setup::of(&image);
    let layer = setup.target.put_blob("prod/app", image.layer().to_vec());
    setup.promote().await.unwrap();
    assert_eq!(setup.source.count_requests("GET", &layer.to_string()), 0);
    setup.assert_arrived(&image);
}

#[tokio::test]
async fn a_blob_named_twice_is_copied_once() {
    let image = SmallImage::new("twice", "linux/amd64");
    let layer = Descriptor::of("application/vnd.oci.image.layer.v1.tar", b"layer");
    let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
    let manifest = manifest_of(&config, &[layer.clone(), layer.clone()]);
    let setup = Setup::of(&image);
    for blob in [&b"layer"[..], b"{}"] {
        setup.source.put_blob("team/app", blob);
    }
    setup.source.put_manifest("team/app", Some("v1"), media_type::OCI_MANIFEST, manifest);
    setup.promote().await.unwrap();
    assert_eq!(setup.source.count_requests("GET", &layer.digest.to_string()), 1);
}

#[tokio::test]
async fn within_a_registry_blobs_are_mounted() {
    let registry = Registry::start().unwrap();
    let image = SmallImage::new("mount", "linux/amd64");
    let mut setup = Setup::between(registry, Registry::start().unwrap(), &image);
    let promotion = Promotion {
        destination: reference(&format!("{}/prod/app:1.0", setup.source.host())),
        ..setup.promotion()
    };
    setup.run(&promotion).await.unwrap();
    let requests = setup.source.request_lines();
    assert_eq!(setup.source.count_requests("GET", "/team/app/blobs/"), 0, "{requests:#?}");
    assert_eq!(setup.target.requests().len(), 0);
    std::mem::swap(&mut setup.source, &mut setup.target);
    setup.assert_arrived(&image);
}

#[tokio::test]
async fn a_mount_that_is_declined_becomes_an_upload() {
    let image = SmallImage::new("declined", "linux/amd64");
    let mut setup = Setup::of(&image);
    // Another repository of the same registry, which does not mount.
    setup.source.fault(
        Fault::new(Action::edit(|_, response| response))
            .method("POST")
            .when(|request| request.query_value("mount").is_some()),
    );
    setup.source.delete("team/app", &Digest::sha256(image.layer()));
    let layer = setup.source.put_blob("elsewhere", image.layer().to_vec());
    let promotion = Promotion {
        destination: reference(&format!("{}/prod/app:1.0", setup.source.host())),
        ..setup.promotion()
    };
    let error = setup.run(&promotion).await.unwrap_err();
    assert_eq!(error.step, Step::ReadBlob(layer));
    setup.source.put_blob("team/app", image.layer().to_vec());
    setup.run(&promotion).await.unwrap();
    std::mem::swap(&mut setup.source, &mut setup.target);
    setup.assert_arrived(&image);
}

#[tokio::test]
async fn a_plan_says_what_is_missing_and_writes_nothing() {
    let index = SmallIndex::new("plan");
    let setup = Setup::of(&index);
    let client = setup.client();
    let promotion = setup.promotion();
    let planned = promote::plan(&client, &promotion, &setup.signer).await.unwrap();
    let plan = &planned.plan;
    assert_eq!(plan.tag, TagState::Absent);
    assert_eq!(plan.missing_manifests().count(), 3);
    assert_eq!(plan.manifests.last().unwrap().digest, setup.digest);
    let sizes: Vec<u64> = plan.missing_blobs().map(|blob| blob.size).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
    assert_eq!(sizes.len(), 4);
    assert!(planned.signatures.iter().all(|signatures| !signatures.is_complete()));
    assert_eq!(writes(&setup.target), Vec::<String>::new());

    let other = SmallImage::new("other", "linux/amd64").seed_into(&setup.target, "prod/app", "1.0");
    let planned = promote::plan(&client, &promotion, &setup.signer).await.unwrap();
    assert_eq!(planned.plan.tag, TagState::Other(other));
}

#[tokio::test]
async fn foreign_layers_stay_where_they_are() {
    let setup = Setup::of(&SmallImage::new("foreign", "windows/amd64"));
    let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
    let foreign = Descriptor {
        urls: vec!["https://example.com/layer".to_owned()],
        ..Descriptor::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"foreign")
    };
    setup.source.put_blob("team/app", &b"{}"[..]);
    let manifest = manifest_of(&config, std::slice::from_ref(&foreign));
    setup.source.put_manifest("team/app", Some("v1"), media_type::OCI_MANIFEST, manifest);
    let promoted = setup.promote().await.unwrap();
    assert_eq!(setup.published().unwrap().digest, promoted.image.digest);
    assert!(setup.target.blob("prod/app", &foreign.digest).is_none());
}

#[tokio::test]
async fn wrong_bytes_never_arrive_and_nothing_is_tagged() {
    let image = SmallImage::new("wrong", "linux/amd64");
    let right = image.layer().to_vec();
    let mut flipped = right.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let longer = [right.as_slice(), b"x"].concat();
    let shorter = right[1..].to_vec();
    for wrong in [flipped, longer, shorter, Vec::new()] {
        let setup = Setup::of(&image);
        let layer = Digest::sha256(&right);
        setup.source.tamper("team/app", &layer, wrong.clone());
        let error = setup.promote().await.unwrap_err();
        assert_eq!(error.step, Step::ReadBlob(layer.clone()), "{error}");
        assert_eq!(error.at.repository.to_string(), format!("{}/team/app", setup.source.host()));
        assert!(error.hint().is_some(), "{error}");
        assert!(setup.target.blob("prod/app", &layer).is_none());
        assert!(!setup.target.blobs("prod/app").contains(&Digest::sha256(&wrong)));
        assert!(setup.published().is_none());
        assert!(setup.target.tags("prod/app").is_empty());

        setup.source.tamper("team/app", &layer, right.clone());
        setup.promote().await.unwrap();
        setup.assert_arrived(&image);
    }
}

#[tokio::test]
async fn wrong_manifests_are_noticed() {
    let index = SmallIndex::new("wrong manifests");
    let setup = Setup::of(&index);
    let child = index.children().first().unwrap().digest();
    let mut bytes = index.children().first().unwrap().manifest();
    bytes.push(b' ');
    setup.source.tamper("team/app", &child, bytes);
    let error = setup.promote().await.unwrap_err();
    assert_eq!(error.step, Step::ReadManifest);
    assert!(matches!(*error.cause, Cause::Registry(RegistryError::BadContent(_))), "{error}");
    assert_eq!(writes(&setup.target), Vec::<String>::new());
}

#[tokio::test]
async fn an_immutable_tag_is_left_and_the_message_says_so() {
    let image = SmallImage::new("immutable", "linux/amd64");
    let target = Registry::builder().immutable_tags(true).start().unwrap();
    let other = SmallImage::new("other", "linux/amd64").seed_into(&target, "prod/app", "1.0");
    let setup = Setup::between(Registry::start().unwrap(), target, &image);
    let error = setup.promote().await.unwrap_err();
    assert_eq!(error.step, Step::Tag);
    assert!(matches!(*error.cause, Cause::ImmutableTag), "{error}");
    assert_eq!(setup.published().unwrap().digest, other);
    assert!(setup.passes_the_gate().await);

    // The same image under the same tag is no change, and no error.
    setup.target.untag("prod/app", "1.0");
    setup.promote().await.unwrap();
    setup.promote().await.unwrap();
}

#[tokio::test]
async fn busy_registries_are_asked_again() {
    let image = LargeImage::new("busy", 2, 50_000);
    let setup = Setup::of(&image);
    for (method, part) in [
        ("GET", "/manifests/v1"),
        ("HEAD", "/blobs/"),
        ("POST", "/uploads/"),
        ("PUT", "/uploads/"),
        ("PUT", "/manifests/sha256:"),
        ("PUT", ".sig"),
        ("PUT", "/manifests/1.0"),
    ] {
        let fault = |action| Fault::new(action).method(method).path_contains(part);
        for registry in [&setup.source, &setup.target] {
            registry.fault(fault(Action::too_many_requests("0")).first(1));
            registry.fault(fault(Action::status(503)).first(1));
        }
    }
    setup.promote().await.unwrap();
    setup.assert_arrived(&image);
    assert!(setup.passes_the_gate().await);
}

#[tokio::test]
async fn a_long_wait_is_not_waited_for() {
    let setup = Setup::of(&SmallImage::new("wait", "linux/amd64"));
    let fault = Fault::new(Action::too_many_requests("3600")).method("POST");
    setup.target.fault(fault);
    let error = setup.promote().await.unwrap_err();
    assert!(error.to_string().contains("come back in 3600 s"), "{error}");
}

#[tokio::test]
async fn endless_answers_are_cut() {
    use civ_embedded_registry::fault::Framing;
    let setup = Setup::of(&SmallImage::new("endless", "linux/amd64"));
    let endless = || Action::EndlessBody(Framing::Chunked);
    setup.source.fault(Fault::new(endless()).path_contains("/manifests/"));
    let error = setup.promote().await.unwrap_err();
    assert!(error.to_string().contains("longer than 4194304 bytes"), "{error}");
    setup.source.clear_faults();
    setup.source.fault(Fault::new(endless()).path_contains("/blobs/"));
    let error = setup.promote().await.unwrap_err();
    assert!(matches!(error.step, Step::ReadBlob(_)), "{error}");
    assert!(setup.published().is_none());
}

pub(crate) fn manifest_of(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config,
        "layers": layers,
    }))
    .unwrap()
}
