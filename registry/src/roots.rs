//! The certificate authorities of the system, read when a chain asks for them.
//!
//! A bundle holds some 150 certificates; loading all of them costs several times what the handshake
//! does. So the bundle is read when the server's chain is there, and of its certificates only those
//! are kept that could have issued a certificate of the chain. The decision is then webpki's, and
//! the same as with the whole bundle.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Where systems keep their bundle: Bottlerocket and Fedora, Debian, SUSE, Alpine.
const BUNDLES: [&str; 5] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Verifies servers against a bundle of authorities that is read anew for each connection.
#[derive(Debug)]
pub struct LazyRoots {
    bundle: Option<PathBuf>,
    provider: Arc<CryptoProvider>,
}

impl LazyRoots {
    /// The system's authorities.
    pub fn of_system(provider: Arc<CryptoProvider>) -> Self {
        let bundle = BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file());
        Self { bundle, provider }
    }

    /// The authorities in the PEM file `bundle`.
    pub fn of_bundle(bundle: PathBuf, provider: Arc<CryptoProvider>) -> Self {
        Self { bundle: Some(bundle), provider }
    }
}

impl ServerCertVerifier for LazyRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let bundle = self.bundle.as_deref().ok_or_else(|| {
            rustls::Error::General("no bundle of certificate authorities on this system".to_owned())
        })?;
        let mut issuers = Vec::with_capacity(1 + intermediates.len());
        for certificate in std::iter::once(end_entity).chain(intermediates) {
            let parsed = webpki::EndEntityCert::try_from(certificate)
                .map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
            issuers.push(parsed.issuer().to_vec());
        }
        let roots = anchors_of(bundle, &issuers)
            .map_err(|error| rustls::Error::General(format!("{}: {error}", bundle.display())))?;
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        WebPkiServerVerifier::builder_with_provider(
            Arc::new(RootCertStore { roots }),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?
        .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The authorities in `bundle` whose subject is one of `issuers`. A certificate that cannot be read
/// is passed over, as everywhere.
fn anchors_of(bundle: &Path, issuers: &[Vec<u8>]) -> io::Result<Vec<TrustAnchor<'static>>> {
    let mut anchors = Vec::new();
    let mut body: Option<String> = None;
    let mut line = String::new();
    let mut lines = BufReader::with_capacity(16 << 10, File::open(bundle)?);
    while {
        line.clear();
        lines.read_line(&mut line)? > 0
    } {
        match (line.trim_end(), &mut body) {
            ("-----BEGIN CERTIFICATE-----", _) => body = Some(String::with_capacity(2 << 10)),
            ("-----END CERTIFICATE-----", Some(base64)) => {
                if let Ok(der) = STANDARD.decode(base64.as_bytes())
                    && let Ok(anchor) = webpki::anchor_from_trusted_cert(&CertificateDer::from(der))
                    && issuers.iter().any(|issuer| issuer[..] == anchor.subject[..])
                {
                    anchors.push(anchor.to_owned());
                }
                body = None;
            }
            (text, Some(base64)) => base64.push_str(text),
            (_, None) => {}
        }
    }
    Ok(anchors)
}
