//! Connections: kept, slowed down, abused, and ended.

#[cfg(test)]
mod client;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use civ_embedded_registry::Registry;
use civ_oci::Digest;
use client::{Client, ask, get};

/// The registry's threads of this process: only one test here may count them.
fn registry_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("registry-")).count()
}

#[test]
fn dropping_ends_all_threads() {
    // In a process of its own, since the other tests have registries as well.
    if std::env::var_os("CIV_COUNT_THREADS").is_none() {
        let program = std::env::current_exe().unwrap();
        let status = std::process::Command::new(program)
            .args(["--exact", "dropping_ends_all_threads"])
            .env("CIV_COUNT_THREADS", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let registry = Registry::start().unwrap();
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(&registry)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/v2/").status, 200);
    }
    clients[0].write("GET /v2/ HT");
    clients[1].write("POST /v2/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: 9\r\n\r\n1");
    assert_eq!(registry_threads(), 6);
    drop(registry);
    // A thread that has been joined may be listed for a moment more.
    for _ in 0..500 {
        if registry_threads() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} threads go on", registry_threads());
}

#[test]
fn stopped_means_refused_and_stopping_twice_is_fine() {
    let registry = Registry::start().unwrap();
    registry.put_blob("app", "kept");
    registry.stop();
    registry.stop();
    assert!(TcpStream::connect(registry.addr()).is_err());
    assert_eq!(registry.repositories(), ["app"]);
}

#[test]
fn the_port_can_be_chosen() {
    let port = Registry::start().unwrap().addr().port();
    let registry = Registry::builder().port(port).start().unwrap();
    assert_eq!(registry.host(), format!("127.0.0.1:{port}"));
    assert!(Registry::builder().port(port).start().is_err());
}

#[test]
fn latency_and_bandwidth() {
    let registry = Registry::builder().latency(Duration::from_millis(50)).start().unwrap();
    let started = Instant::now();
    assert_eq!(get(&registry, "/v2/").status, 200);
    assert!(started.elapsed() >= Duration::from_millis(50));

    let registry = Registry::builder().bytes_per_second(1 << 20).start().unwrap();
    let digest = registry.put_blob("app", vec![7; 200 << 10]);
    let started = Instant::now();
    assert_eq!(get(&registry, &format!("/v2/app/blobs/{digest}")).body.len(), 200 << 10);
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
    let started = Instant::now();
    let post = format!("POST /v2/other/blobs/uploads/?digest={digest}");
    assert_eq!(ask(&registry, &post, "", vec![7; 200 << 10]).status, 201);
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());
}

#[test]
fn continue_is_said_only_when_the_body_is_wanted() {
    let registry = Registry::start().unwrap();
    let digest = Digest::sha256(b"body");
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    };
    let mut client = Client::connect(&registry);
    client.write(head(&format!("/v2/app/blobs/uploads/?digest={digest}")));
    assert_eq!(client.answer(false).status, 100);
    client.write("body");
    assert_eq!(client.answer(false).status, 201);

    client.write(head("/v2/app/blobs/uploads/?digest=bad"));
    let refused = client.answer(false);
    assert_eq!((refused.status, refused.header("connection")), (400, Some("close")));
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn requests_may_come_in_pieces_or_together() {
    let registry = Registry::start().unwrap();
    let mut client = Client::connect(&registry);
    for byte in b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" {
        client.write([*byte]);
    }
    assert_eq!(client.answer(false).status, 200);
    client.write("GET /v2/ HTTP/1.1\r\n\r\nGET /v2/none/tags/list HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer(false).status, 200);
    assert_eq!(client.answer(false).status, 404);
    client.write("GET /v2/ HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer(false).header("connection"), Some("close"));
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn odd_requests_are_answered_or_dropped_but_never_harm() {
    let registry = Registry::start().unwrap();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let chunked = "PATCH /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let upload = ask(&registry, "POST /v2/app/blobs/uploads/", "", "");
    let location = upload.header("location").unwrap();
    for (bytes, status) in [
        ("\r\n\r\n".to_owned(), 400),
        ("\0\u{1}\u{ff}\r\n\r\n".to_owned(), 400),
        ("GET\r\n\r\n".to_owned(), 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400),
        ("GET http://elsewhere HTTP/1.1\r\n\r\n".to_owned(), 404),
        ("CONNECT host:443 HTTP/1.1\r\n\r\n".to_owned(), 400),
        (long, 431),
        (format!("{}zz\r\n", chunked.replace("/x", location)), 400),
        (format!("{}-1\r\n", chunked.replace("/x", location)), 400),
        (format!("{}1\r\nab\r\n", chunked.replace("/x", location)), 400),
        (format!("{}ffffffffffffffffff\r\n", chunked.replace("/x", location)), 400),
        (format!("PATCH {location} HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400),
    ] {
        let mut client = Client::connect(&registry);
        client.write(&bytes);
        assert_eq!(client.answer(false).status, status, "{bytes:.60}");
    }
    // A length that nobody has memory for.
    let mut client = Client::connect(&registry);
    let length = u64::MAX;
    client.write(format!("PATCH {location} HTTP/1.1\r\nContent-Length: {length}\r\n\r\nabc"));
    drop(client);
    assert_eq!(get(&registry, "/v2/").status, 200);
}
