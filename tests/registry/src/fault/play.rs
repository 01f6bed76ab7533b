//! Faults as they go over the wire. Whatever does not end by itself ends when the client hangs up or
//! the registry stops, since then writing or waiting fails.

use std::io::{self, Write as _};

use civ_oci::Digest;

use super::{Action, Edit, Ending, Framing, Length, gzip};
use crate::Response;
use crate::exchange::{After, Exchange};
use crate::wire::lock;

/// Plays `action` for a request that `nth` matching ones came before.
pub(crate) fn play(exchange: &mut Exchange<'_>, action: Action, nth: u64) -> io::Result<After> {
    match action {
        Action::EndlessBody(_)
        | Action::CutBody { .. }
        | Action::ChunkedGarbage
        | Action::GzipBomb { .. }
            if exchange.head.request.method == "HEAD" =>
        {
            exchange.answer()
        }
        Action::Hangup => Ok(After::Close),
        Action::Reset => Ok(After::Reset),
        Action::Silence => silence(exchange),
        Action::LoseAnswer => {
            exchange.handle()?;
            Ok(After::Close)
        }
        Action::CutUpload { after } => cut_upload(exchange, after),
        Action::Delay(duration) => {
            let response = exchange.handle()?;
            exchange.wire.wait(duration)?;
            exchange.send(&response)
        }
        Action::SlowBytes { interval } => {
            let response = exchange.handle()?;
            let head = head(&response, &length(&response));
            let bytes = [head.as_bytes(), exchange.body_of(&response)].concat();
            exchange.commit(response.status)?;
            for byte in bytes {
                exchange.wire.write_all(&[byte])?;
                exchange.wire.wait(interval)?;
            }
            Ok(After::Close)
        }
        Action::EndlessHead => endless_head(exchange),
        Action::ManyHeaders(count) => {
            let mut response = exchange.handle()?;
            response.headers.extend((0..count).map(|n| (format!("X-Filler-{n}"), n.to_string())));
            exchange.send(&response)
        }
        Action::EndlessBody(framing) => endless_body(exchange, framing),
        Action::CutBody { after, ending } => cut_body(exchange, after, ending),
        Action::Length(lie) => {
            let response = exchange.handle()?;
            exchange.write(&response, &(lie.fields(response.body().len() as u64) + CLOSE))?;
            Ok(After::Close)
        }
        Action::ChunkedGarbage => chunked_garbage(exchange),
        Action::GzipBomb { unpacked } => gzip_bomb(exchange, unpacked),
        Action::Substitute(body) => {
            let response = exchange.handle()?.with_body(body);
            exchange.send(&response)
        }
        Action::FlipBit => {
            let response = exchange.handle()?;
            let mut body = response.body().to_vec();
            if let Some(byte) = body.last_mut() {
                *byte ^= 1;
            }
            exchange.send(&response.with_body(body))
        }
        Action::Edit(Edit(edit)) => {
            let response = exchange.handle()?;
            let response = edit(&exchange.head.request, response);
            exchange.send(&response)
        }
        Action::Answer(response) => exchange.send(&response),
        Action::Redirect(location) => {
            exchange.send(&Response::new(307).with_header("Location", location))
        }
        Action::Raw(bytes) => {
            exchange.wire.write_all(&bytes)?;
            Ok(After::Close)
        }
        Action::MoveTag(digests) => {
            move_tag(exchange, &digests, nth);
            exchange.answer()
        }
        Action::ExpireTokens => {
            exchange.shared.tokens.expire();
            exchange.answer()
        }
    }
}

const CLOSE: &str = "Connection: close\r\n";

fn length(response: &Response) -> String {
    format!("Content-Length: {}\r\n", response.body().len())
}

/// A whole head, with `fields` about the length.
fn head(response: &Response, fields: &str) -> String {
    format!("{}{fields}{CLOSE}\r\n", response.open_head())
}

fn silence(exchange: &mut Exchange<'_>) -> io::Result<After> {
    exchange.wire.hold()?;
    Ok(After::Close)
}

fn cut_upload(exchange: &mut Exchange<'_>, after: u64) -> io::Result<After> {
    exchange.body.cut_after(after);
    match exchange.handle() {
        Ok(response) => exchange.send(&response),
        Err(_) => Ok(After::Reset),
    }
}

