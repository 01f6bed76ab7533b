//! Connections: TLS, time-outs, and addresses that may be reached.
//!
//! ureq speaks HTTP; what is added here is the TLS that it can not be told to use (roots that are
//! read lazily) and a resolver that refuses addresses to which a registry must not send us. No proxy
//! is used but one that is given, whatever the environment says.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    TcpConnector, Transport, TransportAdapter,
};
use ureq::{Agent, Body, Proxy};

use crate::roots::LazyRoots;
use crate::{Limits, guard};

const USER_AGENT: &str = concat!("civ/", env!("CARGO_PKG_VERSION"));
/// Larger than a header may be, which is read from it whole. ureq's own default is 128 KiB, zeroed at
/// each start.
const INPUT_BUFFER: usize = 32 << 10;
/// As much as servers take of a header at most. No line of a request may be larger.
const OUTPUT_BUFFER: usize = 16 << 10;
/// The longest address or credential that fits into a request, in bytes, with what else is in its line.
pub(crate) const REQUEST_PART_MAX: usize = OUTPUT_BUFFER - 256;

/// An agent for the server at `authority`, the only one that may be within this machine. It follows
/// no redirects and takes every status for an answer. The certificate authorities are the system's,
/// or those in `authorities`. Where there is a `proxy`, names are resolved there.
pub fn agent(
    authority: &str,
    limits: &Limits,
    authorities: Option<PathBuf>,
    proxy: Option<Proxy>,
) -> Result<Agent, rustls::Error> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy.clone())
        .user_agent(USER_AGENT)
        .accept_encoding("identity")
        .timeout_connect(Some(limits.connect))
        .timeout_resolve(Some(limits.connect))
        .max_response_header_size(limits.header)
        .input_buffer_size(INPUT_BUFFER)
        .output_buffer_size(OUTPUT_BUFFER)
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(Tls { config: tls_config(authorities)? });
    let resolver = GuardedResolver {
        registry: authority.to_owned(),
        proxy: proxy.map(|proxy| proxy.uri().clone()),
        resolver: DefaultResolver::default(),
    };
    Ok(Agent::with_parts(config, connector, resolver))
}

