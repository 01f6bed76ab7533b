//! Stopped at every request, then run again: nobody ever sees the tag without its signature, and
//! the second run ends where an undisturbed one would.

use civ_embedded_registry::image::{Fixture as _, SmallIndex};
use civ_embedded_registry::{Action, Fault, Registry};
use civ_oci::Digest;

use crate::setup::{Setup, bundles, writes};

/// More requests than the promotion makes.
const REQUESTS_MAX: u64 = 200;

#[derive(Clone, Copy)]
enum Side {
    Source,
    Target,
}

async fn stopped_everywhere(side: Side, action: Action) {
    stopped_everywhere_with(side, action, true).await;
}

async fn stopped_everywhere_with(side: Side, action: Action, listing: bool) {
    let index = SmallIndex::new("resume");
    for k in 0..REQUESTS_MAX {
        let target = Registry::builder().referrers(listing).start().unwrap();
        let mut setup = Setup::between(Registry::start().unwrap(), target, &index);
        setup.recursive = true;
        setup.retry.attempts = 1;
        let registry = match side {
            Side::Source => &setup.source,
            Side::Target => &setup.target,
        };
        registry.fault(Fault::new(action.clone()).after(k));
        let stopped = setup.promote().await;
        setup.source.clear_faults();
        setup.target.clear_faults();
        if setup.published().is_some() {
            assert!(setup.passes_the_gate().await, "tag without signature at request {k}");
        }
        if stopped.is_ok() {
            assert!(k > 3, "the fault has no effect");
            return;
        }
        let promoted = setup.promote().await.unwrap();
        assert_eq!(promoted.image.digest, setup.digest);
        assert_eq!(setup.published().unwrap().digest, setup.digest);
        setup.assert_arrived(&index);
        assert!(setup.passes_the_gate().await);
        // One signature for the index and one for each child, however often it was begun.
        let mut tags = setup.target.tags("prod/app");
        tags.retain(|(tag, _)| tag.contains(".sig"));
        assert_eq!(tags.len(), 3, "{tags:?}");
        for (tag, digest) in tags {
            let manifest = setup.target.manifest("prod/app", &digest.to_string()).unwrap();
            let text = String::from_utf8(manifest.bytes.to_vec()).unwrap();
            assert_eq!(text.matches("cosign/signature").count(), 1, "{tag} at request {k}");
        }
        for digest in setup.target.manifests("prod/app") {
            let image = index.manifests().iter().any(|one| Digest::sha256(&one.bytes) == digest);
            let count = bundles(&setup.target, "prod/app", &digest).len();
            assert_eq!(count, usize::from(image), "{digest} at request {k}");
        }
        setup.target.clear_requests();
        setup.promote().await.unwrap();
        assert_eq!(writes(&setup.target), Vec::<String>::new());
    }
    panic!("more than {REQUESTS_MAX} requests");
}

#[tokio::test]
async fn stopped_before_any_request_of_the_target() {
    stopped_everywhere(Side::Target, Action::Hangup).await;
}

#[tokio::test]
async fn stopped_after_any_request_of_the_target() {
    stopped_everywhere(Side::Target, Action::LoseAnswer).await;
}

#[tokio::test]
async fn stopped_at_any_request_of_a_target_that_lists_no_referrers() {
    stopped_everywhere_with(Side::Target, Action::Hangup, false).await;
    stopped_everywhere_with(Side::Target, Action::LoseAnswer, false).await;
}

#[tokio::test]
async fn stopped_before_any_request_of_the_source() {
    stopped_everywhere(Side::Source, Action::Hangup).await;
}

#[tokio::test]
async fn lost_answers_are_made_up_for_within_one_run() {
    let index = SmallIndex::new("lost answers");
    let mut setup = Setup::of(&index);
    // Requests run side by side: one of them may meet every third answer.
    setup.retry.attempts = 8;
    for n in 1..60 {
        setup.target.fault(Fault::new(Action::LoseAnswer).nth(n * 3));
    }
    setup.promote().await.unwrap();
    setup.assert_arrived(&index);
    assert!(setup.passes_the_gate().await);
}
