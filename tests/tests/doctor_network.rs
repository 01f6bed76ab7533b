//! What the doctor says of registries and of KMS, against servers that stand in for both.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use civ_doctor::network;
use civ_doctor::policies::Needs;
use civ_doctor::{Code, Severity};
use civ_tests::kms::Kms;

/// A server that gives this answer to whatever it is asked, and its address.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]).unwrap();
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn ask(needs: &Needs, environment: &[(&str, &str)]) -> Vec<(Severity, Code)> {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let findings = network::ask(needs, environment);
    findings.iter().map(|finding| (finding.severity, finding.code)).collect()
}

fn ask_registry(address: String) -> Vec<(Severity, Code)> {
    ask(&Needs { registries: BTreeSet::from([address]), keys: Vec::new() }, &[])
}

#[test]
fn what_a_registry_answers_is_told_apart() {
    use Code::{Clock, Registry, RegistryCredentials};
    const BEARER: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"https://r/token\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const BASIC: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: basic realm=\"r\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const FORBIDDEN: &str =
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const ELSEWHERE: &str = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const OLD: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, expected) in [
        (BEARER, &[(Severity::Ok, Registry)][..]),
        (BASIC, &[(Severity::Warning, RegistryCredentials)]),
        (FORBIDDEN, &[(Severity::Warning, Registry)]),
        (ELSEWHERE, &[(Severity::Warning, Registry)]),
        (OLD, &[(Severity::Warning, Clock), (Severity::Ok, Registry)]),
        ("no HTTP", &[(Severity::Warning, Registry)]),
    ] {
        assert_eq!(ask_registry(server(answer)), expected, "{answer}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_eq!(ask_registry(nobody), [(Severity::Warning, Registry)]);
}

#[test]
fn a_key_that_is_not_pinned_is_asked_for_with_the_credentials_given() {
    let kms = Kms::start();
    let key = kms.create_key("ECC_NIST_P256");
    let keys = vec![kms.uri(&key.arn).parse().unwrap()];
    let needs = Needs { registries: BTreeSet::new(), keys };
    let with = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    assert_eq!(ask(&needs, &with), [(Severity::Ok, Code::Kms)]);
    let without = [("AWS_EC2_METADATA_DISABLED", "true")];
    assert_eq!(ask(&needs, &without), [(Severity::Warning, Code::Kms)]);
}
