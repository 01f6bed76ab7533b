//! What an operator meets on the way: a registry that does not know them, that ends in the middle, that
//! loses something; a password prompt that is left. Always: why, where, what to do, and that the same
//! command goes on from there.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, LargeImage};
use civ_tests::civ::Civ;
use civ_tests::docker_registry::{DockerRegistry, USER};
use civ_tests::signing::Kind;
use civ_tests::{image, programs::Finished};

/// The one line that says why, with its exit code.
#[track_caller]
fn refusal(finished: &Finished, code: i32, words: &[&str]) {
    let line = finished.stderr.lines().last().unwrap_or_default();
    assert_eq!(finished.code, Some(code), "{finished:#?}");
    assert!(line.starts_with("civ: "), "{finished:#?}");
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
}

/// A civ whose docker configuration has `password` for the registry at `host`.
fn logged_in(host: &str, password: &str) -> Civ {
    let civ = Civ::new();
    let auth = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("{}:{password}", USER.0),
    );
    let config = serde_json::json!({ "auths": { host: { "auth": auth } } });
    civ.write("config.json", &config.to_string());
    let home = civ.path("").to_str().unwrap().to_owned();
    civ.with_env(BTreeMap::from([("DOCKER_CONFIG".to_owned(), home)]))
}

#[test]
fn who_may_not_is_told_where_and_what_to_do_and_nothing_is_written() {
    let upstream = DockerRegistry::start();
    let pushed = image::push_index(upstream.address(), "upstream/app", "1", "operator");
    let registry = DockerRegistry::start_for_user();
    let destination = format!("{}/prod/app:1", registry.address());
    let promote = |civ: &Civ| {
        let key = civ.new_key("key.pem", Kind::P256);
        civ.run(["promote", &pushed.tag, &destination, "--key", key.to_str().unwrap()])
    };

    let refused = promote(&Civ::new());
    refusal(&refused, 4, &[&destination, "asks for credentials", "docker login"]);
    let refused = promote(&logged_in(registry.address(), "other"));
    let words = format!("the credentials for {} are refused", registry.address());
    refusal(&refused, 4, &[&destination, &words, "log in to the registry again"]);
    assert!(!refused.stderr.contains("other"), "{refused:#?}");
    let writes = |one: &civ_tests::docker_registry::Request| {
        !matches!(one.method.as_str(), "GET" | "HEAD") && one.status < 400
    };
    assert!(!registry.requests().iter().any(writes), "{:#?}", registry.requests());

    let civ = logged_in(registry.address(), USER.1);
    promote(&civ).expect_success("civ promote");
    let again = promote(&civ).expect_success("civ promote, again");
    assert!(again.stdout.contains("copied   0 blobs"), "{again:#?}");

    // The same registry as the source.
    let elsewhere = format!("{}/elsewhere/app:1", upstream.address());
    let civ = Civ::new();
    let key = civ.new_key("key.pem", Kind::P256);
    let refused = civ.run(["promote", &destination, &elsewhere, "--key", key.to_str().unwrap()]);
    refusal(&refused, 4, &[&destination, "asks for credentials", "docker login"]);
}

/// A registry with a large image, from which not much comes at a time.
fn slow_source() -> (Registry, String) {
    let source = Registry::builder().bytes_per_second(400_000).start().unwrap();
    LargeImage::new("operator", 3, 600_000).seed_into(&source, "team/app", "1");
    let name = format!("{}/team/app:1", source.host());
    (source, name)
}

fn wait_for_uploads(registry: &DockerRegistry) {
    let begun = |one: &civ_tests::docker_registry::Request| one.method == "POST";
    for _ in 0..6_000 {
        if registry.requests().iter().any(begun) {
            // Well into the blobs, which take seconds.
            thread::sleep(Duration::from_millis(300));
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no upload was begun: {:#?}", registry.requests());
}

#[test]
fn a_registry_that_ends_in_the_middle_is_waited_for_and_then_the_same_command_goes_on() {
    let (_source, name) = slow_source();
    let mut registry = DockerRegistry::start_on_disk();
    let destination = format!("{}/prod/app:1", registry.address());
    let civ = Civ::new();
    let key = civ.new_key("key.pem", Kind::P256);
    let key = key.to_str().unwrap();
    let promote = || civ.run(["promote", &name, &destination, "--key", key]);

    // Gone for good, as far as this run can know.
    let stopped = thread::scope(|scope| {
        let run = scope.spawn(promote);
        wait_for_uploads(&registry);
        registry.kill();
        run.join().unwrap()
    });
    refusal(&stopped, 4, &[&destination, "no connection", "run the same command again"]);
    assert!(stopped.stderr.contains(" again (2 of 7): "), "{stopped:#?}");
    assert!(!stopped.stderr.contains("tagged"), "{stopped:#?}");

    // Back after a moment.
    registry.restart();
    let finished = thread::scope(|scope| {
        let run = scope.spawn(promote);
        wait_for_uploads(&registry);
        registry.kill();
        thread::sleep(Duration::from_secs(1));
        registry.restart();
        run.join().unwrap()
    });
    let finished = finished.expect_success("civ promote, across a restart");
    assert!(finished.stderr.contains(" again (2 of 7): "), "{finished:#?}");
    let again = promote().expect_success("civ promote, again");
    assert!(again.stdout.contains("copied   0 blobs, 0 manifests"), "{again:#?}");
}

#[test]
fn what_a_registry_loses_is_copied_again() {
    let upstream = DockerRegistry::start();
    let pushed = image::push(upstream.address(), "upstream/app", "1", "lost");
    let registry = DockerRegistry::start();
    let civ = Civ::new();
    let key = civ.new_key("key.pem", Kind::P256);
    let key = key.to_str().unwrap();
    let promote = |tag: &str| {
        let destination = format!("{}/prod/app:{tag}", registry.address());
        civ.run(["promote", &pushed.tag, &destination, "--key", key]).expect_success("civ promote")
    };
    let first = promote("1");
    let blob = first.stderr.lines().find_map(|line| line.strip_prefix("blob     ")).unwrap();
    let blob = blob.split(' ').next().unwrap();
    let url = format!("http://{}/v2/prod/app/blobs/{blob}", registry.address());
    for tag in ["1", "2"] {
        ureq::delete(&url).call().unwrap();
        ureq::head(&url).call().unwrap_err();
        let again = promote(tag);
        assert!(again.stdout.contains("copied   1 blob, 0 manifests"), "{again:#?}");
        ureq::head(&url).call().unwrap();
    }
}

#[test]
fn a_password_prompt_that_is_left_by_any_signal_gives_the_echo_back() {
    let civ = Civ::new().with_env(BTreeMap::from([("COSIGN_PASSWORD".into(), "canary".into())]));
    civ.run(["key", "generate", "--output-key-prefix", "k"]).expect_success("civ key generate");
    let asking = Civ::new();
    let key = asking.write("k.key", &fs::read_to_string(civ.path("k.key")).unwrap());
    let key = key.to_str().unwrap();
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let answer = format!("kill -{signal}");
        let sign = ["sign", "127.0.0.1:1/app:1", "--key", key];
        let left = asking.run_on_a_terminal(sign, &[&answer]);
        assert_eq!(left.code, Some(code), "{left:#?}");
        assert!(!left.stdout.contains("stays hidden"), "{left:#?}");
        // Nothing can have been signed yet.
        assert!(left.stdout.trim_end().ends_with("stopped"), "{left:#?}");
    }
}
