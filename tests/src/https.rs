//! A registry behind TLS: certificate authorities of a test's own, and a server that answers over
//! https what the registry behind it answers over http.
//!
//! One request is taken per connection, so that what is between the two is nothing but bytes.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The most that is read of a request's head, in bytes.
const HEAD_MAX: usize = 64 << 10;

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate, with its key.
#[derive(Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    key: KeyPair,
}

/// A server that speaks TLS on loopback, for as long as the process lives.
#[derive(Debug)]
pub struct HttpsServer {
    port: u16,
}

impl Authority {
    /// A new one, which no system knows.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server that is called `host`.
    pub fn certify(&self, host: &str) -> Certificate {
        self.issue(host, |_| ())
    }

    /// One that was valid once.
    pub fn certify_once(&self, host: &str) -> Certificate {
        self.issue(host, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))
    }

    fn issue(&self, host: &str, edit: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        Certificate { der: params.signed_by(&key, &self.0).unwrap().der().clone(), key }
    }
}

impl Certificate {
    /// One for `host` that vouches for itself.
    pub fn self_signed(host: &str) -> Self {
        let (params, key) = (CertificateParams::new([host.to_owned()]), KeyPair::generate());
        let key = key.unwrap();
        Self { der: params.unwrap().self_signed(&key).unwrap().der().clone(), key }
    }
}

impl HttpsServer {
    /// A server with this certificate, before the one at `address` (a host and a port).
    pub fn start(certificate: &Certificate, address: &str) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(certificate.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der.clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = address.to_owned();
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let (config, address) = (Arc::clone(&config), address.clone());
                // A client that does not like the certificate hangs up.
                thread::spawn(move || tcp.and_then(|tcp| serve(tcp, config, &address)));
            }
        });
        Self { port }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn serve(tcp: TcpStream, config: Arc<ServerConfig>, address: &str) -> io::Result<()> {
    let tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = StreamOwned::new(tls, tcp);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    head.truncate(head.len() - 2);
    head.extend(b"Connection: close\r\n\r\n");
    let mut server = TcpStream::connect(address)?;
    server.write_all(&head)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    client.write_all(&answer)?;
    client.conn.send_close_notify();
    client.flush()
}
