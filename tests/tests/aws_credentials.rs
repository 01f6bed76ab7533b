//! Where a node finds its credentials, against servers that stand in for STS, the agents of ECS and EKS
//! and the instance's metadata service, which are not to be had here.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use civ_aws::credentials::StsLocation;
use civ_aws::{Credentials, CredentialsError, Endpoints, Environment, Network};
use civ_tests::http_server::{Asked, HttpServer};
use civ_tests::scratch;
use serde_json::json;

const STS: StsLocation<'_> = StsLocation { region: "eu-west-1", suffix: "amazonaws.com" };

/// Nobody is there.
fn nowhere() -> Endpoints {
    let nobody = "http://127.0.0.1:1".to_owned();
    Endpoints { instance_metadata: nobody.clone(), container: nobody.clone(), sts: Some(nobody) }
}

fn find(
    variables: &[(&str, &str)],
    endpoints: &Endpoints,
) -> (Result<Credentials, CredentialsError>, u64) {
    let environment =
        Environment::of(variables.iter().map(|(name, value)| (name.into(), value.into())));
    let counter = Arc::<AtomicU64>::default();
    let deadline = Instant::now() + Duration::from_secs(8);
    let network = Network::until(deadline, None, Arc::clone(&counter));
    let found = Credentials::find(&environment, &network, endpoints, &STS);
    (found, counter.load(Ordering::Relaxed))
}

#[track_caller]
fn assert_found(found: Result<Credentials, CredentialsError>, id: &str) {
    assert_eq!(found.unwrap(), Credentials::new(id, "s3cr3t", Some("t0k3n")).unwrap());
}

#[track_caller]
fn assert_fails(found: Result<Credentials, CredentialsError>, words: &str) -> CredentialsError {
    let error = found.unwrap_err();
    let line = error.to_string();
    assert!(line.contains(words) && line.contains("no AWS credentials: "), "{line}");
    assert!(!line.contains("s3cr3t") && !line.contains("t0k3n"), "{line}");
    error
}

fn answer(id: &str) -> String {
    json!({ "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": "s3cr3t",
            "Token": "t0k3n", "Expiration": "2100-01-01T00:00:00Z" })
    .to_string()
}

fn instance(asked: &Asked) -> (u16, String) {
    const ROLES: &str = "GET /latest/meta-data/iam/security-credentials/";
    if asked.line == "PUT /latest/api/token" {
        assert_eq!(asked.header("x-aws-ec2-metadata-token-ttl-seconds"), "60");
        return (200, "IMDS-TOKEN".to_owned());
    }
    assert_eq!(asked.header("x-aws-ec2-metadata-token"), "IMDS-TOKEN");
    match asked.line.strip_prefix(ROLES) {
        Some("") => (200, "node-role\n".to_owned()),
        Some("node-role") => (200, answer("INSTANCE")),
        _ => (404, String::new()),
    }
}

#[test]
fn the_first_place_that_is_configured_counts_and_none_after_it_is_asked() {
    let directory = scratch::directory();
    let token_file = directory.path().join("token");
    fs::write(&token_file, "JWT\n").unwrap();
    let token_file = token_file.to_str().unwrap();
    let sts = HttpServer::start(|_| (200, sts_answer("WEB")));
    let container = HttpServer::start(|_| (200, answer("CONTAINER")));
    let metadata = HttpServer::start(instance);
    let endpoints = Endpoints {
        instance_metadata: metadata.url(),
        container: container.url(),
        sts: Some(sts.url()),
    };
    let keys = [
        ("AWS_ACCESS_KEY_ID", "ENV"),
        ("AWS_SECRET_ACCESS_KEY", "s3cr3t"),
        ("AWS_SESSION_TOKEN", "t0k3n"),
    ];
    let web =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", token_file), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")];
    let relative = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1")];
    let all = [&keys[..], &web, &relative].concat();
    for (variables, id, requests) in [
        (&all[..], "ENV", 0),
        (&all[3..], "WEB", 1),
        (&all[5..], "CONTAINER", 1),
        (&[][..], "INSTANCE", 3),
    ] {
        let (found, made) = find(variables, &endpoints);
        assert_found(found, id);
        assert_eq!(made, requests, "{id}");
    }

    // The first that is configured fails: nobody else is asked instead.
    let broken = Endpoints { sts: nowhere().sts, ..endpoints.clone() };
    assert!(assert_fails(find(&all[3..], &broken).0, "AWS STS unreachable").is_outage());
    let broken = Endpoints { container: nowhere().container, ..endpoints.clone() };
    let error = assert_fails(find(&relative, &broken).0, "container's credential endpoint unreach");
    assert!(error.is_outage());
    let without_role = assert_fails(find(&web[..1], &endpoints).0, "AWS_ROLE_ARN is not");
    assert!(!without_role.is_outage());
    assert_eq!((sts.asked().len(), container.asked().len(), metadata.asked().len()), (1, 1, 3));
}

