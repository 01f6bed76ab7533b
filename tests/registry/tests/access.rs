//! Passwords and tokens, really checked.

#[cfg(test)]
mod client;

use std::time::Duration;

use civ_embedded_registry::image::{Fixture as _, SmallImage};
use civ_embedded_registry::{Action, Fault, Registry};
use civ_oci::Digest;
use client::{Answer, ask, get};

/// `user:secret`
const BASIC: &str = "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n";

fn bearer(answer: &Answer) -> String {
    let answer = answer.json();
    let token = answer.get("token").and_then(|token| token.as_str());
    format!("Authorization: Bearer {}\r\n", token.unwrap_or_default())
}

fn token(registry: &Registry, scope: &str) -> String {
    bearer(&ask(
        registry,
        &format!("GET /token?service=civ-embedded-registry&scope={scope}"),
        BASIC,
        "",
    ))
}

#[test]
fn basic_needs_the_password() {
    let registry = Registry::builder().basic("user", "secret").start().unwrap();
    SmallImage::new("basic", "linux/amd64").seed_into(&registry, "app", "v1");
    let refused = get(&registry, "/v2/app/manifests/v1");
    assert_eq!((refused.status, refused.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"civ-embedded-registry\""));
    for (authorization, status) in
        [(BASIC, 200), ("Authorization: Basic x\r\n", 401), ("Authorization: Bearer x\r\n", 401)]
    {
        assert_eq!(ask(&registry, "GET /v2/app/manifests/v1", authorization, "").status, status);
    }
}

#[test]
fn challenge_says_what_is_needed() {
    let registry = Registry::builder().bearer("user", "secret").start().unwrap();
    let realm =
        format!("Bearer realm=\"{}/token\",service=\"civ-embedded-registry\"", registry.url());
    let digest = Digest::sha256(b"");
    for (line, scope) in [
        ("GET /v2/", String::new()),
        ("GET /v2/a/b/tags/list", ",scope=\"repository:a/b:pull\"".to_owned()),
        ("PUT /v2/a/manifests/v1", ",scope=\"repository:a:pull,push\"".to_owned()),
        ("DELETE /v2/a/manifests/v1", ",scope=\"repository:a:delete\"".to_owned()),
        (
            &format!("POST /v2/b/blobs/uploads/?mount={digest}&from=a"),
            ",scope=\"repository:a:pull repository:b:pull,push\"".to_owned(),
        ),
    ] {
        let answer = ask(&registry, line, "", "");
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some(format!("{realm}{scope}").as_str()));
    }
}

#[test]
fn a_token_is_good_for_its_scope_only() {
    let registry = Registry::builder().bearer("user", "secret").start().unwrap();
    SmallImage::new("bearer", "linux/amd64").seed_into(&registry, "app", "v1");
    let pull = token(&registry, "repository:app:pull");
    assert_eq!(ask(&registry, "GET /v2/", &pull, "").status, 200);
    assert_eq!(ask(&registry, "GET /v2/app/manifests/v1", &pull, "").status, 200);
    for line in
        ["GET /v2/other/manifests/v1", "PUT /v2/app/manifests/v1", "DELETE /v2/app/manifests/v1"]
    {
        let answer = ask(&registry, line, &pull, "");
        assert_eq!(answer.status, 401, "{line}");
        assert!(answer.header("www-authenticate").unwrap().ends_with("\"insufficient_scope\""));
    }
    let push = token(&registry, "repository:app:pull,push&scope=repository:other:pull");
    assert_eq!(ask(&registry, "POST /v2/app/blobs/uploads/", &push, "").status, 202);
    assert_eq!(ask(&registry, "GET /v2/other/manifests/v1", &push, "").status, 404);
    assert_eq!(registry.issued_tokens().len(), 2);
}

#[test]
fn tokens_are_given_to_the_user_only() {
    let registry = Registry::builder().bearer("user", "secret").start().unwrap();
    let scope = "GET /token?scope=repository:app:pull";
    assert_eq!(ask(&registry, scope, "", "").status, 401);
    assert_eq!(ask(&registry, scope, "Authorization: Basic eDp5\r\n", "").status, 401);
    assert_eq!(ask(&registry, "GET /token?service=other", BASIC, "").status, 400);
    assert_eq!(ask(&registry, "POST /token", BASIC, "").status, 405);
    assert!(registry.issued_tokens().is_empty());
}

#[test]
fn everybody_may_pull_where_that_is_said() {
    let registry =
        Registry::builder().bearer("user", "secret").anonymous_pull(true).start().unwrap();
    SmallImage::new("anonymous", "linux/amd64").seed_into(&registry, "app", "v1");
    assert_eq!(get(&registry, "/v2/app/manifests/v1").status, 401);
    let answer = get(&registry, "/token?scope=repository:app:pull,push");
    assert_eq!(answer.json()["expires_in"], 300);
    let token = bearer(&answer);
    assert_eq!(ask(&registry, "GET /v2/app/manifests/v1", &token, "").status, 200);
    assert_eq!(ask(&registry, "POST /v2/app/blobs/uploads/", &token, "").status, 401);

    let registry =
        Registry::builder().basic("user", "secret").anonymous_pull(true).start().unwrap();
    assert_eq!(get(&registry, "/v2/app/manifests/v1").status, 404);
    assert_eq!(ask(&registry, "POST /v2/app/blobs/uploads/", "", "").status, 401);
}

#[test]
fn tokens_expire() {
    let registry = Registry::builder()
        .bearer("user", "secret")
        .token_lifetime(Duration::from_millis(50))
        .start()
        .unwrap();
    let old = token(&registry, "repository:app:pull");
    std::thread::sleep(Duration::from_millis(60));
    let answer = ask(&registry, "GET /v2/app/manifests/v1", &old, "");
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").unwrap().ends_with("\"invalid_token\""));
}

#[test]
fn tokens_expire_in_the_middle_of_a_copy() {
    let registry = Registry::builder().bearer("user", "secret").start().unwrap();
    registry.fault(Fault::new(Action::ExpireTokens).path_contains("/manifests/").nth(2));
    let old = token(&registry, "repository:app:pull");
    let line = "GET /v2/app/manifests/v1";
    assert_eq!(ask(&registry, line, &old, "").status, 404);
    assert_eq!(ask(&registry, line, &old, "").status, 401);
    assert_eq!(ask(&registry, line, &old, "").status, 401);
    let new = token(&registry, "repository:app:pull");
    assert_eq!(ask(&registry, line, &new, "").status, 404);
}
