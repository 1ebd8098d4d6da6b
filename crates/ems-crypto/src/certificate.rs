//! The local certificate authority of a fresh instance, and its first server certificate.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use crate::{Error, Result};

/// Years that an authority is good for.
const AUTHORITY_YEARS: i32 = 10;
/// Years that a server certificate is good for: 731 days at most, within the 825 that clients take.
const SERVER_YEARS: i32 = 2;

/// What [`generate`] makes, as PEM.
pub struct Generated {
    /// The authority's certificate: what clients trust.
    pub ca_certificate: String,
    /// The authority's private key.
    pub ca_key: Zeroizing<String>,
    /// The server's certificate.
    pub certificate: String,
    /// The server's private key.
    pub key: Zeroizing<String>,
}

/// Makes an authority (good for ten years) and a server certificate (two years) for `localhost`,
/// the loopback addresses and `names` (host names, also `*.example.org`, and addresses).
/// `(year, month, day)` is today in UTC.
///
/// # Errors
/// [`Error::Library`] where a name is no host name and no address, or there is no such day.
pub fn generate(names: &[&str], today: (i32, u8, u8)) -> Result<Generated> {
    let names = server_names(names)?;
    let (year, month, day) = checked_day(today)?;
    let mut authority = params(Vec::new(), "EMS Agent local authority")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.not_before = date_time_ymd(year, month, day);
    authority.not_after = date_time_ymd(year + AUTHORITY_YEARS, month, day);
    let ca_key = KeyPair::generate().map_err(library)?;
    let ca = authority.self_signed(&ca_key).map_err(library)?;

    let mut server = params(names, "EMS Agent")?;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    server.not_before = date_time_ymd(year, month, day);
    server.not_after = date_time_ymd(year + SERVER_YEARS, month, day);
    let key = KeyPair::generate().map_err(library)?;
    let certificate = server
        .signed_by(&key, &Issuer::from_params(&authority, &ca_key))
        .map_err(library)?;
    Ok(Generated {
        ca_certificate: ca.pem(),
        ca_key: Zeroizing::new(ca_key.serialize_pem()),
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn library(error: rcgen::Error) -> Error {
    Error::Library(error.to_string())
}

fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).map_err(library)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

/// The names that a certificate carries, each once. One that no client could match is refused here,
/// where it can be told, and not found out at the first connection.
fn server_names(names: &[&str]) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for name in ["localhost", "127.0.0.1", "::1"].iter().chain(names) {
        let host = name.strip_prefix("*.").unwrap_or(name);
        ServerName::try_from(host)
            .map_err(|_| Error::Library(format!("{name:?} is no host name and no address")))?;
        if !all.iter().any(|known| known == name) {
            all.push((*name).to_owned());
        }
    }
    Ok(all)
}

/// A day that the library takes; it panics on others.
fn checked_day((year, month, day): (i32, u8, u8)) -> Result<(i32, u8, u8)> {
    if (1970..=9000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day) {
        // From the 29th on, a month of some other year lacks the day.
        Ok((year, month, day.min(28)))
    } else {
        Err(Error::Library(format!("no day {year}-{month}-{day}")))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        crypto::aws_lc_rs::default_provider,
    };
    use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};

    use super::*;

    const DAY: u64 = 86_400;
    /// 2024-02-28 in seconds since 1970, by `date -u -d 2024-02-28 +%s`.
    const START: u64 = 1_709_078_400;

    /// Whether a client of the authority takes the certificate for a name at a time.
    fn takes(made: &Generated, name: &str, at: u64) -> bool {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(made.ca_certificate.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::new(default_provider()),
        );
        let certificate = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let verifier = verifier.build().unwrap();
        verifier
            .verify_server_cert(&certificate, &[], &name, &[], at)
            .is_ok()
    }

    #[test]
    fn is_good_for_its_names_alone() {
        let made = generate(
            &["meters.example", "*.grid.example", "192.0.2.7"],
            (2024, 2, 29),
        );
        let made = made.unwrap();
        for name in [
            "localhost",
            "127.0.0.1",
            "::1",
            "meters.example",
            "a.grid.example",
            "192.0.2.7",
        ] {
            assert!(takes(&made, name, START), "{name}");
        }
        for name in [
            "example",
            "a.meters.example",
            "a.b.grid.example",
            "192.0.2.8",
        ] {
            assert!(!takes(&made, name, START), "{name}");
        }
        let other = generate(&[], (2024, 2, 29)).unwrap();
        let mixed = Generated {
            ca_certificate: other.ca_certificate,
            ..made
        };
        assert!(!takes(&mixed, "localhost", START), "of another authority");
    }

    #[test]
    fn is_good_for_two_years_from_today() {
        let made = generate(&[], (2024, 2, 29)).unwrap();
        assert!(!takes(&made, "localhost", START - 1));
        // 2024-02-28 to 2026-02-28: one leap day in it.
        assert!(takes(&made, "localhost", START + 731 * DAY));
        assert!(!takes(&made, "localhost", START + 731 * DAY + 1));
    }

    #[test]
    fn what_is_no_name_or_no_day_is_refused() {
        for name in [
            "",
            "a b",
            "-",
            "*",
            "*.",
            "a..b",
            "https://a",
            "1.2.3.4.5",
            "ä",
        ] {
            let error = generate(&[name], (2024, 1, 1))
                .err()
                .map(|error| error.to_string());
            assert!(
                error.is_some_and(|error| error.contains(&format!("{name:?}"))),
                "{name}"
            );
        }
        for day in [
            (2024, 0, 1),
            (2024, 13, 1),
            (2024, 1, 0),
            (2024, 1, 32),
            (1969, 1, 1),
        ] {
            assert!(generate(&[], day).is_err(), "{day:?}");
        }
        assert!(generate(&["localhost", "::1"], (2024, 12, 31)).is_ok());
    }
}
