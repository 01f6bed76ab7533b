//! What is said about servers that answer oddly, and how often they are asked.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use civ_oci::{Digest, RegistryRead as _, Repository, Selector};
use civ_registry::client::Options;
use civ_registry::error::TokenProblem;
use civ_registry::{Client, Error};

/// A server on loopback, and how many connections it had.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (connections, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let counter = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
            let answer = Arc::clone(&answer);
            thread::spawn(move || answer(stream));
        }
    });
    (authority, connections)
}

/// What a server answers: the status, a header and the body.
type Answer = (u16, String, String);

/// A server that answers each request in plain HTTP. `answer` is given the server's own address, the
/// path asked for, and whether the request had credentials.
fn serve_http(answer: impl Fn(&str, &str, bool) -> Answer + Send + Sync + 'static) -> String {
    let (authority, _) = serve(move |stream| {
        let own = format!("http://{}", stream.local_addr().unwrap());
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut first = [0];
        if reader.read_exact(&mut first).is_err() || first[0] == 0x16 {
            let mut stream = stream;
            drop(stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n"));
            return;
        }
        let mut lines = reader.lines().map_while(Result::ok);
        let path = lines
            .next()
            .unwrap_or_default()
            .split(' ')
            .nth(1)
            .unwrap_or("")
            .trim_start_matches('/')
            .to_owned();
        let is_authorized = lines
            .take_while(|line| !line.is_empty())
            .filter(|line| line.to_ascii_lowercase().starts_with("authorization:"))
            .count();
        let (status, headers, body) = answer(&own, &path, is_authorized > 0);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}");
        let mut stream = stream;
        drop(stream.write_all(format!("{head}\r\n{headers}\r\n{body}").as_bytes()));
    });
    authority
}

/// Asks for a manifest, which none of the servers has.
fn ask(authority: &str) -> Result<bool, Error> {
    let repository: Repository = format!("{authority}/a").parse().unwrap();
    let options = Options::until(Instant::now() + Duration::from_secs(20));
    let client = Client::new(&repository, options).unwrap();
    let selector = Selector::Digest(Digest::sha256(b"manifest"));
    client.manifest(&repository, &selector).map(|manifest| manifest.is_some())
}

#[test]
fn a_server_without_tls_is_said_to_have_none_and_is_asked_once() {
    let (authority, connections) = serve(|mut stream| {
        let mut hello = [0; 512];
        drop(stream.read(&mut hello));
        drop(stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n"));
    });
    let error = ask(&authority).unwrap_err();
    assert!(matches!(error, Error::NoTls { .. }), "{error}");
    assert!(error.to_string().starts_with("registry does not speak TLS, for "), "{error}");
    // One to find out how it is spoken to.
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

/// What comes of a token of this many bytes.
fn with_token(length: usize) -> Result<bool, Error> {
    let authority = serve_http(move |own, path, is_authorized| {
        if path.starts_with("token") {
            let token = "t".repeat(length);
            (200, String::new(), format!(r#"{{"token":"{token}"}}"#))
        } else if is_authorized {
            (404, String::new(), String::new())
        } else {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"{own}/token\"\r\n");
            (401, challenge, String::new())
        }
    });
    ask(&authority)
}

#[test]
fn a_token_is_sent_or_said_to_be_too_large() {
    for length in [7_000, 15_000, 16_000] {
        assert!(!with_token(length).unwrap(), "{length}");
    }
    for length in [16_200, 60_000] {
        let error = with_token(length).unwrap_err();
        let problem = &TokenProblem::TooLarge.to_string();
        assert!(error.to_string().ends_with(problem), "{length}: {error}");
    }
}

#[test]
fn a_redirect_is_followed_or_said_to_be_too_long() {
    let with_location = |length: usize| {
        let authority = serve_http(move |own, path, _| {
            let location = format!("Location: {own}/{}\r\n", "x".repeat(length));
            let status = if path.starts_with("v2/") { 307 } else { 404 };
            (status, location, String::new())
        });
        ask(&authority)
    };
    assert!(!with_location(15_000).unwrap());
    let error = with_location(16_200).unwrap_err();
    let reason = "limit reached: the address to which the registry sends us for 127.0.0.1:";
    assert!(error.to_string().starts_with(reason), "{error}");
}
