//! What fails is said of the side on which it failed, with why and what to do, and is repeated within
//! one budget.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use civ_embedded_registry::http::Response;
use civ_embedded_registry::image::{Fixture as _, LargeImage, SmallImage, SmallIndex};
use civ_embedded_registry::{Action, Fault, Registry};
use civ_oci::{Descriptor, Digest, media_type};
use civ_promotion::progress::{Progress, Wait};
use civ_promotion::registry::RegistryError;
use civ_promotion::{Cause, Error, Promotion, Step, promote};

use crate::copy::manifest_of;
use crate::setup::{Setup, reference, writes};

/// Collects what whoever waits is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn waiting(&self, wait: &Wait<'_>) {
        self.0.lock().unwrap().push(wait.to_string());
    }

    fn blob_restarted(&self, _: &Descriptor, why: &Wait<'_>) {
        self.0.lock().unwrap().push(format!("blob {why}"));
    }
}

impl Told {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn promote_telling(setup: &Setup, told: &Arc<Told>) -> Result<(), Error> {
    let progress: Arc<dyn Progress> = Arc::clone(told) as Arc<dyn Progress>;
    let client = setup.client().telling(Arc::clone(&progress));
    let promotion = setup.promotion();
    let planned = promote::plan(&client, &promotion, &setup.signer).await?;
    planned.run(&client, &setup.signer, &progress).await.map(drop)
}

#[tokio::test]
async fn a_blob_that_the_destination_lost_is_copied_again() {
    let index = SmallIndex::new("lost blob");
    let setup = Setup::of(&index);
    setup.promote().await.unwrap();
    for tag in ["1.0", "2.0"] {
        for blob in index.blobs() {
            assert!(setup.target.delete("prod/app", &blob.digest()));
        }
        let destination = reference(&format!("{}/prod/app:{tag}", setup.target.host()));
        setup.run(&Promotion { destination, ..setup.promotion() }).await.unwrap();
        setup.assert_arrived(&index);
    }
    // With nothing lost, nothing is written.
    setup.target.clear_requests();
    setup.promote().await.unwrap();
    assert_eq!(writes(&setup.target), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_there_without_its_blobs_is_completed() {
    let image = SmallImage::new("half a copy", "linux/amd64");
    let setup = Setup::of(&image);
    setup.target.put_manifest("prod/app", Some("1.0"), media_type::OCI_MANIFEST, image.manifest());
    let promoted = setup.promote().await.unwrap();
    assert!(!promoted.tag_moved());
    setup.assert_arrived(&image);
}

#[tokio::test]
async fn a_failure_is_said_of_the_side_on_which_it_happens() {
    let denied = || Action::Answer(Response::error(403, "DENIED", "no"));
    let gone = || Action::Answer(Response::error(404, "BLOB_UNKNOWN", "no"));
    let busy = || Action::status(503);
    for (in_source, action, hint) in [
        (true, denied(), "pull from that repository"),
        (false, denied(), "permission to do this"),
        (true, gone(), "push the image to that registry again"),
        (true, busy(), "again later"),
        (false, busy(), "again later"),
        (true, Action::Silence, "check the registry's name and the network"),
        (false, Action::Silence, "check the registry's name and the network"),
        (true, Action::Hangup, "check the registry's name and the network"),
    ] {
        let mut setup = Setup::of(&SmallImage::new("side", "linux/amd64"));
        setup.retry.silence_max = Duration::from_millis(100);
        setup.retry.storing_max = Duration::from_millis(300);
        setup.retry.attempts = 2;
        let what = format!("{action:?} in source: {in_source}");
        let (registry, method) =
            if in_source { (&setup.source, "GET") } else { (&setup.target, "PUT") };
        registry.fault(Fault::new(action).method(method).path_contains("/blobs/"));
        let error = setup.promote().await.unwrap_err();
        assert_eq!(error.at.repository.host(), registry.host(), "{what}: {error}");
        assert_eq!(matches!(error.step, Step::ReadBlob(_)), in_source, "{what}: {error}");
        assert_eq!(matches!(error.step, Step::WriteBlob(_)), !in_source, "{what}: {error}");
        assert!(error.hint().unwrap().contains(hint), "{what}: {error}; {:?}", error.hint());
    }
}

#[tokio::test]
async fn a_stream_that_stands_still_is_a_failure_of_the_source() {
    use civ_embedded_registry::fault::Ending;
    let image = LargeImage::new("standing still", 1, 300_000);
    let mut setup = Setup::of(&image);
    setup.retry.silence_max = Duration::from_millis(200);
    let layer = image.blobs().iter().map(|blob| (blob.size(), blob.digest())).max().unwrap().1;
    let cut = Fault::new(Action::CutBody { after: 1_000, ending: Ending::Silence });
    setup.source.fault(cut.method("GET").path_contains(&layer.to_string()));
    let error = setup.promote().await.unwrap_err();
    assert_eq!(error.step, Step::ReadBlob(layer), "{error}");
    assert_eq!(error.at.repository.host(), setup.source.host());
}

#[tokio::test]
async fn there_is_one_budget_for_all_attempts() {
    for (action, attempts) in [(Action::status(503), 4), (Action::Silence, 2)] {
        let mut setup = Setup::of(&SmallImage::new("budget", "linux/amd64"));
        setup.retry.attempts = 4;
        setup.retry.silence_max = Duration::from_millis(50);
        let layer = SmallImage::new("budget", "linux/amd64").layer().to_vec();
        let path = format!("/blobs/{}", Digest::sha256(&layer));
        setup.source.fault(Fault::new(action.clone()).method("GET").path_contains(&path));
        setup.promote().await.unwrap_err();
        assert_eq!(setup.source.count_requests("GET", &path), attempts, "{action:?}");

        // A question, too: of HEAD and the GET that says why.
        setup.target.fault(Fault::new(action.clone()).path_contains("/manifests/1.0"));
        setup.target.clear_requests();
        setup.promote().await.unwrap_err();
        let asked = setup.target.count_requests("HEAD", "/manifests/1.0");
        let why = setup.target.count_requests("GET", "/manifests/1.0");
        assert_eq!(asked, attempts, "{action:?}");
        assert!(why <= 1, "{action:?}");

        // A token service has none of its own, and what it says is not lost.
        let source = Registry::builder().bearer("user", "canary").start().unwrap();
        let hosts = [source.host()];
        let image = SmallImage::new("budget", "linux/amd64");
        let mut setup = Setup::between(source, Registry::start().unwrap(), &image).login(&hosts);
        setup.retry.attempts = 4;
        setup.retry.silence_max = Duration::from_millis(50);
        setup.source.fault(Fault::new(action.clone()).path_contains("/token"));
        let told = Arc::new(Told::default());
        let error = promote_telling(&setup, &told).await.unwrap_err();
        assert_eq!(setup.source.count_requests("GET", "/token"), attempts, "{action:?}");
        let Cause::Registry(why) = &*error.cause else { panic!("{error}") };
        let expected = if attempts == 4 { Some(503) } else { None };
        assert_eq!(why.status(), expected, "{error}");
        assert!(told.lines().iter().any(|line| line.contains(&format!("{attempts} of"))));
    }
}

#[tokio::test]
async fn a_question_has_a_time_limit() {
    let mut setup = Setup::of(&SmallImage::new("time limit", "linux/amd64"));
    setup.retry.attempts = 1_000_000;
    setup.retry.question_max = Duration::from_millis(300);
    setup.source.fault(Fault::new(Action::status(503)).path_contains("/manifests/"));
    let error = setup.promote().await.unwrap_err();
    assert!(setup.source.count_requests("GET", "/manifests/") > 1, "{error}");

    // What it said before it fell silent is what is said in the end.
    let mut setup = Setup::of(&SmallImage::new("time limit", "linux/amd64"));
    setup.retry.question_max = Duration::from_millis(300);
    let at_manifests = |action| Fault::new(action).path_contains("/manifests/");
    setup.source.fault(at_manifests(Action::status(503)).first(1));
    setup.source.fault(at_manifests(Action::Silence).after(1));
    let error = setup.promote().await.unwrap_err();
    let Cause::Registry(why) = &*error.cause else { panic!("{error}") };
    assert_eq!(why.status(), Some(503), "{error}");

    // One that goes on answering, and does not come to an end.
    let mut setup = Setup::of(&SmallImage::new("time limit", "linux/amd64"));
    setup.retry.question_max = Duration::from_millis(300);
    let interval = Duration::from_millis(20);
    let slow = Fault::new(Action::SlowBytes { interval });
    setup.source.fault(slow.path_contains("/manifests/"));
    let error = setup.promote().await.unwrap_err();
    let Cause::Registry(RegistryError::TooSlow { .. }) = *error.cause else { panic!("{error}") };
}

#[tokio::test]
async fn whoever_waits_is_told_why_and_how_often() {
    let image = SmallImage::new("told", "linux/amd64");
    let mut setup = Setup::of(&image);
    setup.retry.attempts = 4;
    setup.retry.silence_max = Duration::from_millis(80);
    let busy = Action::Answer(Response::error(500, "UNKNOWN", "disk full"));
    setup.target.fault(Fault::new(busy).method("PUT").path_contains("/blobs/"));
    setup.source.fault(Fault::new(Action::Silence).path_contains("/manifests/").first(1));
    let told = Arc::new(Told::default());
    promote_telling(&setup, &told).await.unwrap_err();
    let (lines, source, target) = (told.lines(), setup.source.host(), setup.target.host());
    let again = |n: u32, what: &str, why: &str| format!("{what}again ({n} of {why}");
    let answer = format!("4): {target}: the registry answers 500: UNKNOWN disk full");
    for expected in [
        format!("waiting: {source}: nothing moved for"),
        again(2, "", &format!("2): {source}: nothing moved for")),
        again(2, "blob ", &answer),
        again(4, "blob ", &answer),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(&expected)), "{expected}: {lines:#?}");
    }
}

#[tokio::test]
async fn whoever_waits_for_a_signature_or_the_gate_is_told() {
    let image = SmallImage::new("told later", "linux/amd64");
    let mut setup = Setup::of(&image);
    setup.retry.attempts = 4;
    image.seed_into(&setup.target, "prod/app", "0.9");
    setup.target.fault(Fault::new(Action::status(503)).method("POST"));
    let told = Arc::new(Told::default());
    promote_telling(&setup, &told).await.unwrap_err();
    let host = setup.target.host();
    let last = |what: &str| format!("again (4 of 4): {host}: {what}");
    let has = |told: &Told, start: &str| told.lines().iter().any(|line| line.starts_with(start));
    assert!(has(&told, &last("the registry answers 503")), "{:#?}", told.lines());

    setup.target.clear_faults();
    setup.promote().await.unwrap();
    setup.target.fault(Fault::new(Action::status(503)).path_contains("/manifests/"));
    let told = Arc::new(Told::default());
    let client = setup.client().telling(Arc::clone(&told) as Arc<dyn Progress>);
    setup.ask_the_gate_with(&client).await.unwrap_err();
    assert!(has(&told, &last("")), "{:#?}", told.lines());
}

#[tokio::test]
async fn the_gate_offers_what_is_refused_but_twice() {
    let image = SmallImage::new("lock out", "linux/amd64");
    for bearer in [false, true] {
        let target = Registry::builder();
        let target =
            if bearer { target.bearer("user", "canary") } else { target.basic("user", "canary") };
        let target = target.start().unwrap();
        let hosts = [target.host()];
        let mut setup = Setup::between(Registry::start().unwrap(), target, &image).login(&hosts);
        setup.retry.attempts = 7;
        setup.promote().await.unwrap();
        let challenge = if bearer {
            format!("Bearer realm=\"{}/token\",service=\"x\"", setup.target.url())
        } else {
            "Basic realm=\"x\"".to_owned()
        };
        setup.target.fault(Fault::new(Action::challenge(&challenge)).path_contains("/v2/"));
        setup.target.clear_requests();
        setup.ask_the_gate().await.unwrap_err();
        let requests = setup.target.requests();
        let offered = requests.iter().filter(|one| one.request.authorization().is_some()).count();
        // Each look fetches a token and tries it, and no look is the third.
        assert!((1..=6).contains(&offered), "{offered}");
    }
}

#[tokio::test]
async fn a_gate_that_cannot_be_asked_has_refused_nothing() {
    let image = SmallImage::new("unasked", "linux/amd64");
    let mut setup = Setup::of(&image);
    setup.retry.attempts = 1;
    // The plan, the signer three times, and then the gate ask for the signatures.
    let fault = Fault::new(Action::status(503)).method("GET").path_contains(".sig");
    setup.target.fault(fault.after(4));
    let error = setup.promote().await.unwrap_err();
    assert_eq!(error.step, Step::Ask, "{error}");
    let words =
        format!("signed, but cannot make sure that the gate accepts it at {}", setup.target.host());
    assert!(error.to_string().starts_with(&words), "{error}");
    assert_eq!(error.hint(), Some("run the same command again later"));
    assert!(setup.published().is_none());
}

#[tokio::test]
async fn sizes_that_no_registry_can_have_are_refused() {
    let setup = Setup::of(&SmallImage::new("overflow", "linux/amd64"));
    let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
    let layer = |content: &[u8]| Descriptor {
        size: 1 << 63,
        ..Descriptor::of(media_type::OCI_LAYER_GZIP, content)
    };
    let manifest = manifest_of(&config, &[layer(b"1"), layer(b"2")]);
    setup.source.put_manifest("team/app", Some("v1"), media_type::OCI_MANIFEST, manifest);
    let error = setup.promote().await.unwrap_err();
    assert!(matches!(*error.cause, Cause::Document(_)), "{error}");
    assert!(error.to_string().contains("size 9223372036854775808 is more than"), "{error}");

    // Three of the largest that can be read are more than can be counted.
    let layer = |content: &[u8]| Descriptor {
        size: i64::MAX as u64,
        ..Descriptor::of(media_type::OCI_LAYER_GZIP, content)
    };
    let manifest = manifest_of(&config, &[layer(b"1"), layer(b"2"), layer(b"3")]);
    setup.source.put_manifest("team/app", Some("v1"), media_type::OCI_MANIFEST, manifest);
    let promotion = setup.promotion();
    let client = setup.client();
    let planned = promote::plan(&client, &promotion, &setup.signer).await.unwrap();
    assert_eq!(planned.plan.missing_bytes(), u64::MAX);
    assert_eq!(planned.plan.missing_blob_bytes(), u64::MAX);
}

/// Makes the source an odd one.
type Change<'a> = &'a dyn Fn(&Setup);

#[tokio::test]
async fn odd_images_are_said_to_be_what_they_are() {
    let index = SmallIndex::new("odd");
    let nest = |setup: &Setup, times: usize| {
        let mut bytes = index.index().clone();
        for _ in 0..times {
            let below = Descriptor::of(media_type::OCI_INDEX, &bytes);
            setup.source.put_manifest("team/app", None, media_type::OCI_INDEX, bytes);
            let body = serde_json::json!({ "schemaVersion": 2, "manifests": [below] });
            bytes = serde_json::to_vec(&body).unwrap();
        }
        setup.source.put_manifest("team/app", Some("v1"), media_type::OCI_INDEX, bytes);
    };
    let lose = |setup: &Setup| {
        let child = index.children().first().unwrap().digest();
        assert!(setup.source.delete("team/app", &child));
    };
    let typed = |media_type: &'static str| {
        move |setup: &Setup| {
            setup.source.put_manifest("team/app", Some("v1"), media_type, b"{}".to_vec());
        }
    };
    let page = typed("text/html");
    let v1 = typed("application/vnd.docker.distribution.manifest.v1+prettyjws");
    let wrong_size = |setup: &Setup| {
        let config = Descriptor { size: 7, ..Descriptor::of(media_type::OCI_CONFIG, b"{}") };
        setup.source.put_blob("team/app", &b"{}"[..]);
        let manifest = manifest_of(&config, &[]);
        setup.source.put_manifest("team/app", Some("v1"), media_type::OCI_MANIFEST, manifest);
    };
    let missing = format!("the index {} lists it", index.digest());
    let cases: [(Change<'_>, &str, &str); 5] = [
        (&|setup| nest(setup, 5), "more than 4 levels deep", "by their digests"),
        (&lose, &missing, "incomplete: copy it there with all platforms"),
        (&page, "its media type is text/html", ""),
        (&v1, "Docker schema 1", "push the image again with a current tool"),
        (
            &wrong_size,
            "the registry has 2 bytes of it, and the manifest says 7",
            "manifest is wrong",
        ),
    ];
    for (change, words, hint) in cases {
        let setup = Setup::of(&index);
        change(&setup);
        let error = setup.promote().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{error}; {:?}", error.hint());
        assert_eq!(error.at.repository.host(), setup.source.host(), "{error}");
        assert!(setup.published().is_none());
    }
}

#[tokio::test]
async fn a_redirect_to_a_name_of_this_machine_is_refused_at_once_and_by_name() {
    let setup = Setup::of(&SmallImage::new("leads here", "linux/amd64"));
    let away = Action::Redirect("https://localhost:1/x".to_owned());
    setup.source.fault(Fault::new(away).method("GET").path_contains("/blobs/"));
    let error = setup.promote().await.unwrap_err();
    let Cause::Registry(RegistryError::LeadsHere { host }) = &*error.cause else {
        panic!("{error}")
    };
    assert_eq!(host, "localhost");
    assert!(error.hint().is_some());
    // Each blob once.
    assert!(setup.source.count_requests("GET", "/blobs/") <= 2);
}

#[tokio::test]
async fn a_password_that_is_refused_is_said_to_be() {
    let image = SmallImage::new("basic", "linux/amd64");
    let target = Registry::builder().basic("user", "other").start().unwrap();
    let hosts = [target.host()];
    let setup = Setup::between(Registry::start().unwrap(), target, &image).login(&hosts);
    let error = setup.promote().await.unwrap_err();
    let words = format!("the credentials for {} are refused", setup.target.host());
    assert!(error.to_string().contains(&words), "{error}");
    assert!(error.hint().unwrap().contains("log in to the registry again"), "{error}");
}
