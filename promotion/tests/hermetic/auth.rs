//! Who is told what: tokens that run out, credentials that stay at home, and refusals that say what
//! to do.

use std::time::Duration;

use civ_embedded_registry::image::{LargeImage, SmallImage};
use civ_embedded_registry::{Action, Fault, Registry, Response};
use civ_promotion::registry::RegistryError;
use civ_promotion::{Cause, Client, Credentials, Error, Kind};

use crate::setup::{Setup, writes};

/// `user:canary`
const SECRET: &str = "dXNlcjpjYW5hcnk=";

fn guarded(image: &impl civ_embedded_registry::image::Fixture) -> Setup {
    let source = Registry::builder().bearer("user", "canary").start().unwrap();
    let target = Registry::builder().bearer("user", "canary").start().unwrap();
    let hosts = [source.host(), target.host()];
    Setup::between(source, target, image).login(&hosts)
}

fn registry_error(error: &Error) -> &RegistryError {
    match &*error.cause {
        Cause::Registry(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn tokens_are_fetched_once_and_asked_for_the_right_thing() {
    let image = LargeImage::new("tokens", 6, 100_000);
    let setup = guarded(&image);
    setup.promote().await.unwrap();
    setup.assert_arrived(&image);
    let tokens: Vec<_> = setup.target.requests();
    let tokens: Vec<_> = tokens.iter().filter(|one| one.request.path == "/token").collect();
    // One to write, and one for each form of signature that the gate, who keeps none, looks for.
    let scopes = tokens.iter().map(|one| one.request.query_values("scope"));
    let [push, pull] = ["repository:prod/app:pull,push", "repository:prod/app:pull"];
    assert_eq!(scopes.collect::<Vec<_>>(), [[push], [pull], [pull]]);
    assert_eq!(setup.source.issued_tokens().len(), 1);
    // The password goes to the token endpoint and nowhere else.
    for one in setup.target.requests().iter().chain(&setup.source.requests()) {
        let secret = one.request.authorization().is_some_and(|header| header.contains(SECRET));
        assert_eq!(secret, one.request.path == "/token", "{one}");
    }
}

#[tokio::test]
async fn basic_authentication_works() {
    let image = SmallImage::new("basic", "linux/amd64");
    let target = Registry::builder().basic("user", "canary").start().unwrap();
    let hosts = [target.host()];
    let setup = Setup::between(Registry::start().unwrap(), target, &image).login(&hosts);
    setup.promote().await.unwrap();
    setup.assert_arrived(&image);
    assert!(setup.source.requests().iter().all(|one| one.request.authorization().is_none()));
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed_wherever_that_happens() {
    let image = LargeImage::new("expiry", 3, 10_000);
    for n in 1..40 {
        let setup = guarded(&image);
        setup.target.fault(Fault::new(Action::ExpireTokens).nth(n));
        setup.source.fault(Fault::new(Action::ExpireTokens).nth(n));
        setup.promote().await.unwrap_or_else(|error| panic!("request {n}: {error}"));
        setup.assert_arrived(&image);
        assert!(setup.passes_the_gate().await);
    }
}

#[tokio::test]
async fn a_short_lived_token_is_renewed_before_it_runs_out() {
    let image = LargeImage::new("short", 2, 200_000);
    let target = Registry::builder()
        .bearer("user", "canary")
        .token_lifetime(Duration::from_secs(2))
        .bytes_per_second(100_000)
        .start()
        .unwrap();
    let hosts = [target.host()];
    let setup = Setup::between(Registry::start().unwrap(), target, &image).login(&hosts);
    setup.promote().await.unwrap();
    setup.assert_arrived(&image);
}

#[tokio::test]
async fn without_credentials_the_message_says_to_log_in() {
    let image = SmallImage::new("anonymous", "linux/amd64");
    let mut setup = guarded(&image);
    setup.credentials = Credentials::Anonymous;
    let error = setup.promote().await.unwrap_err();
    assert!(matches!(registry_error(&error), RegistryError::NoCredentials { .. }), "{error}");
    assert!(error.hint().unwrap().contains("docker login"));
}

#[tokio::test]
async fn wrong_credentials_are_said_to_be_wrong() {
    let image = SmallImage::new("wrong password", "linux/amd64");
    let target = Registry::builder().bearer("user", "other").start().unwrap();
    let hosts = [target.host()];
    let setup = Setup::between(Registry::start().unwrap(), target, &image).login(&hosts);
    let error = setup.promote().await.unwrap_err();
    assert!(matches!(registry_error(&error), RegistryError::BadCredentials { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Registry);
    let text = format!("{error} {error:?}");
    assert!(!text.contains("canary") && !text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn a_missing_repository_or_permission_is_said_before_anything_is_written() {
    for (response, part) in [
        (
            Response::error(
                404,
                "NAME_UNKNOWN",
                "The repository with name 'prod/app' does not exist in the registry with id '1'",
            ),
            "create the repository",
        ),
        (Response::error(403, "DENIED", "not allowed to\npush"), "permission"),
    ] {
        let setup = Setup::of(&SmallImage::new("missing", "linux/amd64"));
        setup.target.fault(Fault::new(Action::Answer(response)).method("POST"));
        let error = setup.promote().await.unwrap_err();
        assert!(error.hint().unwrap().contains(part), "{error}");
        assert!(error.to_string().contains("/prod/app:1.0: the registry answers 40"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(writes(&setup.target).iter().all(|write| write.starts_with("POST")));
        assert!(setup.target.blobs("prod/app").is_empty());
    }
}

#[tokio::test]
async fn no_registry_sends_credentials_or_requests_elsewhere() {
    let stranger = Registry::start().unwrap();
    let elsewhere = |path: &str| format!("{}{path}", stranger.url());
    let moved = elsewhere("/v2/prod/app/blobs/uploads/1");
    let location = Action::edit(move |_, mut response| {
        response.headers.retain(|(name, _)| name != "Location");
        response.with_header("Location", moved.clone())
    });
    let realm = format!("Bearer realm=\"{}\",service=\"x\"", elsewhere("/token"));
    for (what, fault) in [
        ("Location", Fault::new(location).method("POST")),
        ("realm", Fault::new(Action::challenge(&realm))),
        ("realm", Fault::new(Action::challenge("Bearer realm=\"http://169.254.169.254/\""))),
        ("redirect", Fault::new(Action::Redirect(elsewhere("/v2/x"))).method("HEAD")),
        ("redirect", Fault::new(Action::Redirect("https://169.254.169.254/".to_owned()))),
    ] {
        let setup = guarded(&SmallImage::new("elsewhere", "linux/amd64"));
        setup.target.fault(fault);
        let error = setup.promote().await.unwrap_err();
        match registry_error(&error) {
            RegistryError::WrongPlace { what: found, .. } => assert_eq!(*found, what),
            other => panic!("{what}: {other}"),
        }
        assert_eq!(stranger.connections(), 0, "{what}");
    }
}

#[tokio::test]
async fn redirects_within_the_registry_are_followed_but_not_forever() {
    let image = SmallImage::new("redirect", "linux/amd64");
    let setup = guarded(&image);
    let path = format!("/v2/team/app/manifests/{}", setup.digest);
    setup.source.fault(Fault::new(Action::Redirect(path)).path_contains("/manifests/v1").first(1));
    setup.promote().await.unwrap();
    setup.assert_arrived(&image);

    let setup = guarded(&image);
    let path = "/v2/team/app/manifests/v1".to_owned();
    setup.source.fault(Fault::new(Action::Redirect(path)).path_contains("/manifests/v1"));
    let error = setup.promote().await.unwrap_err();
    assert!(matches!(registry_error(&error), RegistryError::TooManyRedirects { .. }), "{error}");
}

#[tokio::test]
async fn the_gate_asks_with_credentials_where_they_belong_and_nowhere_else() {
    let image = SmallImage::new("gate", "linux/amd64");
    let stranger = Registry::start().unwrap();
    let elsewhere = format!("Bearer realm=\"{}/token\",service=\"x\"", stranger.url());
    let faults = [
        (None, ""),
        (Some(Action::challenge(&elsewhere)), "is refused: it is not https"),
        (Some(Action::challenge("Bearer realm=\"https://evil.test/token\"")), "not meant for it"),
        (Some(Action::Redirect(format!("{}/v2/x", stranger.url()))), "not followed"),
        (Some(Action::Redirect("https://127.0.0.1/v2/x".to_owned())), "not followed"),
        (Some(Action::status(403)), "asked with your credentials"),
    ];
    for ((fault, reason), bearer) in
        faults.into_iter().flat_map(|row| [(row.clone(), true), (row, false)])
    {
        let target = Registry::builder();
        let target =
            if bearer { target.bearer("user", "canary") } else { target.basic("user", "canary") };
        let target = target.start().unwrap();
        let hosts = [target.host()];
        let setup = Setup::between(Registry::start().unwrap(), target, &image).login(&hosts);
        setup.promote().await.unwrap();
        setup.target.clear_requests();
        // What is asked of somebody who is known: the first request only brings the challenge.
        if let Some(fault) = fault {
            let is_challenge = reason.contains("https") || reason.contains("meant");
            let fault = Fault::new(fault).path_contains("/v2/");
            setup.target.fault(if is_challenge { fault } else { fault.after(1) });
        }
        let outcome = setup.ask_the_gate().await;
        match outcome {
            Ok(()) => assert_eq!(reason, ""),
            Err(error) => {
                let text = format!("{error} {error:?}");
                assert!(!reason.is_empty() && text.contains(reason), "{reason}: {error}");
                assert!(!text.contains("canary") && !text.contains(SECRET), "{text}");
                assert_eq!(error.kind(), Kind::Registry);
            }
        }
        for one in setup.target.requests() {
            let secret = one.request.authorization().is_some_and(|header| header.contains(SECRET));
            assert!(!secret || !bearer || one.request.path == "/token", "{one}");
        }
        assert_eq!(stranger.connections(), 0, "{reason}");
    }
}

#[tokio::test]
async fn the_gate_does_not_ask_for_credentials_that_nobody_wants() {
    let image = SmallImage::new("anonymous gate", "linux/amd64");
    let source = Registry::start().unwrap();
    let target = Registry::builder().bearer("user", "canary").anonymous_pull(true).start().unwrap();
    let hosts = [target.host()];
    let setup = Setup::between(source, target, &image).login(&hosts);
    setup.promote().await.unwrap();
    // A configuration that cannot be read matters only where it is needed.
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&broken, "{").unwrap();
    let open = Setup::of(&image);
    open.promote().await.unwrap();
    let client = |credentials| Client::new(credentials, open.retry.clone()).unwrap();
    let unreadable = client(Credentials::DockerConfig(broken.path().to_owned()));
    open.ask_the_gate_with(&unreadable).await.unwrap();
    let error = setup.ask_the_gate_with(&unreadable).await.unwrap_err();
    assert!(error.to_string().contains("is not JSON"), "{error}");
    // Without any, the registry is asked as a node asks it.
    setup.ask_the_gate_with(&client(Credentials::Anonymous)).await.unwrap();
}
