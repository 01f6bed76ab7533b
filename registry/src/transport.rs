//! Connections: TLS, time-outs, and addresses that may be reached.
//!
//! ureq speaks HTTP; what is added here is the TLS that it can not be told to use (roots that are
//! read lazily) and a resolver that refuses addresses to which a registry must not send us. No proxy
//! is used, whatever the environment says: it would see, and could choose, every answer.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector,
    Transport, TransportAdapter,
};

use crate::roots::LazyRoots;
use crate::{Endpoint, Limits, guard};

const USER_AGENT: &str = concat!("civ/", env!("CARGO_PKG_VERSION"));
/// A manifest and a payload are a few kilobytes; ureq's own default is 128 KiB, zeroed at each start.
const INPUT_BUFFER: usize = 16 << 10;
const OUTPUT_BUFFER: usize = 8 << 10;

/// An agent for the registry at `endpoint`. The authorities are the system's, or those in
/// `authorities`.
pub(crate) fn agent(
    endpoint: &Endpoint,
    limits: &Limits,
    authorities: Option<PathBuf>,
) -> Result<Agent, rustls::Error> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(USER_AGENT)
        .accept_encoding("identity")
        .timeout_connect(Some(limits.connect))
        .timeout_resolve(Some(limits.connect))
        .max_response_header_size(limits.header)
        .input_buffer_size(INPUT_BUFFER)
        .output_buffer_size(OUTPUT_BUFFER)
        .build();
    let connector =
        ().chain(TcpConnector::default()).chain(Tls { config: tls_config(authorities)? });
    let resolver = GuardedResolver {
        registry: endpoint.authority().to_owned(),
        resolver: DefaultResolver::default(),
    };
    Ok(Agent::with_parts(config, connector, resolver))
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

/// Resolves names, and refuses addresses within the machine for hosts other than the registry: the
/// operator may name a registry on loopback, the registry may not name anything there. The address
/// that is checked is the one that is connected to.
#[derive(Debug)]
struct GuardedResolver {
    registry: String,
    resolver: DefaultResolver,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let resolved = self.resolver.resolve(uri, config, timeout)?;
        if uri.authority().is_some_and(|authority| authority.as_str() == self.registry) {
            return Ok(resolved);
        }
        let mut permitted = self.resolver.empty();
        for address in resolved.iter().filter(|address| guard::permits_address(address.ip())) {
            permitted.push(*address);
        }
        if permitted.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(permitted) }
    }
}

/// Wraps connections for `https` in TLS.
struct Tls {
    config: Arc<ClientConfig>,
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
    ureq::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
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
