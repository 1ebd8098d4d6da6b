//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) for the listener: certificates from PEM files, exchanged
//! without a restart. Re-exports what the listener needs, so that nothing else names the library.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
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
        let fault = |path: &Path, why: String| Error::Certificate {
            path: path.to_owned(),
            why,
        };
        let pem = std::fs::read(certificate).map_err(|source| Error::Io {
            path: certificate.to_owned(),
            source,
        })?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|error| fault(certificate, format!("not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(fault(certificate, "no certificate in it".into()));
        }
        let pem = read_secret_file(key)?;
        let der = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| fault(key, "no private key in it".into()))?;
        let signing = any_supported_type(&der)
            .map_err(|_| fault(key, "a private key of no supported kind".into()))?;
        let certified = CertifiedKey::new(chain, signing);
        let matches = certified.keys_match();
        matches.map_err(|_| {
            fault(
                certificate,
                format!("it does not belong to the key in {}", key.display()),
            )
        })?;
        Ok(Self(Arc::new(certified)))
    }
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
        self.0.read().ok().map(|identity| Arc::clone(&identity))
    }
}

impl TlsServer {
    /// A server with this identity: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, session tickets.
    ///
    /// # Errors
    /// [`Error::Library`].
    pub fn new(identity: ServerIdentity) -> Result<Self> {
        let library = |error: rustls::Error| Error::Library(error.to_string());
        let identity = Arc::new(Exchangeable(RwLock::new(identity.0)));
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(library)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(identity.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
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
        if let Ok(mut current) = self.identity.0.write() {
            *current = identity.0;
        }
    }
}

/// A client that trusts the authorities in a PEM file, and speaks HTTP/1.1.
///
/// # Errors
/// [`Error::Certificate`], [`Error::Io`].
pub fn client_trusting(ca: &Path) -> Result<TlsConnector> {
    let fault = |why: String| Error::Certificate {
        path: PathBuf::from(ca),
        why,
    };
    let pem = std::fs::read(ca).map_err(|source| Error::Io {
        path: ca.to_owned(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| fault(error.to_string()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(error.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::certificate::generate;

    fn files(dir: &Path, certificate: &str, key: &str) -> (PathBuf, PathBuf) {
        let (cert_path, key_path) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert_path, certificate).unwrap();
        std::fs::write(&key_path, key).unwrap();
        std::fs::set_permissions(&key_path, std::fs::Permissions::from_mode(0o600)).unwrap();
        (cert_path, key_path)
    }

    #[test]
    fn loads_a_generated_identity_and_refuses_another_ones_key() {
        let dir = tempfile::tempdir().unwrap();
        let one = generate(&["meters.example"], (2024, 2, 29)).unwrap();
        let other = generate(&[], (2024, 2, 29)).unwrap();
        let (cert, key) = files(dir.path(), &one.certificate, &one.key);
        assert!(TlsServer::new(ServerIdentity::load(&cert, &key).unwrap()).is_ok());
        let (cert, key) = files(dir.path(), &one.certificate, &other.key);
        let error = ServerIdentity::load(&cert, &key).unwrap_err().to_string();
        assert!(
            error.contains("cert.pem") && error.contains("does not belong"),
            "{error}"
        );
    }

    #[test]
    fn refuses_a_key_that_others_can_read_and_files_that_hold_none() {
        let dir = tempfile::tempdir().unwrap();
        let made = generate(&[], (2024, 1, 1)).unwrap();
        let (cert, key) = files(dir.path(), &made.certificate, "nothing");
        assert!(matches!(
            ServerIdentity::load(&cert, &key),
            Err(Error::Certificate { .. })
        ));
        let (cert, key) = files(dir.path(), "nothing", &made.key);
        assert!(matches!(
            ServerIdentity::load(&cert, &key),
            Err(Error::Certificate { .. })
        ));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let (cert, _) = (
            dir.path().join("cert.pem"),
            std::fs::write(dir.path().join("cert.pem"), &made.certificate),
        );
        assert!(matches!(
            ServerIdentity::load(&cert, &key),
            Err(Error::Mode { .. })
        ));
    }
}
