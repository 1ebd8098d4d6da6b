//! The PROXY protocol, version 2: a load balancer's word on who opened the connection.
//!
//! Binary and of stated length, so that it is read exactly, within a bound, before any byte of TLS.
//! The text of version 1 is refused: it has no length, and nothing that needs it is left.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, §2.2.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and extensions together: more than any balancer sends, less than anyone need hold.
const LONGEST: u16 = 2048;

/// Why a header was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The connection ended or broke within it.
    #[error("the PROXY header did not arrive whole")]
    Io(#[from] io::Error),
    /// Something else than a version 2 header.
    #[error("not a PROXY header of version 2")]
    NotVersion2,
    /// Its length is past the bound, or less than its addresses take.
    #[error("a PROXY header of {0} bytes")]
    Length(u16),
    /// A command other than LOCAL and PROXY, or a family other than TCP over IPv4 and IPv6.
    #[error("a PROXY header of a kind that is not taken")]
    Kind,
}

/// Reads the header: the client's address, or `None` when the balancer speaks for itself (LOCAL).
///
/// Reads not a byte past it.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, Error> {
    let mut signature = [0; 12];
    stream.read_exact(&mut signature).await?;
    if signature != SIGNATURE {
        return Err(Error::NotVersion2);
    }
    let [version_and_command, family] = {
        let mut kind = [0; 2];
        stream.read_exact(&mut kind).await?;
        kind
    };
    let length = stream.read_u16().await?;
    if length > LONGEST {
        return Err(Error::Length(length));
    }
    let mut rest = vec![0; usize::from(length)];
    stream.read_exact(&mut rest).await?;
    match (version_and_command, family) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) => v4(&rest).ok_or(Error::Length(length)).map(Some),
        (0x21, 0x21) => v6(&rest).ok_or(Error::Length(length)).map(Some),
        (0x21, _) => Err(Error::Kind),
        (other, _) if other & 0xF0 == 0x20 => Err(Error::Kind),
        _ => Err(Error::NotVersion2),
    }
}

/// Source and destination, 4 bytes each, then two ports.
fn v4(rest: &[u8]) -> Option<IpAddr> {
    let source: [u8; 4] = *rest.get(..12)?.first_chunk()?;
    Some(Ipv4Addr::from(source).into())
}

/// Source and destination, 16 bytes each, then two ports.
fn v6(rest: &[u8]) -> Option<IpAddr> {
    let source: [u8; 16] = *rest.get(..36)?.first_chunk()?;
    Some(IpAddr::from(Ipv6Addr::from(source)).to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap();
        [&SIGNATURE[..], &kind, &length.to_be_bytes(), rest].concat()
    }

    async fn parse(bytes: &[u8]) -> Result<(Option<IpAddr>, Vec<u8>), Error> {
        let mut stream = bytes;
        let found = read(&mut stream).await?;
        Ok((found, stream.to_vec()))
    }

    #[tokio::test]
    async fn reads_both_families_and_leaves_what_follows() {
        let v4 = [192, 0, 2, 43, 10, 0, 0, 1, 0x12, 0x34, 0x01, 0xBB];
        let mut bytes = header([0x21, 0x11], &v4);
        bytes.extend(b"\x16\x03\x01");
        let (found, left) = parse(&bytes).await.unwrap();
        assert_eq!(
            (found.unwrap().to_string().as_str(), &*left),
            ("192.0.2.43", &b"\x16\x03\x01"[..])
        );

        let source: Ipv6Addr = "2001:db8::17".parse().unwrap();
        let v6 = [
            &source.octets()[..],
            &[0; 16],
            &[0, 1, 0, 2],
            &[0x04, 0, 1, 0],
        ]
        .concat();
        let (found, left) = parse(&header([0x21, 0x21], &v6)).await.unwrap();
        assert_eq!((found, left.len()), (Some(source.into()), 0));
    }

    #[tokio::test]
    async fn a_local_command_names_nobody() {
        let (found, _) = parse(&header([0x20, 0x00], &[])).await.unwrap();
        assert_eq!(found, None);
    }

    #[tokio::test]
    async fn refuses_version_1_other_kinds_and_wrong_lengths() {
        assert!(matches!(
            parse(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n").await,
            Err(Error::NotVersion2)
        ));
        assert!(matches!(
            parse(&header([0x11, 0x11], &[0; 12])).await,
            Err(Error::NotVersion2)
        ));
        for kind in [[0x21, 0x12], [0x21, 0x31], [0x21, 0x00], [0x22, 0x11]] {
            assert!(matches!(
                parse(&header(kind, &[0; 216])).await,
                Err(Error::Kind)
            ));
        }
        assert!(matches!(
            parse(&header([0x21, 0x11], &[0; 11])).await,
            Err(Error::Length(11))
        ));
        assert!(matches!(
            parse(&header([0x21, 0x21], &[0; 2049])).await,
            Err(Error::Length(2049))
        ));
    }

    proptest! {
        #[test]
        fn no_input_panics_or_reads_past_its_length(bytes: Vec<u8>, signed: bool) {
            let bytes = if signed { [&SIGNATURE[..], &bytes].concat() } else { bytes };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(parse(&bytes));
        }
    }
}
