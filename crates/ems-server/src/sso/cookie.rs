//! What a login has to remember until the browser comes back, in a sealed cookie of that browser:
//! nobody else can read it, make one, or bring another's.

use data_encoding::BASE64URL_NOPAD;
use ems_core::time::{SECOND, Timestamp};
use ems_crypto::{
    hash::IndexKey,
    random,
    seal::{DataKey, Sealer},
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Fault;

/// For how long a login may be under way, in microseconds.
pub(super) const LIFE: i64 = 600 * SECOND;
/// The same in seconds.
const LIFE_SECONDS: i64 = 600;
/// The longest value that is looked at, in characters.
const LONGEST: usize = 1024;
/// What the seal is bound to.
const PURPOSE: &[u8] = b"ems sso flow 1";
/// Characters of state and nonce (190 bits), and of a verifier (RFC 7636 §4.1: 43 to 128).
const NAME: usize = 32;
const VERIFIER: usize = 64;

/// A login that is under way.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Flow {
    /// Names it, in the address that the browser comes back by.
    pub(super) state: String,
    /// Names it, in the id token.
    pub(super) nonce: String,
    /// Proves that who exchanges the code is who asked for it (PKCE).
    pub(super) verifier: String,
    #[zeroize(skip)]
    until: Timestamp,
}

impl Flow {
    /// Begins one.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            state: random::base62(NAME),
            nonce: random::base62(NAME),
            verifier: random::base62(VERIFIER),
            until: now.saturating_add_micros(LIFE),
        }
    }
}

/// The cookies of an instance.
pub(super) struct Cookies {
    sealer: Sealer,
    secure: bool,
}

impl Cookies {
    /// With a key that every process of the instance has. `secure`: only over TLS.
    pub(super) fn new(key: &IndexKey, secure: bool) -> Self {
        let key = DataKey::from_bytes(key.hash("seal", b""));
        Self {
            sealer: Sealer::new(&key),
            secure,
        }
    }

    fn name(&self) -> &'static str {
        if self.secure {
            // A browser takes the prefix from this very host over TLS alone.
            "__Host-ems_sso"
        } else {
            "ems_sso"
        }
    }

    fn header(&self, value: &str, seconds: i64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = self.name();
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }

    /// The header that gives a browser a login.
    pub(super) fn set(&self, flow: &Flow) -> String {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(flow).unwrap_or_default());
        let sealed = self.sealer.seal(PURPOSE, &plain);
        self.header(&BASE64URL_NOPAD.encode(&sealed), LIFE_SECONDS)
    }

    /// The header that takes it away.
    pub(super) fn clear(&self) -> String {
        self.header("", 0)
    }

    /// The login of a browser, by its `Cookie` header.
    pub(super) fn open(&self, header: &str, now: Timestamp) -> Result<Flow, Fault> {
        let pairs = header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='));
        let mut ours = pairs.filter(|(name, _)| *name == self.name());
        let (Some((_, value)), None) = (ours.next(), ours.next()) else {
            return Err(Fault::Over("there is no cookie of it"));
        };
        let forged = || Fault::Unproven("a cookie that is none of ours".into());
        let sealed = Some(value).filter(|value| value.len() <= LONGEST);
        let sealed = sealed.and_then(|value| BASE64URL_NOPAD.decode(value.as_bytes()).ok());
        let plain = sealed.and_then(|sealed| self.sealer.open(PURPOSE, &sealed).ok());
        let plain = zeroize::Zeroizing::new(plain.ok_or_else(forged)?);
        let flow: Flow = serde_json::from_slice(&plain).map_err(|_| forged())?;
        if flow.until <= now {
            return Err(Fault::Over("it has taken too long"));
        }
        Ok(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::saturating_from_micros(seconds * SECOND)
    }

    fn cookies(secure: bool) -> Cookies {
        let key = DataKey::from_bytes([7; 32]);
        Cookies::new(&IndexKey::derive(&key, "test"), secure)
    }

    #[test]
    fn a_browser_brings_its_own_login_back_within_ten_minutes() {
        for secure in [true, false] {
            let cookies = cookies(secure);
            let flow = Flow::new(at(0));
            let header = cookies.set(&flow);
            assert!(header.contains("HttpOnly; SameSite=Lax") && header.contains("Path=/"));
            assert_eq!(header.contains("Secure"), secure);
            assert_eq!(header.starts_with("__Host-"), secure);
            assert!(!header.contains(&flow.state) && !header.contains(&flow.verifier));
            let (pair, _) = header.split_once(';').unwrap();
            let back = cookies.open(&format!("a=b; {pair}; c=d"), at(599)).unwrap();
            assert_eq!((&back.state, &back.nonce), (&flow.state, &flow.nonce));
            assert!(matches!(cookies.open(pair, at(600)), Err(Fault::Over(_))));
        }
    }

    #[test]
    fn no_other_cookie_opens() {
        let (ours, now) = (cookies(true), at(0));
        let other = Cookies::new(
            &IndexKey::derive(&DataKey::from_bytes([8; 32]), "test"),
            true,
        );
        let header = other.set(&Flow::new(now));
        let (pair, _) = header.split_once(';').unwrap();
        let whole = ours.set(&Flow::new(now));
        let (good, _) = whole.split_once(';').unwrap();
        let cut = &good[..good.len() - 2];
        let long = format!("__Host-ems_sso={}", "A".repeat(2000));
        for forged in [pair, cut, "__Host-ems_sso=", "__Host-ems_sso=!", &long] {
            assert!(
                matches!(ours.open(forged, now), Err(Fault::Unproven(_))),
                "{forged}"
            );
        }
        for none in ["", "ems_sso=x", &format!("{good}; {good}")] {
            assert!(
                matches!(ours.open(none, now), Err(Fault::Over(_))),
                "{none}"
            );
        }
    }
}