fn sts_answer(id: &str) -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{id}</AccessKeyId>\
         <SecretAccessKey>s3cr3t</SecretAccessKey><SessionToken>t0k3n</SessionToken></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
}

#[test]
fn a_web_identity_is_exchanged_for_the_role_and_nothing_else_is_sent() {
    let directory = scratch::directory();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("token"), "  a.b-c_d&Action=Evil\n").unwrap();
    fs::write(path("long"), "x".repeat(40 << 10)).unwrap();
    fs::write(path("two"), "a b").unwrap();
    fs::write(path("empty"), "").unwrap();
    std::os::unix::fs::symlink(path("token"), path("link")).unwrap();
    let sts = HttpServer::start(|_| (200, sts_answer("WEB")));
    let endpoints = Endpoints { sts: Some(sts.url()), ..nowhere() };
    let variables = |file: &str| {
        let file = path(file);
        let role = "arn:aws:iam::111111111111:role/node".to_owned();
        [("AWS_WEB_IDENTITY_TOKEN_FILE", file), ("AWS_ROLE_ARN", role)]
    };
    let ask = |file: &str, more: &[(&str, &str)]| {
        let variables = variables(file);
        let variables = variables.iter().map(|(name, value)| (*name, value.as_str()));
        find(&variables.chain(more.iter().copied()).collect::<Vec<_>>(), &endpoints).0
    };
    assert_found(ask("link", &[("AWS_ROLE_SESSION_NAME", "node 1")]), "WEB");
    let asked = sts.asked();
    assert_eq!((&*asked[0].line, asked[0].header("authorization")), ("POST /", ""));
    assert_eq!(
        asked[0].body,
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
         &RoleArn=arn%3Aaws%3Aiam%3A%3A111111111111%3Arole%2Fnode\
         &RoleSessionName=node+1&WebIdentityToken=a.b-c_d%26Action%3DEvil"
    );
    for (file, words) in [
        ("absent", "No such file"),
        (".", "not a regular file"),
        ("long", "it holds no token"),
        ("two", "it holds no token"),
        ("empty", "it holds no token"),
    ] {
        assert!(!assert_fails(ask(file, &[]), words).is_outage(), "{file}");
    }
    assert_eq!(sts.asked().len(), 1);

    for (status, body, words, is_outage) in [
        (
            400,
            "<ErrorResponse><Error><Code>ExpiredTokenException</Code></Error></ErrorResponse>",
            "AWS STS answered 400 ExpiredTokenException",
            false,
        ),
        (403, "<html>", "AWS STS answered 403", false),
        (503, "", "AWS STS answered 503", true),
        (302, "", "AWS STS answered 302", false),
        (200, "{}", "the answer of AWS STS holds none", false),
        (200, &"x".repeat(70 << 10), "larger than", false),
    ] {
        let body = body.to_owned();
        let sts = HttpServer::start(move |_| (status, body.clone()));
        let endpoints = Endpoints { sts: Some(sts.url()), ..nowhere() };
        let variables = variables("token");
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let error = assert_fails(find(&variables, &endpoints).0, words);
        assert_eq!(error.is_outage(), is_outage, "{error}");
    }
}

