//! A server on loopback whose every answer a test chooses: what stands in for the services of AWS that
//! cannot be had elsewhere, or that have to lie.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET /path`
    pub line: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Asked {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A server that lives as long as the test's process.
#[derive(Debug)]
pub struct HttpServer {
    authority: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl HttpServer {
    /// One that answers each request with the status and the body that `answer` gives.
    pub fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = listen();
        let authority = listener.local_addr().expect("a bound port").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || serve(stream, &*answer, &log));
            }
        });
        Self { authority, asked }
    }

    /// `127.0.0.1:PORT`
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Every request so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no thread has panicked").clone()
    }
}

/// A listener on a port that only root may listen on, as far as that is who runs the tests: on others a
/// policy trusts nobody's word about a key.
pub fn listen() -> TcpListener {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 400).unwrap_or_default();
    let mut ports = (0..400).map(|_| 600 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 400);
    ports
        .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").expect("a loopback port"))
}

/// One request per connection. A client that hangs up has seen enough.
fn serve(
    stream: TcpStream,
    answer: &dyn Fn(&Asked) -> (u16, String),
    log: &Mutex<Vec<Asked>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Ok(0), |text| text.parse()).ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    let asked = Asked { line, headers, body: String::from_utf8_lossy(&body).into_owned() };
    log.lock().expect("no thread has panicked").push(asked.clone());
    let (status, body) = answer(&asked);
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len());
    let mut stream = stream;
    stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).ok()
}
