//! Which of `http` and `https` a server on this machine speaks, where its port does not say.
//!
//! containerd tries `https`, and goes on with `http` if the answer begins with `HTTP/` or if there is
//! none (`core/remotes/docker/resolver.go`, `isTLSError`). Here the first message of a TLS handshake
//! is sent, and only the beginning of the answer looked at: whether a certificate is good is for the
//! connection that follows. Nobody is let in by that who was not: whoever answers on the port can
//! speak either.

use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::endpoint::split_port;

/// How an answer in plain HTTP begins.
const PLAIN: [u8; 5] = *b"HTTP/";

/// Does the server at `authority` answer TLS with plain HTTP, or not at all `within` that time?
pub(crate) fn speaks_plain_http(authority: &str, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let answered = connect(authority, deadline).and_then(|stream| ask(stream, deadline));
    match answered {
        Ok(beginning) => beginning == PLAIN,
        Err(error) => matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock),
    }
}

fn connect(authority: &str, deadline: Instant) -> io::Result<TcpStream> {
    let (host, port) = split_port(authority);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.and_then(|port| port.parse().ok()).ok_or(ErrorKind::InvalidInput)?;
    let mut failure = io::Error::from(ErrorKind::NotFound);
    for address in addresses(bare)? {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), time_left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The addresses of a host on this machine. Of names there is one, whose addresses are known
/// (RFC 6761, 6.3): a resolver could take longer than there is time.
fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
    }
    let address = host.parse().map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    Ok(vec![address])
}

/// The first bytes of what the server answers to a client that wants TLS.
fn ask(mut stream: TcpStream, deadline: Instant) -> io::Result<[u8; 5]> {
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            // Nobody is trusted: the handshake ends before that matters.
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut hello = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    stream.set_write_timeout(Some(time_left(deadline)?))?;
    hello.write_tls(&mut stream)?;
    let mut beginning = [0; PLAIN.len()];
    let mut filled = 0;
    while let Some(rest) = beginning.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        stream.set_read_timeout(Some(time_left(deadline)?))?;
        match stream.read(rest)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(beginning)
}

fn time_left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn only_plain_http_and_silence_are_taken_for_no_tls() {
        let within = Duration::from_millis(500);
        for (answer, plain) in [
            (Some(b"HTTP/1.1 400 Bad Request\r\n".as_slice()), true),
            (Some(b"HTTP/1.0 400"), true),
            (None, true),
            (Some(b"HTTP"), false),
            (Some(b""), false),
            // A server that speaks TLS and will have none of this.
            (Some(b"\x15\x03\x03\x00\x02\x02\x28"), false),
            (Some(b"SSH-2.0-OpenSSH_9.9\r\n"), false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let authority = listener.local_addr().unwrap().to_string();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut hello = [0; 512];
                assert_eq!((stream.read(&mut hello).unwrap() > 100, hello[0]), (true, 0x16));
                match answer {
                    Some(answer) => stream.write_all(answer).unwrap(),
                    None => drop(stream.read(&mut hello)),
                }
            });
            assert_eq!(speaks_plain_http(&authority, within), plain, "{answer:?}");
            server.join().unwrap();
        }
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(!speaks_plain_http(&nobody.to_string(), within), "nobody listens");
        assert_eq!(addresses("LocalHost").unwrap().len(), 2);
        assert!(addresses("r.example").is_err(), "no name is resolved");
        assert!(
            !speaks_plain_http("127.0.0.1", within) && !speaks_plain_http("127.0.0.1:x", within)
        );
    }
}
