//! A client that sends and reads exactly what a test says, over a bare socket.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use civ_embedded_registry::{Action, Fault, Registry};

/// A connection.
pub struct Client(BufReader<TcpStream>);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(registry: &Registry) -> Self {
        let stream = TcpStream::connect(registry.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request with `headers`, each ending with a line end, and a body of known length.
    pub fn ask(&mut self, line: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let length = body.len();
        self.write(format!(
            "{line} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n"
        ));
        self.write(body);
        self.answer(line.starts_with("HEAD "))
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), "", "")
    }

    pub fn answer(&mut self, is_head: bool) -> Answer {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_default().parse();
        let status = status.unwrap_or_else(|_| panic!("not a status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if let (false, Some(length)) = (is_head, answer.header("content-length")) {
            answer.body = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    /// Everything until the end of the connection.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).map(|_| bytes)
    }

    /// The next `count` bytes.
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether nothing arrives for a while, and the connection stays open.
    pub fn is_silent(&mut self) -> bool {
        let wait = Duration::from_millis(150);
        self.0.get_ref().set_read_timeout(Some(wait)).unwrap();
        let outcome = self.0.read(&mut [0]);
        self.0.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        outcome.is_err_and(|error| {
            matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
        })
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of the error in the body.
    pub fn code(&self) -> String {
        let body = self.json();
        body.pointer("/errors/0/code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
    }
}

/// One request on a connection of its own.
pub fn ask(registry: &Registry, line: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    Client::connect(registry).ask(line, headers, body)
}

pub fn get(registry: &Registry, target: &str) -> Answer {
    Client::connect(registry).get(target)
}

/// Sends a GET and reads until the end of the connection.
pub fn talk(registry: &Registry, target: &str) -> io::Result<String> {
    let mut client = Client::connect(registry);
    client.write(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.rest().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// What the blob of [`faulty`] is.
pub const BODY: &str = "0123456789";

/// A registry with a blob of ten bytes, the path of that blob, and a fault of each read of it.
pub fn faulty(action: Action) -> (Registry, String) {
    let registry = Registry::start().unwrap();
    let path = format!("/v2/app/blobs/{}", registry.put_blob("app", BODY));
    registry.fault(Fault::new(action).method("GET").path_contains("/blobs/"));
    (registry, path)
}

/// What follows the head.
pub fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").unwrap().1
}
