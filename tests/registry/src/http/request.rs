//! The head of a request, parsed strictly: what two servers could read differently is refused.

use std::fmt;

use super::uri;

/// The longest head read, in bytes.
pub(crate) const HEAD_MAX: usize = 64 << 10;
/// The most header fields read.
const HEADERS_MAX: usize = 100;

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, as sent.
    pub method: String,
    /// The path, percent-decoded.
    pub path: String,
    /// The query, as sent, without the question mark.
    pub query: String,
    /// Header fields in the order sent, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The first header field called `name`, which is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The `Authorization` header field.
    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// The decoded values of `name` in the query.
    pub fn query_values(&self, name: &str) -> Vec<String> {
        uri::query_values(&self.query, name)
    }

    /// The first decoded value of `name` in the query.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query_values(name).into_iter().next()
    }

    /// Path and query.
    pub fn target(&self) -> String {
        match self.query.as_str() {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }
}

/// Method, path and query, such as `GET /v2/app/tags/list?n=1`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target())
    }
}

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// A request and what its head says about the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) request: Request,
    pub(crate) framing: Framing,
    pub(crate) expects_continue: bool,
    pub(crate) keep_alive: bool,
}

/// Why a head is refused.
pub(crate) type Malformed = &'static str;

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.trim_start_matches("\r\n").split("\r\n");
        let mut parts = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("the request line is not a method, a target and a version");
        };
        if !is_token(method) {
            return Err("the method is not a token");
        }
        let is_http_1_1 = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ => return Err("the version is neither HTTP/1.0 nor HTTP/1.1"),
        };
        let (path, query) = split_target(target)?;
        let headers = lines
            .take_while(|line| !line.is_empty())
            .map(parse_header)
            .collect::<Result<Vec<_>, _>>()?;
        if headers.len() > HEADERS_MAX {
            return Err("too many header fields");
        }
        let request = Request {
            method: method.to_owned(),
            path: uri::decode(path),
            query: query.to_owned(),
            headers,
        };
        let connection = request.header("connection").unwrap_or_default().to_ascii_lowercase();
        Ok(Self {
            framing: framing(&request)?,
            expects_continue: request
                .header("expect")
                .is_some_and(|value| value.eq_ignore_ascii_case("100-continue")),
            keep_alive: if is_http_1_1 {
                !connection.contains("close")
            } else {
                connection.contains("keep-alive")
            },
            request,
        })
    }
}

/// Origin form, or absolute form as sent to a proxy.
fn split_target(target: &str) -> Result<(&str, &str), Malformed> {
    let origin = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    if origin.starts_with('/') {
        Ok(origin.split_once('?').unwrap_or((origin, "")))
    } else {
        Err("the target is not a path")
    }
}

fn parse_header(line: &str) -> Result<(String, String), Malformed> {
    match line.split_once(':') {
        Some((name, value)) if is_token(name) && !value.contains(['\r', '\n', '\0']) => {
            Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
        }
        _ => Err("a header field is not a name, a colon and a value"),
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn framing(request: &Request) -> Result<Framing, Malformed> {
    let all = |name: &str| -> Vec<&str> {
        request
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    };
    match (all("transfer-encoding").as_slice(), all("content-length").as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([], [length]) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| "Content-Length is not a number")
        }
        ([], [_]) => Err("Content-Length is not a number"),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([_], []) => Err("the only transfer coding known is chunked"),
        _ => Err("the length of the body is stated more than once"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, Malformed> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn reads_a_head() {
        let head = parse(
            "PUT /v2/a/blobs/uploads/1?digest=sha256%3Aab HTTP/1.1\r\nHost: x\r\n\
             Content-Length: 12\r\nExpect: 100-Continue\r\n\r\n",
        )
        .unwrap();
        assert_eq!(head.framing, Framing::Length(12));
        assert!(head.expects_continue && head.keep_alive);
        assert_eq!(head.request.header("HOST"), Some("x"));
        assert_eq!(head.request.query_value("digest").as_deref(), Some("sha256:ab"));
        assert_eq!(
            head.request.to_string(),
            "PUT /v2/a/blobs/uploads/1?digest=sha256%3Aab",
            "the query is logged as sent"
        );
    }

    #[test]
    fn connections_are_kept_as_the_version_says() {
        for (text, keep_alive) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("GET http://host:1/a HTTP/1.1\r\n\r\n", true),
        ] {
            assert_eq!(parse(text).unwrap().keep_alive, keep_alive, "{text}");
        }
    }

    #[test]
    fn refuses_what_two_servers_could_read_differently() {
        for text in [
            "",
            "\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET / x HTTP/1.1\r\n\r\n",
            "G\tT / HTTP/1.1\r\n\r\n",
            "GET * HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nspace : x\r\n\r\n",
            "GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            &format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)),
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
