//! Where a receiver is: `scheme://host:port`, and which addresses are no receiver of a stranger's.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::{net::TcpStream, time::timeout};

/// A receiver's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) scheme: String,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Place {
    /// Reads `scheme://host:port` with one of these schemes; what is wrong otherwise.
    pub(crate) fn parse(text: &str, schemes: &[&str]) -> Result<Self, String> {
        let wrong = || {
            let forms: Vec<_> = schemes
                .iter()
                .map(|scheme| format!("{scheme}://host:port"))
                .collect();
            format!("is {text:?}: it must have the form {}", forms.join(" or "))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let is_name = |host: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (1..=253).contains(&host.len()) && host.bytes().all(plain)
        };
        let sound = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_name(host),
        };
        let port = port.parse().ok().filter(|port| *port > 0);
        match port {
            Some(port) if sound && schemes.contains(&scheme) => Ok(Self {
                scheme: scheme.to_owned(),
                host: bare.unwrap_or(host).to_owned(),
                port,
            }),
            _ => Err(wrong()),
        }
    }

    /// Whether it names this machine.
    pub(crate) fn is_this_machine(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// A connection, within a time.
    pub(crate) async fn connect(&self, within: Duration) -> io::Result<TcpStream> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(within, connecting)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// Whether an address is one of the Internet's, which nobody's own network has (the registries of
/// RFC 6890 and what they hold: private, shared, loopback, link-local, unique-local, multicast,
/// documentation, reserved), also where an IPv6 address carries an IPv4 one.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    let refused = matches!(
        octets,
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    );
    !refused
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // NAT64 and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => carried(high, low),
        // Teredo and what else is for protocols; documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, ..] => false,
        // Only this is given out.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

/// Looks names up and keeps what may be connected to. The connection goes to the addresses that
/// were looked at here, so that a name which changes meanwhile gets nowhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarded {
    pub(crate) allow_private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let place = (name.as_str(), 0);
            let found: Vec<SocketAddr> = tokio::net::lookup_host(place).await?.collect();
            let may = |address: &SocketAddr| allow_private || is_public(address.ip());
            let kept: Vec<SocketAddr> = found.into_iter().filter(may).collect();
            if kept.is_empty() {
                let why = "the receiver's name has no public address, and allow_private is false";
                return Err(why.into());
            }
            let kept: Addrs = Box::new(kept.into_iter());
            Ok(kept)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[test]
    fn addresses_of_nobodys_own_network_alone_are_public() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "8.8.8.8",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_has_no_public_address() {
        let name = || Name::from_str("localhost").unwrap();
        let guarded = |allow_private| Guarded { allow_private }.resolve(name());
        let refused = guarded(false).await.err().unwrap().to_string();
        assert!(refused.contains("no public address"), "{refused}");
        assert!(
            guarded(true)
                .await
                .unwrap()
                .all(|address| address.ip().is_loopback())
        );
    }

    #[test]
    fn a_place_has_a_scheme_a_host_and_a_port() {
        for (text, host, port) in [
            ("tls://siem.example:6514", "siem.example", 6514),
            ("tls://[2001:db8::1]:6514", "2001:db8::1", 6514),
            ("tls://192.0.2.1:1", "192.0.2.1", 1),
        ] {
            let place = Place::parse(text, &["tls"]).unwrap();
            assert_eq!((place.host.as_str(), place.port), (host, port));
            assert_eq!(place.to_string(), text);
        }
        for text in [
            "",
            "tls://",
            "tls://host",
            "udp://host:1",
            "tls://host:0",
            "tls://host:65536",
            "tls://user@host:1",
            "tls://host:1/path",
            "tls://ho st:1",
            "tls://:1",
            "tls://[host]:1",
            "tls://[::1:1",
            "tls://::1:1",
        ] {
            let refused = Place::parse(text, &["tls"]).unwrap_err();
            assert!(refused.contains("tls://host:port"), "{refused}");
        }
    }
}
