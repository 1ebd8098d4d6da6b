//! The local certificate authority of a fresh instance, and its first server certificate.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use zeroize::Zeroizing;

use crate::{Error, Result};

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

/// Makes an authority (good for ten years) and a server certificate (825 days at most) for
/// `localhost`, the loopback addresses and `names`. `(year, month, day)` is today.
///
/// # Errors
/// [`Error::Library`] where a name is no host name.
pub fn generate(names: &[&str], (year, month, day): (i32, u8, u8)) -> Result<Generated> {
    let library = |error: rcgen::Error| Error::Library(error.to_string());
    // The 29th of February has no date in most other years.
    let day = day.min(28);
    let mut authority = CertificateParams::new(Vec::new()).map_err(library)?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "EMS Agent local authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.not_before = date_time_ymd(year, month, day);
    authority.not_after = date_time_ymd(year + 10, month, day);
    let ca_key = KeyPair::generate().map_err(library)?;
    let ca = authority.self_signed(&ca_key).map_err(library)?;

    let all = ["localhost", "127.0.0.1", "::1"]
        .iter()
        .chain(names)
        .map(|name| (*name).to_owned());
    let mut server = CertificateParams::new(all.collect::<Vec<_>>()).map_err(library)?;
    server
        .distinguished_name
        .push(DnType::CommonName, "EMS Agent");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    server.not_before = date_time_ymd(year, month, day);
    server.not_after = date_time_ymd(year + 2, month, day);
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
