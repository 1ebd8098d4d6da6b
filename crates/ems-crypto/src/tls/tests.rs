//! Identities from files, and whole handshakes in memory.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use rustls::{
    ClientConnection, HandshakeKind, ProtocolVersion, ServerConnection, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use rustls_pki_types::ServerName;

use super::*;
use crate::certificate::{Generated, generate};

const TODAY: (i32, u8, u8) = (2024, 2, 29);

/// Certificates good now: handshakes look at the real clock.
fn made() -> Generated {
    let seconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    // From the end of last year, so that two years reach past today.
    let year = 1970 + i32::try_from(seconds / 31_556_952).unwrap() - 1;
    generate(&[], (year, 12, 31)).unwrap()
}

/// Writes both to files; the key's mode is 0600.
fn files(dir: &Path, certificate: &str, key: &str) -> (PathBuf, PathBuf) {
    let (cert_path, key_path) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&cert_path, certificate).unwrap();
    fs::write(&key_path, key).unwrap();
    fs::set_permissions(&key_path, Permissions::from_mode(0o600)).unwrap();
    (cert_path, key_path)
}

fn load(certificate: &str, key: &str) -> Result<ServerIdentity> {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = files(dir.path(), certificate, key);
    ServerIdentity::load(&certificate, &key)
}

fn server(made: &Generated) -> TlsServer {
    TlsServer::new(load(&made.certificate, &made.key).unwrap()).unwrap()
}

/// A client that trusts an authority.
fn trusting(made: &Generated) -> ClientConfig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    fs::write(&path, &made.ca_certificate).unwrap();
    ClientConfig::clone(client_trusting(&path).unwrap().config())
}

/// A client of these versions of TLS that trusts an authority.
fn speaking(made: &Generated, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(made.ca_certificate.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Carries a handshake and what follows it between both ends, to its end or the first fault.
fn shake(
    server: &TlsServer,
    client: impl Into<Arc<ClientConfig>>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.into(), name)?;
    let mut server = ServerConnection::new(Arc::clone(server.acceptor().config()))?;
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        while !wire.is_empty() && server.wants_read() {
            let read = server.read_tls(&mut wire.as_slice()).unwrap();
            wire.drain(..read);
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        while !wire.is_empty() && client.wants_read() {
            let read = client.read_tls(&mut wire.as_slice()).unwrap();
            wire.drain(..read);
            client.process_new_packets()?;
        }
    }
    Ok((client, server))
}

fn error_of(result: Result<ServerIdentity>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_generated_identity_serves_its_names_to_who_trusts_its_authority() {
    let made = made();
    let server = server(&made);
    for name in ["localhost", "127.0.0.1", "::1"] {
        let (client, _) = shake(&server, trusting(&made), name).unwrap();
        assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(client.alpn_protocol(), Some(b"http/1.1".as_slice()));
    }
    assert!(shake(&server, trusting(&made), "example.org").is_err());
    let stranger = self::made();
    assert!(shake(&server, trusting(&stranger), "localhost").is_err());
}

#[test]
fn speaks_tls_1_2_and_1_3_and_prefers_http_2() {
    let made = made();
    let server = server(&made);
    for (version, spoken) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut config = speaking(&made, &[version]);
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        let (client, _) = shake(&server, config, "localhost").unwrap();
        assert_eq!(client.protocol_version(), Some(spoken));
        assert_eq!(client.alpn_protocol(), Some(b"h2".as_slice()));
    }
    let mut config = trusting(&made);
    config.alpn_protocols = vec![b"spdy/3".to_vec()];
    assert!(shake(&server, config, "localhost").is_err());
}

#[test]
fn a_returning_client_resumes_by_its_ticket() {
    let made = made();
    let server = server(&made);
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(speaking(&made, &[version]));
        let (first, _) = shake(&server, Arc::clone(&client), "localhost").unwrap();
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        let (second, _) = shake(&server, client, "localhost").unwrap();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_reloaded_certificate_serves_the_next_handshake() {
    let (before, after) = (made(), made());
    let server = server(&before);
    assert!(shake(&server, trusting(&before), "localhost").is_ok());
    server
        .clone()
        .reload(load(&after.certificate, &after.key).unwrap());
    assert!(shake(&server, trusting(&after), "localhost").is_ok());
    assert!(shake(&server, trusting(&before), "localhost").is_err());
}

#[test]
fn refuses_another_ones_key() {
    let (one, other) = (
        generate(&["meters.example"], TODAY).unwrap(),
        generate(&[], TODAY).unwrap(),
    );
    let error = error_of(load(&one.certificate, &other.key));
    assert!(
        error.contains("cert.pem: it does not belong to the key in"),
        "{error}"
    );
    assert!(error.contains("key.pem"), "{error}");
}

#[test]
fn refuses_files_that_hold_no_certificate_or_no_key_by_name() {
    let made = generate(&[], TODAY).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (certificate, key, file) in [
        ("", made.key.as_str(), "cert.pem"),
        ("nothing", &made.key, "cert.pem"),
        (&made.key, &made.key, "cert.pem"),
        (broken, &made.key, "cert.pem"),
        (&made.certificate, "nothing", "key.pem"),
        (&made.certificate, &made.certificate, "key.pem"),
    ] {
        let error = load(certificate, key).unwrap_err();
        assert!(
            matches!(&error, Error::Certificate { path, .. } if path.ends_with(file)),
            "{error}"
        );
        assert!(!error.to_string().contains("PRIVATE KEY"), "{error}");
    }
}

#[test]
fn refuses_a_missing_file_and_a_key_that_others_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let made = generate(&[], TODAY).unwrap();
    let (certificate, key) = files(dir.path(), &made.certificate, &made.key);
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        assert!(matches!(
            ServerIdentity::load(&certificate, &key),
            Err(Error::Mode { path, mode: found }) if path == key && found == mode
        ));
    }
    let nowhere = dir.path().join("nowhere.pem");
    assert!(error_of(ServerIdentity::load(&nowhere, &key)).contains("nowhere.pem"));
    assert!(error_of(ServerIdentity::load(&certificate, &nowhere)).contains("nowhere.pem"));
    assert!(client_trusting(&nowhere).is_err());
}

#[test]
fn a_client_needs_an_authority_to_trust() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    fs::write(&path, "nothing").unwrap();
    assert!(matches!(
        client_trusting(&path),
        Err(Error::Certificate { .. })
    ));
}
