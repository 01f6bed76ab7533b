//! Each fault as it looks at the other end of the socket.

#[cfg(test)]
mod client;

use std::io;
use std::time::{Duration, Instant};

use civ_embedded_registry::fault::{Ending, Framing, Length};
use civ_embedded_registry::{Action, AtAccept, Fault, Registry, Response};
use civ_oci::Digest;
use client::{BODY, Client, ask, body, faulty, get, talk};

#[test]
fn faults_hit_the_requests_they_are_meant_for() {
    let registry = Registry::start().unwrap();
    registry.tag("app", "v1", &Digest::sha256(b""));
    registry.fault(Fault::new(Action::status(500)).method("GET").path_contains("/tags/").nth(2));
    registry.fault(Fault::new(Action::status(501)).path_contains("/tags/").path_contains("n=9"));
    registry.fault(Fault::new(Action::status(502)).path_contains("/tags/").after(4));
    registry.fault(
        Fault::new(Action::status(503)).when(|request| request.header("x-fail").is_some()).first(1),
    );
    let status = |target: &str| get(&registry, target).status;
    assert_eq!(status("/v2/"), 200);
    assert_eq!(status("/v2/app/tags/list"), 200);
    assert_eq!(ask(&registry, "HEAD /v2/app/tags/list", "", "").status, 200, "another method");
    assert_eq!(status("/v2/app/tags/list"), 500, "the second GET");
    assert_eq!(status("/v2/app/tags/list?n=9"), 501);
    assert_eq!(status("/v2/app/tags/list?n=9"), 501, "added before 502");
    assert_eq!(status("/v2/app/tags/list"), 502);
    assert_eq!(ask(&registry, "GET /v2/", "X-Fail: 1\r\n", "").status, 503);
    assert_eq!(ask(&registry, "GET /v2/", "X-Fail: 1\r\n", "").status, 200);
    registry.clear_faults();
    assert_eq!(status("/v2/app/tags/list"), 200);
}

