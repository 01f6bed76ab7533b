//! Responses: plain data until they are written.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

/// A response. What it says about its length is decided when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields without the ones about length and connection.
    pub headers: Vec<(String, String)>,
    /// Content that may be hundreds of megabytes is shared with the store, not copied.
    content: Arc<Vec<u8>>,
    part: Range<usize>,
}

impl Response {
    /// A response without header fields and body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Arc::default(), part: 0..0 }
    }

    /// An error in the form of the distribution specification.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({
            "errors": [{ "code": code, "message": message, "detail": null }]
        });
        Self::new(status).with_json(&body)
    }

    /// A page of HTML, as a captive portal or a misconfigured proxy sends it.
    pub fn html(status: u16) -> Self {
        Self::new(status)
            .with_header("Content-Type", "text/html; charset=utf-8")
            .with_body(b"<!DOCTYPE html><html><title>Sign in</title></html>\n".to_vec())
    }

    /// Adds a header field.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces the body.
    #[must_use]
    pub fn with_body(self, body: Vec<u8>) -> Self {
        let part = 0..body.len();
        self.with_shared_body(Arc::new(body), part)
    }

    pub(crate) fn with_shared_body(mut self, content: Arc<Vec<u8>>, part: Range<usize>) -> Self {
        self.content = content;
        self.part = part;
        self
    }

    pub(crate) fn with_json(self, value: &serde_json::Value) -> Self {
        self.with_header("Content-Type", "application/json").with_body(value.to_string().into())
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.content.get(self.part.clone()).unwrap_or_default()
    }

    /// The first header field called `name`, which is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Status line and header fields, each with its line end, without the empty line.
    pub(crate) fn open_head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            // Writing to a String cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head
    }

    /// Whether a response with this status has a body, be it empty.
    pub(crate) fn may_have_body(&self) -> bool {
        !matches!(self.status, 100..=199 | 204 | 304)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