#[test]
fn a_container_is_asked_with_its_token_where_a_token_may_go() {
    let directory = scratch::directory();
    let file = directory.path().join("token");
    fs::write(&file, "from-file\n").unwrap();
    let server = HttpServer::start(|asked| match asked.line.as_str() {
        "GET /v1/credentials" => (200, answer("CONTAINER")),
        "GET /denied" => (403, "s3cr3t".to_owned()),
        _ => (200, "{}".to_owned()),
    });
    let full = format!("{}/v1/credentials", server.url());
    let full = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str());
    let inline = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic from-variable");
    let file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap());
    let endpoints = Endpoints { container: server.url(), ..nowhere() };
    for (variables, token) in [
        (&[full][..], ""),
        (&[full, inline], "Basic from-variable"),
        (&[full, inline, file], "from-file"),
    ] {
        assert_found(find(variables, &nowhere()).0, "CONTAINER");
        assert_eq!(server.asked().last().unwrap().header("authorization"), token);
    }
    let relative = |path| [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path), inline];
    assert_found(find(&relative("/v1/credentials"), &endpoints).0, "CONTAINER");
    assert_fails(find(&relative("/denied"), &endpoints).0, "answered 403");
    assert_fails(find(&relative("/empty"), &endpoints).0, "holds none");
    assert_fails(find(&relative("@evil.example/"), &endpoints).0, "RELATIVE_URI cannot be used");
    let before = server.asked().len();
    let evil = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/"), inline];
    assert_fails(find(&evil, &nowhere()).0, "must be https, or http on loopback");
    assert_eq!(server.asked().len(), before);
}

#[test]
fn the_metadata_service_is_asked_in_its_second_version_only() {
    let with = |answer: fn(&Asked) -> (u16, String)| {
        let server = HttpServer::start(answer);
        let endpoints = Endpoints { instance_metadata: server.url(), ..nowhere() };
        (find(&[], &endpoints), server.asked())
    };
    let ((found, requests), _) = with(instance);
    assert_found(found, "INSTANCE");
    assert_eq!(requests, 3);

    // No token, no further question: not even one of the first version.
    let ((found, requests), asked) = with(|_| (403, String::new()));
    assert!(!assert_fails(found, "metadata service answered 403; enable it").is_outage());
    assert_eq!((requests, &*asked[0].line), (1, "PUT /latest/api/token"));
    let ((found, requests), _) = with(|_| (404, String::new()));
    assert_fails(found, "the instance metadata service answered 404");
    assert_eq!(requests, 1);

    let ((found, _), _) = with(|asked| match asked.line.as_str() {
        "PUT /latest/api/token" => (200, "T".to_owned()),
        _ => (404, String::new()),
    });
    assert!(!assert_fails(found, "the instance has no IAM role").is_outage());
    let ((found, requests), _) = with(|asked| match asked.line.as_str() {
        "PUT /latest/api/token" => (200, "T".to_owned()),
        _ => (200, "../../../user-data".to_owned()),
    });
    assert_fails(found, "holds none");
    assert_eq!(requests, 2);
    let ((found, _), _) = with(|asked| match asked.line.as_str() {
        "PUT /latest/api/token" => (200, "a\u{7f}b".to_owned()),
        _ => panic!("a token that is none was sent"),
    });
    assert_fails(found, "holds none");
    let ((found, _), _) = with(|asked| match asked.line.as_str() {
        "PUT /latest/api/token" => {
            std::thread::sleep(Duration::from_secs(4));
            (200, "T".to_owned())
        }
        _ => panic!("the answer was too late"),
    });
    assert!(assert_fails(found, "HttpPutResponseHopLimit").is_outage());

    let disabled = [("AWS_EC2_METADATA_DISABLED", "TRUE")];
    let server = HttpServer::start(instance);
    let endpoints = Endpoints { instance_metadata: server.url(), ..nowhere() };
    let (found, requests) = find(&disabled, &endpoints);
    assert_fails(found, "AWS_EC2_METADATA_DISABLED is true");
    assert_eq!(requests, 0);
    let (found, _) = find(&[("AWS_EC2_METADATA_DISABLED", "false")], &endpoints);
    assert_found(found, "INSTANCE");
    assert!(assert_fails(find(&[], &nowhere()).0, "metadata service unreachable").is_outage());
}
