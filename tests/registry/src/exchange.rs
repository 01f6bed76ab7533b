//! One request and its answer, right or deliberately wrong.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::fault::play;
use crate::http::{BodyReader, BodyState, HEAD_MAX, Head};
use crate::log::EntryId;
use crate::server::Shared;
use crate::wire::Wire;
use crate::{Response, api};

/// Bodies up to this length are written together with their head.
const TOGETHER_MAX: usize = 16 << 10;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It waits for another request.
    Next,
    /// It is closed once the client has got everything.
    Close,
    /// It is torn down.
    Reset,
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) wire: &'a mut Wire,
    pub(crate) head: Head,
    pub(crate) body: BodyState,
    entry: EntryId,
    /// Whether the body can be read no further.
    broken: bool,
}

impl<'a> Exchange<'a> {
    /// Reads the next request of a connection and answers it.
    pub(crate) fn next(shared: &'a Shared, wire: &'a mut Wire) -> io::Result<After> {
        let head = match wire.read_head(HEAD_MAX) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(After::Close),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return refuse(wire, 400, "not HTTP");
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return refuse(wire, 431, "the head is too long");
            }
            Err(error) => return Err(error),
        };
        let head = match Head::parse(&head) {
            Ok(head) => head,
            Err(why) => return refuse(wire, 400, why),
        };
        let entry = shared.log.begin(&head.request);
        let body = BodyState::of(&head);
        let fault = shared.faults.of(&head.request);
        let mut exchange = Self { shared, wire, head, body, entry, broken: false };
        match fault {
            Some((action, nth)) => play::play(&mut exchange, action, nth),
            None => exchange.answer(),
        }
    }

    /// Answers as a registry should.
    pub(crate) fn answer(&mut self) -> io::Result<After> {
        let response = self.handle()?;
        self.send(&response)
    }

    /// Does what the request asks for. The response is not sent.
    pub(crate) fn handle(&mut self) -> io::Result<Response> {
        let mut body = BodyReader::new(self.wire, &mut self.body);
        match api::answer(self.shared, &self.head.request, &mut body) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.broken = true;
                Ok(Response::error(400, "UNSUPPORTED", &error.to_string()))
            }
            other => other,
        }
    }

    /// Sends a response as it should be sent.
    pub(crate) fn send(&mut self, response: &Response) -> io::Result<After> {
        let after = if self.head.keep_alive && !self.broken && !self.body.was_never_asked_for() {
            After::Next
        } else {
            After::Close
        };
        let mut fields = String::new();
        if response.may_have_body() {
            // Writing to a String cannot fail.
            let _ = write!(fields, "Content-Length: {}\r\n", response.body().len());
        }
        if after == After::Close {
            fields.push_str("Connection: close\r\n");
        }
        self.write(response, &fields)?;
        if after == After::Next {
            self.drain()?;
        }
        Ok(after)
    }

    /// Writes a response with `fields` as the rest of its head, each with its line end.
    pub(crate) fn write(&mut self, response: &Response, fields: &str) -> io::Result<()> {
        self.commit(response.status)?;
        let mut first = format!("{}{fields}\r\n", response.open_head()).into_bytes();
        let body = self.body_of(response);
        if body.len() <= TOGETHER_MAX {
            first.extend_from_slice(body);
            return self.wire.write_all(&first);
        }
        self.wire.write_all(&first)?;
        self.wire.write_all(body)
    }

    /// The part of a response that follows its head.
    pub(crate) fn body_of<'b>(&self, response: &'b Response) -> &'b [u8] {
        if self.head.request.method == "HEAD" || !response.may_have_body() {
            &[]
        } else {
            response.body()
        }
    }

    /// To be called right before a response is sent.
    pub(crate) fn commit(&self, status: u16) -> io::Result<()> {
        self.shared.log.answered(self.entry, status);
        self.wire.wait(self.shared.options.latency)
    }

    /// Reads what the handler has left of the body.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        let mut body = BodyReader::new(self.wire, &mut self.body);
        io::copy(&mut body, &mut io::sink()).map(drop)
    }
}

/// Answers what is not even a request.
fn refuse(wire: &mut Wire, status: u16, why: &str) -> io::Result<After> {
    let response = Response::error(status, "UNSUPPORTED", why);
    let head = response.open_head();
    let length = response.body().len();
    write!(wire, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    wire.write_all(response.body())?;
    Ok(After::Close)
}
