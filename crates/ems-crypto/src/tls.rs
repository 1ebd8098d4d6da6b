//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) for the listener: certificates from PEM files, exchanged
//! without a restart; and the client side, for receivers of logs. Re-exports what the listener needs,
//! so that nothing else names the library.

use std::{
    io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ClientConfig, InconsistentKeys, RootCertStore, ServerConfig,
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::io::{AsyncRead, AsyncWrite};
pub use tokio_rustls::{TlsAcceptor, TlsConnector, client, server::TlsStream};

use crate::{Error, Result, secret_file::read_secret_file};

/// A certificate chain and its private key, found to belong together.
#[derive(Debug, Clone)]
pub struct ServerIdentity(Arc<CertifiedKey>);

impl ServerIdentity {
    /// Loads both from PEM files.
    ///
    /// # Errors
    /// [`Error::Certificate`] naming the file: not PEM, no certificate, a key of another
    /// certificate; [`Error::Mode`] where others can read the key; [`Error::Io`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self> {
        let chain = read_certificates(certificate)?;
        let pem = read_secret_file(key)?;
        let der = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| fault(key, "no private key in it".into()))?;
        let signing = any_supported_type(&der)
            .map_err(|_| fault(key, "a private key of no supported kind".into()))?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => fault(
                certificate,
                format!("it does not belong to the key in {}", key.display()),
            ),
            other => fault(certificate, other.to_string()),
        })?;
        Ok(Self(Arc::new(certified)))
    }
}

fn fault(path: &Path, why: String) -> Error {
    Error::Certificate {
        path: path.to_owned(),
        why,
    }
}

/// The certificates of a PEM file, one at least.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| fault(path, format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(fault(path, "no certificate in it".into()));
    }
    Ok(chain)
}

/// The server side, with an identity that can be exchanged.
#[derive(Clone)]
pub struct TlsServer {
    identity: Arc<Exchangeable>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Exchangeable(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Exchangeable {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Nothing can be half done under this lock, so one that panicked elsewhere does no harm.
        let identity = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&identity))
    }
}

impl TlsServer {
    /// A server with this identity: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, session tickets.
    ///
    /// # Errors
    /// [`Error::Library`].
    pub fn new(identity: ServerIdentity) -> Result<Self> {
        Self::speaking(identity, &["h2", "http/1.1"])
    }

    /// The same for other protocols, by their names in ALPN, the preferred one first.
    ///
    /// # Errors
    /// [`Error::Library`].
    pub fn speaking(identity: ServerIdentity, protocols: &[&str]) -> Result<Self> {
        let library = |error: rustls::Error| Error::Library(error.to_string());
        let identity = Arc::new(Exchangeable(RwLock::new(identity.0)));
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(library)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(identity.clone());
        let names = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = names.collect();
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(library)?;
        Ok(Self {
            identity,
            config: Arc::new(config),
        })
    }

    /// What takes connections.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Puts another identity in place: for every handshake from now on.
    pub fn reload(&self, identity: ServerIdentity) {
        let current = self.identity.0.write();
        *current.unwrap_or_else(PoisonError::into_inner) = identity.0;
    }
}

/// A client that trusts the authorities in a PEM file, and speaks HTTP/1.1.
///
/// # Errors
/// [`Error::Certificate`], [`Error::Io`].
pub fn client_trusting(ca: &Path) -> Result<TlsConnector> {
    client_speaking(ca, &[b"http/1.1"])
}

/// A client that trusts the authorities in a PEM file, and names (RFC 7301) the protocols that it
/// speaks; none where the server's protocol has no name.
///
/// # Errors
/// [`Error::Certificate`], [`Error::Io`].
pub fn client_speaking(ca: &Path, protocols: &[&[u8]]) -> Result<TlsConnector> {
    let mut config = client_of(named_roots(ca)?)?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A client of other protocols than HTTP.
#[derive(Clone)]
pub struct TlsClient(TlsConnector);

impl TlsClient {
    /// Trusts the authorities in a PEM file alone, or those of the system without one.
    ///
    /// # Errors
    /// [`Error::Certificate`], [`Error::Io`].
    pub fn new(ca: Option<&Path>) -> Result<Self> {
        let roots = if let Some(ca) = ca {
            named_roots(ca)?
        } else {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        };
        Ok(Self(TlsConnector::from(Arc::new(client_of(roots)?))))
    }

    /// Shakes hands with a server of a name or an address.
    ///
    /// # Errors
    /// A name that is none, a certificate that is not the server's or not of a trusted authority,
    /// a connection that broke.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let unfit = |_| io::Error::new(io::ErrorKind::InvalidInput, "no name of a server");
        let name = ServerName::try_from(host.to_owned()).map_err(unfit)?;
        self.0.connect(name, stream).await
    }
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsClient")
    }
}

fn named_roots(ca: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(ca)? {
        let added = roots.add(certificate);
        added.map_err(|error| fault(ca, error.to_string()))?;
    }
    Ok(roots)
}

fn client_of(roots: RootCertStore) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Library(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
