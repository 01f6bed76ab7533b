//! A registry on this machine, whose port does not say whether it speaks TLS: the gate finds out as
//! containerd does, and asks where containerd pulls from. Certificates it checks all the same.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread;

use civ_tests::gate::{self, Call};
use civ_tests::signing::{Key, Kind};
use civ_tests::stage::{Stage, Verdict};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// Asks the gate about an image of the registry at `authority`, from which it gets nothing.
fn ask(authority: &str) -> Verdict {
    let stage = Stage::default();
    let mut statement = stage.statement(&[("release", &Key::generate(Kind::P256))]);
    statement["registryScopes"] = json!([format!("{authority}/**")]);
    let policy = stage.write_policy(&statement);
    let name = format!("{authority}/team/app:1");
    let digest = stage.image.digest.to_string();
    let call = Call::pull(gate::executable("cosign-image-verifier"), &name, &digest);
    Verdict::of(&call.policy(&policy).run()).unwrap()
}

#[test]
fn a_server_without_tls_is_asked_over_http_after_one_try() {
    let stage = Stage::default();
    let key = Key::generate(Kind::P256);
    stage.publish(&[stage.honest(&key)]);
    let before = stage.registry.connections();
    let outcome = stage.call(&stage.statement(&[("release", &key)]));
    Verdict::of(&outcome).unwrap().expect("signed", 0, "signed by");
    // One to find out, and one for all requests.
    assert_eq!(stage.registry.connections() - before, 2);
}

#[test]
fn a_server_with_tls_is_never_spoken_to_without_and_must_be_trusted() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (sender, seen) = mpsc::channel();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let (tcp, mut first) = (tcp.unwrap(), [0]);
            tcp.peek(&mut first).unwrap();
            sender.send(first[0]).unwrap();
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            // Whoever does not like the certificate hangs up.
            drop(StreamOwned::new(tls, tcp).read(&mut [0]));
        }
    });
    let verdict = ask(&authority);
    verdict.expect("self-signed", 4, "certificate is not trusted");
    verdict.expect("self-signed", 4, "it is checked on loopback, too, where containerd does not");
    let first_bytes: Vec<_> = seen.try_iter().collect();
    assert!(!first_bytes.is_empty() && first_bytes.iter().all(|byte| *byte == HANDSHAKE));
}

#[test]
fn an_answer_that_is_neither_is_no_reason_to_do_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (sender, seen) = mpsc::channel();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let (mut tcp, mut first) = (tcp.unwrap(), [0]);
            tcp.peek(&mut first).unwrap();
            sender.send(first[0]).unwrap();
            // An alert: TLS is spoken here, but not with this client.
            drop(tcp.write_all(b"\x15\x03\x03\x00\x02\x02\x28"));
        }
    });
    ask(&authority).expect("an alert", 4, "registry unreachable for");
    assert!(seen.try_iter().all(|byte| byte == HANDSHAKE));
}