/// The whole body, or `None` if it has more than `limit` bytes. No more than that is read.
pub fn read_bounded(response: Response<Body>, limit: u64) -> Result<Option<Vec<u8>>, ureq::Error> {
    let mut body = response.into_body();
    if body.content_length().is_some_and(|length| length > limit) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    body.as_reader().take(limit + 1).read_to_end(&mut bytes).map_err(ureq::Error::from)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

fn tls_config(authorities: Option<PathBuf>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match authorities {
        Some(bundle) => LazyRoots::of_bundle(bundle, Arc::clone(&provider)),
        None => LazyRoots::of_system(Arc::clone(&provider)),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        // Not dangerous: it decides by webpki, see there.
        .with_custom_certificate_verifier(Arc::new(roots))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Was a connection not made because the address is one within the machine, or of its cloud?
pub(crate) fn is_within_machine(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<WithinMachine>()).is_some()
}

/// Was a connection given up because of the server's certificate?
pub(crate) fn is_bad_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// Was a connection given up because what the server says is no TLS?
pub(crate) fn is_no_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

/// Why a name that a registry chose is not resolved.
#[derive(Debug, thiserror::Error)]
#[error("the registry sends us to an address within this machine, or of its cloud's own services")]
struct WithinMachine;

/// Resolves names, and refuses addresses within the machine for hosts other than the registry: the
/// operator may name a registry on loopback, the registry may not name anything there. The address
/// that is checked is the one that is connected to.
#[derive(Debug)]
struct GuardedResolver {
    registry: String,
    /// Chosen by the operator as well.
    proxy: Option<Uri>,
    resolver: DefaultResolver,
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let resolved = self.resolver.resolve(uri, config, timeout)?;
        let is_registry =
            uri.authority().is_some_and(|authority| authority.as_str() == self.registry);
        if is_registry || self.proxy.as_ref() == Some(uri) {
            return Ok(resolved);
        }
        let mut permitted = self.resolver.empty();
        for address in resolved.iter().filter(|address| guard::permits_address(address.ip())) {
            permitted.push(*address);
        }
        if permitted.is_empty() {
            return Err(ureq::Error::Io(io::Error::other(WithinMachine)));
        }
        Ok(permitted)
    }
}

/// Wraps connections for `https` in TLS.
struct Tls {
    config: Arc<ClientConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Either<In, TlsTransport<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(tcp) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(tcp)));
        }
        let host = details.uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| ureq::Error::Tls("host name cannot be in a certificate"))?;
        let tls = ClientConnection::new(Arc::clone(&self.config), name).map_err(tls_error)?;
        let mut socket = TransportAdapter::new(tcp, Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        let mut stream = StreamOwned::new(tls, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

fn tls_error(error: rustls::Error) -> ureq::Error {
    ureq::Error::Io(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// HTTP over TLS.
struct TlsTransport<In: Transport> {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter<In>>,
}

impl<In: Transport> std::fmt::Debug for TlsTransport<In> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl<In: Transport> Transport for TlsTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output();
        self.stream.write_all(output.get(..amount).unwrap_or(output))?;
        self.stream.flush()?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Issuer {
        CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
    }

    fn intermediate(name: &str, parent: &Issuer) -> Issuer {
        let key = KeyPair::generate().unwrap();
        CertifiedIssuer::signed_by(authority_params(name), key, parent).unwrap()
    }

    fn authority_params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params
    }

    fn leaf(host: &str) -> CertificateParams {
        CertificateParams::new([host.to_owned()]).unwrap()
    }

    /// A server that answers every request with "hello", over TLS with `chain`.
    fn serve(params: &CertificateParams, issuer: &Issuer, also_sent: &[&Issuer]) -> u16 {
        let key = KeyPair::generate().unwrap();
        let mut chain = vec![params.signed_by(&key, issuer).unwrap().der().clone()];
        chain.extend(also_sent.iter().map(|issuer| issuer.der().clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(tls, tcp.unwrap());
                // A client that refuses the certificate hangs up.
                let mut request = [0; 1024];
                if matches!(stream.read(&mut request), Ok(1..)) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                    drop(stream.write_all(answer).and_then(|()| stream.flush()));
                }
            }
        });
        port
    }

    fn get(port: u16, trusted: &[&Issuer]) -> Result<String, String> {
        let mut bundle = tempfile::NamedTempFile::new().unwrap();
        writeln!(
            bundle,
            "# a comment\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
        )
        .unwrap();
        for authority in trusted {
            writeln!(bundle, "{}", authority.pem()).unwrap();
        }
        let authority = format!("localhost:{port}");
        let authorities = Some(bundle.path().to_owned());
        let agent = agent(&authority, &Limits::default(), authorities, None).unwrap();
        let request = agent.get(format!("https://localhost:{port}/"));
        let response = request.call().map_err(|error| error.to_string())?;
        response.into_body().read_to_string().map_err(|error| error.to_string())
    }

    #[test]
    fn a_chain_to_an_authority_of_the_bundle_is_believed_and_no_other() {
        let (ours, other) = (authority("ours"), authority("other"));
        // The same name, another key: found in the bundle by its subject, and no issuer all the same.
        let namesake = authority("ours");
        let below = intermediate("below ours", &ours);
        let mut expired = leaf("localhost");
        expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let mut future = leaf("localhost");
        future.not_before = rcgen::date_time_ymd(4000, 1, 1);

        let good = serve(&leaf("localhost"), &ours, &[]);
        assert_eq!(get(good, &[&other, &namesake, &ours]), Ok("hello".to_owned()));
        let chained = serve(&leaf("localhost"), &below, &[&below]);
        assert_eq!(get(chained, &[&ours, &other]), Ok("hello".to_owned()));

        for (port, trusted, why) in [
            (good, vec![], "UnknownIssuer"),
            (good, vec![&other], "UnknownIssuer"),
            (good, vec![&namesake], "BadSignature"),
            (chained, vec![&other], "UnknownIssuer"),
            (serve(&leaf("localhost"), &below, &[]), vec![&ours], "UnknownIssuer"),
            (serve(&leaf("other.example"), &ours, &[]), vec![&ours], "not valid for name"),
            (serve(&expired, &ours, &[]), vec![&ours], "expired"),
            (serve(&future, &ours, &[]), vec![&ours], "not valid yet"),
        ] {
            let error = get(port, &trusted).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
    }

    #[test]
    fn an_address_within_the_machine_is_reached_only_as_the_registry_itself() {
        let agent = agent("r.example", &Limits::default(), None, None).unwrap();
        for host in ["localhost", "127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:127.0.0.1]"] {
            let error = agent.get(format!("https://{host}:1/")).call().unwrap_err().to_string();
            assert!(error.contains("within this machine"), "{host}: {error}");
        }
    }

    #[test]
    fn a_server_that_never_shakes_hands_is_given_up_in_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        get(port, &[&authority("ours")]).unwrap_err();
    }
}