#[test]
fn hangup_and_reset() {
    let (registry, path) = faulty(Action::Hangup);
    assert_eq!(talk(&registry, &path).unwrap(), "");
    let (registry, path) = faulty(Action::Reset);
    assert_eq!(talk(&registry, &path).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(registry.request_lines(), [format!("GET {path} -")]);
}

#[test]
fn silence_lasts() {
    let (registry, path) = faulty(Action::Silence);
    let mut client = Client::connect(&registry);
    client.write(format!("GET {path} HTTP/1.1\r\n\r\n"));
    assert!(client.is_silent());
    drop(registry);
    assert_eq!(client.rest().unwrap_or_default(), b"");
}

#[test]
fn at_accept() {
    let registry = Registry::start().unwrap();
    let mut before = Client::connect(&registry);
    assert_eq!(before.get("/v2/").status, 200);
    registry.at_accept(AtAccept::Close);
    assert_eq!(Client::connect(&registry).rest().unwrap(), b"");
    registry.at_accept(AtAccept::Reset);
    assert_eq!(talk(&registry, "/v2/").unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    registry.at_accept(AtAccept::Silence);
    let mut client = Client::connect(&registry);
    client.write("GET /v2/ HTTP/1.1\r\n\r\n");
    assert!(client.is_silent());
    assert_eq!(before.get("/v2/").status, 200, "older connections are served");
    registry.clear_faults();
    assert_eq!(get(&registry, "/v2/").status, 200);
    assert_eq!(registry.requests().len(), 3, "what is not served is not logged");
}

#[test]
fn a_lost_answer_has_had_its_effect() {
    let registry = Registry::start().unwrap();
    let digest = Digest::sha256(b"content");
    registry.fault(Fault::new(Action::LoseAnswer).method("POST").nth(1));
    registry.fault(Fault::new(Action::Hangup).method("POST").nth(2));
    for (content, kept) in [("content", true), ("other", false)] {
        let digest = Digest::sha256(content.as_bytes());
        let mut client = Client::connect(&registry);
        client.write(format!(
            "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        ));
        assert_eq!(client.rest().unwrap(), b"");
        assert_eq!(registry.blob("app", &digest).is_some(), kept);
    }
    assert!(registry.blob("app", &digest).is_some());
}

#[test]
fn a_cut_upload_keeps_what_came() {
    let registry = Registry::start().unwrap();
    registry.fault(Fault::new(Action::CutUpload { after: 3 }).method("PATCH").nth(1));
    let begun = ask(&registry, "POST /v2/app/blobs/uploads/", "", "");
    let location = begun.header("location").unwrap();
    let mut client = Client::connect(&registry);
    client.write(format!("PATCH {location} HTTP/1.1\r\nContent-Length: 10\r\n\r\n{BODY}"));
    assert_eq!(client.rest().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(get(&registry, location).header("range"), Some("0-2"));
    let patch = format!("PATCH {location}");
    let rest = ask(&registry, &patch, "Content-Range: 3-9\r\n", "3456789");
    assert_eq!(rest.status, 202);
    let digest = Digest::sha256(BODY.as_bytes());
    let put = format!("PUT {location}&digest={digest}");
    assert_eq!(ask(&registry, &put, "", "").status, 201);
}

#[test]
fn delay_and_slow_bytes() {
    let (registry, path) = faulty(Action::Delay(Duration::from_millis(80)));
    let started = Instant::now();
    assert_eq!(get(&registry, &path).body, BODY.as_bytes());
    assert!(started.elapsed() >= Duration::from_millis(80));

    let (registry, path) = faulty(Action::SlowBytes { interval: Duration::from_millis(1) });
    let started = Instant::now();
    let text = talk(&registry, &path).unwrap();
    assert_eq!(body(&text), BODY);
    assert!(started.elapsed() >= Duration::from_millis(text.len() as u64));
}

#[test]
fn what_is_endless_goes_on_until_the_client_has_enough() {
    for (action, start) in [
        (Action::EndlessHead, "HTTP/1.1 200 OK\r\nX-Filler-0: xxx"),
        (Action::EndlessBody(Framing::Chunked), "HTTP/1.1 200 OK\r\n"),
        (Action::EndlessBody(Framing::UntilClose), "HTTP/1.1 200 OK\r\n"),
        (Action::EndlessBody(Framing::Length(1 << 40)), "HTTP/1.1 200 OK\r\n"),
    ] {
        let (registry, path) = faulty(action.clone());
        let mut client = Client::connect(&registry);
        client.write(format!("GET {path} HTTP/1.1\r\n\r\n"));
        let bytes = client.read(10 << 20);
        assert!(bytes.starts_with(start.as_bytes()), "{action:?}");
        let head = String::from_utf8_lossy(&bytes[..400]).into_owned();
        match action {
            Action::EndlessBody(Framing::Chunked) => {
                assert!(head.contains("Transfer-Encoding: chunked\r\n"));
                assert!(head.contains("\r\n\r\na\r\n0123456789\r\n4000\r\n   "));
            }
            Action::EndlessBody(Framing::Length(_)) => {
                assert!(head.contains("Content-Length: 1099511627776\r\n"));
                assert!(head.contains("\r\n\r\n0123456789   "));
            }
            Action::EndlessBody(_) => {
                assert!(!head.contains("Content-Length") && !head.contains("chunked"));
                assert!(head.contains("\r\n\r\n0123456789   "));
            }
            _ => {}
        }
        drop(client);
        // Returns only when all threads have ended.
        registry.stop();
    }
}

#[test]
fn endless_answers_end_with_the_registry() {
    let (registry, path) = faulty(Action::EndlessHead);
    let mut client = Client::connect(&registry);
    client.write(format!("GET {path} HTTP/1.1\r\n\r\n"));
    client.read(1000);
    drop(registry);
}

#[test]
fn a_declared_length_is_kept_even_if_absurd() {
    let (registry, path) = faulty(Action::EndlessBody(Framing::Length(30_000)));
    assert_eq!(body(&talk(&registry, &path).unwrap()).len(), 30_000);
    let (registry, path) = faulty(Action::EndlessBody(Framing::Length(4)));
    assert_eq!(body(&talk(&registry, &path).unwrap()), "0123");
}

#[test]
fn many_headers() {
    let (registry, path) = faulty(Action::ManyHeaders(10_000));
    let answer = get(&registry, &path);
    assert!(answer.headers.len() > 10_000);
    assert_eq!(answer.body, BODY.as_bytes());
}

#[test]
fn bodies_break_off() {
    let (registry, path) = faulty(Action::CutBody { after: 4, ending: Ending::Close });
    let text = talk(&registry, &path).unwrap();
    assert!(text.contains("Content-Length: 10\r\n"));
    assert_eq!(body(&text), "0123");

    let (registry, path) = faulty(Action::CutBody { after: 4, ending: Ending::Reset });
    assert_eq!(talk(&registry, &path).unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    let (registry, path) = faulty(Action::CutBody { after: 4, ending: Ending::Silence });
    let mut client = Client::connect(&registry);
    client.write(format!("GET {path} HTTP/1.1\r\n\r\n"));
    while client.read(4) != b"\r\n\r\n"[..] {
        if client.read(1) == b"3" {
            break;
        }
    }
    drop(registry);
}

#[test]
fn lengths_lie() {
    for (lie, stated) in [
        (Length::Absent, &[][..]),
        (Length::Short(3), &["7"]),
        (Length::Long(3), &["13"]),
        (Length::Negative, &["-1"]),
        (Length::Twice, &["10", "11"]),
        (Length::Garbage, &["10x"]),
    ] {
        let (registry, path) = faulty(Action::Length(lie));
        let text = talk(&registry, &path).unwrap();
        let found: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("Content-Length: ")).collect();
        assert_eq!(found, stated, "{lie:?}");
        assert_eq!(body(&text), BODY, "{lie:?}");
    }
}

#[test]
fn garbage_and_bombs() {
    let (registry, path) = faulty(Action::ChunkedGarbage);
    let text = talk(&registry, &path).unwrap();
    assert!(body(&text).starts_with("a\r\n0123456789\r\nzz\r\n"));

    let (registry, path) = faulty(Action::GzipBomb { unpacked: 8 << 20 });
    let mut client = Client::connect(&registry);
    client.write(format!("GET {path} HTTP/1.1\r\n\r\n"));
    let bytes = client.rest().unwrap();
    assert!(bytes.len() < 80_000);
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("Content-Encoding: gzip\r\n"));
    assert!(bytes.ends_with(b"\r\n0\r\n\r\n"));

    let (registry, path) = faulty(Action::Raw(b"SSH-2.0-what\r\n\0".to_vec()));
    assert_eq!(talk(&registry, &path).unwrap(), "SSH-2.0-what\r\n\0");
}

#[test]
fn bodiless_answers_stay_so() {
    for action in [
        Action::EndlessBody(Framing::Chunked),
        Action::CutBody { after: 1, ending: Ending::Reset },
        Action::ChunkedGarbage,
        Action::GzipBomb { unpacked: 1000 },
        Action::SlowBytes { interval: Duration::ZERO },
        Action::Length(Length::Long(1)),
    ] {
        let registry = Registry::start().unwrap();
        let digest = registry.put_blob("app", BODY);
        registry.fault(Fault::new(action.clone()));
        let mut client = Client::connect(&registry);
        let head = format!("HEAD /v2/app/blobs/{digest}");
        let answer = client.ask(&head, "Connection: close\r\n", "");
        assert_eq!((answer.status, client.rest().unwrap().len()), (200, 0), "{action:?}");
    }
}

#[test]
fn other_bytes_come_under_the_right_digest() {
    for (action, expected) in [
        (Action::Substitute(b"other".to_vec()), "other"),
        (Action::FlipBit, "0123456788"),
        (
            Action::edit(|request, response| {
                let text = format!("{} of {}", request.method, response.body().len());
                response.with_body(text.into())
            }),
            "GET of 10",
        ),
    ] {
        let (registry, path) = faulty(action);
        let answer = get(&registry, &path);
        assert_eq!(answer.body, expected.as_bytes());
        assert_eq!(answer.header("docker-content-digest"), path.strip_prefix("/v2/app/blobs/"));
    }
}

#[test]
fn tampered_content_keeps_its_digest() {
    let registry = Registry::start().unwrap();
    let blob = registry.put_blob("app", BODY);
    let manifest = registry.put_manifest("app", Some("v1"), "text/html", "<html>");
    assert!(registry.tamper("app", &blob, "evil blob"));
    assert!(registry.tamper("app", &manifest, "evil manifest"));
    assert!(!registry.tamper("app", &Digest::sha256(b""), "x"));
    assert_eq!(get(&registry, &format!("/v2/app/blobs/{blob}")).body, b"evil blob");
    let answer = get(&registry, "/v2/app/manifests/v1");
    assert_eq!(answer.body, b"evil manifest");
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.header("docker-content-digest"), Some(manifest.to_string().as_str()));
}

#[test]
fn scripted_answers() {
    let registry = Registry::start().unwrap();
    let challenge = "Bearer realm=\"http://169.254.169.254/\"";
    for (action, status, header, value) in [
        (Action::challenge(challenge), 401, "www-authenticate", challenge),
        (Action::too_many_requests("3600"), 429, "retry-after", "3600"),
        (Action::Answer(Response::html(200)), 200, "content-type", "text/html; charset=utf-8"),
        (Action::Redirect("/v2/".to_owned()), 307, "location", "/v2/"),
        (Action::status(403), 403, "content-type", "application/json"),
    ] {
        registry.clear_faults();
        registry.fault(Fault::new(action));
        let answer = get(&registry, "/v2/");
        assert_eq!((answer.status, answer.header(header)), (status, Some(value)));
    }
}

#[test]
fn a_refused_upload_leaves_the_connection_usable() {
    let registry = Registry::start().unwrap();
    registry.fault(Fault::new(Action::status(503)).method("POST").nth(1));
    let mut client = Client::connect(&registry);
    let digest = Digest::sha256(BODY.as_bytes());
    let post = format!("POST /v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(client.ask(&post, "", BODY).status, 503);
    assert_eq!(client.ask(&post, "", BODY).status, 201);
}

#[test]
fn tags_move_with_each_request() {
    let registry = Registry::start().unwrap();
    let digests: Vec<Digest> =
        ["1", "2"].map(|text| registry.put_manifest("app", None, "text/plain", text)).into();
    registry.fault(Fault::new(Action::MoveTag(digests)).path_contains("/manifests/v1"));
    let bodies: Vec<Vec<u8>> =
        (0..3).map(|_| get(&registry, "/v2/app/manifests/v1").body).collect();
    assert_eq!(bodies, [b"1", b"2", b"1"]);
}
