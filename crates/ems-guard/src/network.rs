//! What one subscriber has, and so what is counted, blocked and banned as one: an IPv4 address, an
//! IPv6 /64; and the /48 above it, which is what one customer of a provider may have at most.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// One subscriber's addresses. Its text is `192.0.2.1`, `2001:db8:1:2::/64` or `2001:db8:1::/48`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network of the kinds that are counted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has to be an IPv4 address, or an IPv6 address, /64 or /48")]
pub struct NoNetwork;

impl Network {
    /// The subscriber that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address @ IpAddr::V4(_) => Self {
                address,
                prefix: 32,
            },
            IpAddr::V6(address) => Self::cut(address, 64),
        }
    }

    /// The /48 around an IPv6 /64; `None` for anything else.
    pub fn wider(self) -> Option<Self> {
        match self.address {
            IpAddr::V6(address) if self.prefix == 64 => Some(Self::cut(address, 48)),
            _ => None,
        }
    }

    /// The networks that an address is in, the narrowest first.
    pub fn around(address: IpAddr) -> impl Iterator<Item = Self> {
        let narrow = Self::of(address);
        [Some(narrow), narrow.wider()].into_iter().flatten()
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    fn cut(address: Ipv6Addr, prefix: u8) -> Self {
        let mask = u128::MAX << (128 - u32::from(prefix));
        let address = Ipv6Addr::from_bits(address.to_bits() & mask);
        Self {
            address: address.into(),
            prefix,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/{}", self.prefix),
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let narrow = Self::of(address);
        match prefix {
            None => Ok(narrow),
            Some("32") if narrow.address.is_ipv4() => Ok(narrow),
            Some("64") if narrow.address.is_ipv6() => Ok(narrow),
            Some("48") => narrow.wider().ok_or(NoNetwork),
            Some(_) => Err(NoNetwork),
        }
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(address: &str) -> Vec<String> {
        Network::around(address.parse().unwrap())
            .map(String::from)
            .collect()
    }

    #[test]
    fn a_64_network_is_one_caller_and_a_mapped_address_is_its_v4() {
        assert_eq!(
            texts("2001:db8:1:2:3::4"),
            ["2001:db8:1:2::/64", "2001:db8:1::/48"]
        );
        assert_eq!(texts("192.0.2.1"), ["192.0.2.1"]);
        assert_eq!(texts("::ffff:192.0.2.1"), ["192.0.2.1"]);
    }

    #[test]
    fn its_text_reads_back_and_other_texts_are_none() {
        for text in ["192.0.2.1", "2001:db8:1:2::/64", "2001:db8:1::/48"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        let one = "2001:db8:1:2::9".parse::<Network>().unwrap();
        assert_eq!(one.to_string(), "2001:db8:1:2::/64");
        for text in [
            "",
            "192.0.2.0/24",
            "2001:db8::/32",
            "192.0.2.1/64",
            "ems",
            "192.0.2.1/48",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }
}
