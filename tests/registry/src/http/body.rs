//! Bodies of requests, read from the socket as the handler asks for them.

use std::io::{self, Read, Write};

use super::{Framing, Head};
use crate::wire::Wire;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The longest chunk size line, extensions included, and the longest trailer line.
const LINE_MAX: usize = 4 << 10;
const TRAILERS_MAX: usize = 100;

/// How far a request's body has been read.
#[derive(Debug)]
pub(crate) struct BodyState {
    rest: Rest,
    stated_length: Option<u64>,
    continue_due: bool,
    cut_after: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Plain(u64),
    ChunkHead,
    Chunk(u64),
    Done,
}

impl BodyState {
    pub(crate) fn of(head: &Head) -> Self {
        let (rest, stated_length) = match head.framing {
            Framing::Length(0) => (Rest::Done, Some(0)),
            Framing::Length(length) => (Rest::Plain(length), Some(length)),
            Framing::Chunked => (Rest::ChunkHead, None),
        };
        Self {
            rest,
            stated_length,
            continue_due: head.expects_continue && rest != Rest::Done,
            cut_after: None,
        }
    }

    /// Makes reading fail after `count` more bytes.
    pub(crate) fn cut_after(&mut self, count: u64) {
        self.cut_after = Some(count);
    }

    /// Whether the client still waits for leave to send the body.
    pub(crate) fn was_never_asked_for(&self) -> bool {
        self.continue_due
    }
}

/// Reads the rest of a body.
#[derive(Debug)]
pub(crate) struct BodyReader<'a> {
    wire: &'a mut Wire,
    state: &'a mut BodyState,
}

impl<'a> BodyReader<'a> {
    pub(crate) fn new(wire: &'a mut Wire, state: &'a mut BodyState) -> Self {
        Self { wire, state }
    }

    /// The length that the head states.
    pub(crate) fn stated_length(&self) -> Option<u64> {
        self.state.stated_length
    }

    /// At most `limit` bytes and the end, or `None` if the body is longer.
    pub(crate) fn read_at_most(&mut self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.stated_length().is_some_and(|length| length > limit) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.take(limit + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    fn next_chunk(&mut self) -> io::Result<Rest> {
        let line = self.wire.read_line(LINE_MAX)?;
        let size = std::str::from_utf8(&line).ok().and_then(|line| line.split([';', '\r']).next());
        let size = size
            .filter(|size| size.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|size| u64::from_str_radix(size, 16).ok())
            .ok_or_else(|| invalid("a chunk's size is not a hexadecimal number"))?;
        if size > 0 {
            return Ok(Rest::Chunk(size));
        }
        for _ in 0..TRAILERS_MAX {
            if matches!(self.wire.read_line(LINE_MAX)?.as_slice(), b"\r\n" | b"\n") {
                return Ok(Rest::Done);
            }
        }
        Err(invalid("too many trailers"))
    }

    /// Reads some of the `left` bytes of a chunk or a plain body.
    fn read_part(&mut self, buffer: &mut [u8], left: u64) -> io::Result<usize> {
        let bound = left.min(self.state.cut_after.unwrap_or(u64::MAX));
        let bound = usize::try_from(bound).unwrap_or(usize::MAX).min(buffer.len());
        if bound == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let count = self.wire.read(buffer.get_mut(..bound).unwrap_or_default())?;
        if count == 0 && bound > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(cut_after) = &mut self.state.cut_after {
            *cut_after = cut_after.saturating_sub(count as u64);
        }
        Ok(count)
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.state.continue_due) {
            self.wire.write_all(CONTINUE)?;
        }
        if self.state.rest == Rest::ChunkHead {
            self.state.rest = self.next_chunk()?;
        }
        match self.state.rest {
            Rest::Done | Rest::ChunkHead => Ok(0),
            Rest::Plain(left) => {
                let count = self.read_part(buffer, left)?;
                let left = left.saturating_sub(count as u64);
                self.state.rest = if left == 0 { Rest::Done } else { Rest::Plain(left) };
                Ok(count)
            }
            Rest::Chunk(left) => {
                let count = self.read_part(buffer, left)?;
                let left = left.saturating_sub(count as u64);
                self.state.rest = Rest::Chunk(left);
                if left == 0 {
                    if self.wire.read_line(LINE_MAX)?.as_slice() != b"\r\n" {
                        return Err(invalid("a chunk is longer than its size"));
                    }
                    self.state.rest = Rest::ChunkHead;
                }
                Ok(count)
            }
        }
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
