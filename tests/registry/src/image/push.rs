//! Uploads to any registry on loopback that speaks plain HTTP: what a test needs before the program
//! under test comes into play.

use std::io::{self, BufWriter, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Blob, FixtureManifest};

const TIMEOUT: Duration = Duration::from_secs(30);
/// The most that is read of an answer.
const ANSWER_MAX: u64 = 1 << 20;

/// Uploads a blob: a POST for the place, and a PUT with everything.
pub(super) fn blob(address: &str, repository: &str, blob: &Blob) -> io::Result<()> {
    let begin = Request {
        method: "POST",
        target: &format!("/v2/{repository}/blobs/uploads/"),
        media_type: "application/octet-stream",
        size: 0,
    };
    let answer = begin.send(address, |_| Ok(()))?.expect_status(202)?;
    let location = answer.header("location").ok_or_else(|| other("the answer has no Location"))?;
    let path = path_of(location);
    let separator = if path.contains('?') { '&' } else { '?' };
    let finish = Request {
        method: "PUT",
        target: &format!("{path}{separator}digest={}", blob.digest()),
        media_type: "application/octet-stream",
        size: blob.size(),
    };
    finish.send(address, |sink| blob.write_to(sink))?.expect_status(201)?;
    Ok(())
}

/// Uploads a manifest.
pub(super) fn manifest(
    address: &str,
    repository: &str,
    reference: &str,
    manifest: &FixtureManifest,
) -> io::Result<()> {
    let put = Request {
        method: "PUT",
        target: &format!("/v2/{repository}/manifests/{reference}"),
        media_type: manifest.media_type,
        size: manifest.bytes.len() as u64,
    };
    put.send(address, |sink| sink.write_all(&manifest.bytes))?.expect_status(201)?;
    Ok(())
}

struct Request<'a> {
    method: &'a str,
    target: &'a str,
    media_type: &'a str,
    size: u64,
}

impl Request<'_> {
    /// Sends the request on a connection of its own.
    fn send(
        &self,
        address: &str,
        write_body: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Answer> {
        let Self { method, target, media_type, size } = self;
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut sink = BufWriter::with_capacity(64 << 10, &stream);
        write!(
            sink,
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {size}\r\nConnection: close\r\n\r\n"
        )?;
        write_body(&mut sink)?;
        sink.flush()?;
        let mut bytes = Vec::new();
        (&stream).take(ANSWER_MAX).read_to_end(&mut bytes)?;
        Answer::parse(&String::from_utf8_lossy(&bytes), format!("{method} {target}"))
    }
}

struct Answer {
    question: String,
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str, question: String) -> io::Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| other(&format!("{question}: no HTTP answer")))?;
        Ok(Self { question, status, head: head.to_owned(), body: body.to_owned() })
    }

    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.split("\r\n").filter_map(|line| line.split_once(':'));
        fields
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
    }

    fn expect_status(self, expected: u16) -> io::Result<Self> {
        if self.status == expected {
            return Ok(self);
        }
        let Self { question, status, body, .. } = self;
        Err(other(&format!("{question}: status {status} instead of {expected}: {body}")))
    }
}

/// Path and query of a URL or of a path.
fn path_of(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => location,
    }
}

fn other(message: &str) -> io::Error {
    io::Error::other(message.to_owned())
}