fn endless_head(exchange: &mut Exchange<'_>) -> io::Result<After> {
    exchange.commit(200)?;
    exchange.wire.write_all(b"HTTP/1.1 200 OK\r\n")?;
    let filler = "x".repeat(1000);
    for n in 0_u64.. {
        exchange.wire.write_all(format!("X-Filler-{n}: {filler}\r\n").as_bytes())?;
        exchange.wire.check()?;
    }
    Ok(After::Close)
}

fn endless_body(exchange: &mut Exchange<'_>, framing: Framing) -> io::Result<After> {
    let response = exchange.handle()?;
    exchange.commit(response.status)?;
    let fields = match framing {
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framing::UntilClose => String::new(),
        Framing::Length(length) => format!("Content-Length: {length}\r\n"),
    };
    exchange.wire.write_all(head(&response, &fields).as_bytes())?;
    let spaces = [b' '; 16 << 10];
    let mut left = match framing {
        Framing::Length(length) => length,
        Framing::Chunked | Framing::UntilClose => u64::MAX,
    };
    for piece in std::iter::once(response.body()).chain(std::iter::repeat(spaces.as_slice())) {
        let piece = piece.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(piece);
        left -= piece.len() as u64;
        match framing {
            Framing::Chunked => write_chunk(exchange, piece)?,
            Framing::UntilClose | Framing::Length(_) => exchange.wire.write_all(piece)?,
        }
        if left == 0 {
            break;
        }
        exchange.wire.check()?;
    }
    Ok(After::Close)
}

/// An empty chunk would be the last one, so nothing is written for an empty piece.
fn write_chunk(exchange: &mut Exchange<'_>, piece: &[u8]) -> io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    exchange.wire.write_all(&chunk)
}

fn cut_body(exchange: &mut Exchange<'_>, after: usize, ending: Ending) -> io::Result<After> {
    let response = exchange.handle()?;
    exchange.commit(response.status)?;
    let part = response.body().get(..after).unwrap_or(response.body());
    let bytes = [head(&response, &length(&response)).as_bytes(), part].concat();
    exchange.wire.write_all(&bytes)?;
    match ending {
        Ending::Close => Ok(After::Close),
        Ending::Reset => Ok(After::Reset),
        Ending::Silence => silence(exchange),
    }
}

fn chunked_garbage(exchange: &mut Exchange<'_>) -> io::Result<After> {
    let response = exchange.handle()?;
    exchange.commit(response.status)?;
    let head = head(&response, "Transfer-Encoding: chunked\r\n");
    exchange.wire.write_all(head.as_bytes())?;
    write_chunk(exchange, response.body())?;
    exchange.wire.write_all(b"zz\r\n\xff\x00garbage\r\n")?;
    Ok(After::Close)
}

fn gzip_bomb(exchange: &mut Exchange<'_>, unpacked: u64) -> io::Result<After> {
    let response = exchange.handle()?.with_header("Content-Encoding", "gzip");
    exchange.commit(response.status)?;
    let head = head(&response, "Transfer-Encoding: chunked\r\n");
    exchange.wire.write_all(head.as_bytes())?;
    for piece in gzip::spaces(unpacked) {
        write_chunk(exchange, &piece)?;
        exchange.wire.check()?;
    }
    exchange.wire.write_all(b"0\r\n\r\n")?;
    Ok(After::Close)
}

fn move_tag(exchange: &Exchange<'_>, digests: &[Digest], nth: u64) {
    let path = exchange.head.request.path.strip_prefix("/v2/");
    let named = path.and_then(|path| path.rsplit_once("/manifests/"));
    let turn = usize::try_from(nth).ok().and_then(|nth| nth.checked_rem(digests.len()));
    let digest = turn.and_then(|turn| digests.get(turn));
    if let (Some((repository, tag)), Some(digest)) = (named, digest) {
        let mut store = lock(&exchange.shared.store);
        store.repository_or_new(repository).tags.insert(tag.to_owned(), digest.clone());
    }
}

impl Length {
    /// The header fields about the length of a body of `actual` bytes.
    fn fields(self, actual: u64) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Short(by) => format!("Content-Length: {}\r\n", actual.saturating_sub(by)),
            Self::Long(by) => format!("Content-Length: {}\r\n", actual.saturating_add(by)),
            Self::Negative => "Content-Length: -1\r\n".to_owned(),
            Self::Twice => {
                format!("Content-Length: {actual}\r\nContent-Length: {}\r\n", actual + 1)
            }
            Self::Garbage => format!("Content-Length: {actual}x\r\n"),
        }
    }
}
