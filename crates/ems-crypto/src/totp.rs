//! One-time codes by time (TOTP, RFC 6238): SHA-1, steps of 30 seconds, 6 digits, as every
//! authenticator app has them; and the recovery codes that stand in where the app is lost.
//!
//! HMAC-SHA-1 is sound for this: its weakness is in collisions, which a code does not rest on.

use std::fmt::{self, Write as _};

use aws_lc_rs::hmac;
use data_encoding::{BASE32, BASE32_NOPAD};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Error, api_key::Pepper, hash::constant_time_eq, random};

/// Seconds of a step.
pub const STEP_SECONDS: u64 = 30;
/// Digits of a code.
pub const DIGITS: usize = 6;
/// Bytes of a secret: 160 bits, the length of the hash (RFC 4226 §4, R6).
const SECRET: usize = 20;

/// The secret that a user's authenticator shares. Wiped from memory when dropped; prints nothing of
/// itself, and is Base32 (RFC 4648) in a record.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TotpSecret([u8; SECRET]);

impl TotpSecret {
    /// A new random secret.
    pub fn generate() -> Self {
        Self(random::bytes())
    }

    /// The secret in Base32, to be typed into an authenticator.
    pub fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32.encode(&self.0))
    }

    /// The address that authenticators read from a picture, for an account at an issuer.
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let (issuer, account) = (escaped(issuer), escaped(account));
        let secret = self.base32();
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}\
             &algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}",
            *secret
        ))
    }

    /// The code of an instant, in seconds since 1970.
    pub fn code(&self, now: u64) -> Zeroizing<String> {
        self.hotp(now / STEP_SECONDS)
    }

    /// The step that a code belongs to: that of an instant (seconds since 1970), the one before or
    /// the one after, as clocks differ, and later than `spent`. Compares with all three in constant
    /// time.
    pub fn step_of(&self, code: &str, now: u64, spent: u64) -> Option<u64> {
        let step = now / STEP_SECONDS;
        let mut found = None;
        for candidate in [step.saturating_sub(1), step, step.saturating_add(1)] {
            let right = constant_time_eq(self.hotp(candidate).as_bytes(), code.as_bytes());
            if right && candidate > spent && found.is_none() {
                found = Some(candidate);
            }
        }
        found
    }

    /// RFC 4226 §5.3.
    fn hotp(&self, counter: u64) -> Zeroizing<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &counter.to_be_bytes());
        let bytes = tag.as_ref();
        let offset = usize::from(bytes.last().map_or(0, |byte| byte & 0x0f));
        let part = bytes.get(offset..).and_then(<[u8]>::first_chunk::<4>);
        let number = part.map_or(0, |part| u32::from_be_bytes(*part) & 0x7fff_ffff);
        Zeroizing::new(format!("{:0DIGITS$}", number % 1_000_000))
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// In constant time.
impl PartialEq for TotpSecret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for TotpSecret {}

impl From<TotpSecret> for String {
    fn from(secret: TotpSecret) -> Self {
        BASE32.encode(&secret.0)
    }
}

impl TryFrom<String> for TotpSecret {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let bytes = Zeroizing::new(BASE32.decode(text.as_bytes()).unwrap_or_default());
        let bytes = bytes.as_slice().try_into();
        bytes
            .map(Self)
            .map_err(|_| Error::Form("a secret of one-time codes is 20 bytes in Base32"))
    }
}

/// What stands for itself in an address (RFC 3986 §2.3), the rest by its bytes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Bytes of a recovery code: 80 bits.
const RECOVERY: usize = 10;
/// Characters of its groups.
const GROUP: usize = 4;

/// A recovery code: four groups of four characters of Base32. Wiped from memory when dropped;
/// prints nothing of itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryCode(String);

impl RecoveryCode {
    /// A new random code.
    pub fn generate() -> Self {
        let bytes = Zeroizing::new(random::bytes::<RECOVERY>());
        Self(BASE32_NOPAD.encode(bytes.as_slice()))
    }

    /// Reads a code, however its letters are written and grouped; `None` for a text that is none.
    pub fn parse(text: &str) -> Option<Self> {
        // Room for all of it at once: a text that grows leaves copies behind.
        let mut code = Self(String::with_capacity(text.len()));
        code.0.extend(
            text.chars()
                .filter(|c| *c != '-')
                .map(|c| c.to_ascii_uppercase()),
        );
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(code.0.as_bytes()).ok()?);
        (bytes.len() == RECOVERY).then_some(code)
    }

    /// The code as it is shown, once.
    pub fn shown(&self) -> Zeroizing<String> {
        let mut shown = Zeroizing::new(String::with_capacity(self.0.len() + 3));
        for (at, character) in self.0.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                shown.push('-');
            }
            shown.push(character.to_ascii_lowercase());
        }
        shown
    }

    /// What is stored of a user's code: a keyed hash under the pepper.
    pub fn hash(&self, pepper: &Pepper, username: &str) -> Vec<u8> {
        pepper.hash("recovery code", &self.bound(username))
    }

    /// Whether it is the user's stored one, in constant time.
    pub fn matches(&self, pepper: &Pepper, username: &str, stored: &[u8]) -> bool {
        pepper.matches("recovery code", &self.bound(username), stored)
    }

    fn bound(&self, username: &str) -> Zeroizing<Vec<u8>> {
        // A user's name holds no zero.
        Zeroizing::new([username.as_bytes(), b"\0", self.0.as_bytes()].concat())
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc() -> TotpSecret {
        TotpSecret(*b"12345678901234567890")
    }

    /// RFC 4226, appendix D.
    #[test]
    fn agrees_with_the_counter_codes_of_rfc_4226() {
        for (counter, code) in (0..).zip([
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ]) {
            assert_eq!(*rfc().hotp(counter), code, "{counter}");
        }
    }

    /// RFC 6238, appendix B, the last six of its eight digits.
    #[test]
    fn agrees_with_the_time_codes_of_rfc_6238() {
        for (now, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(*rfc().code(now), code[2..], "{now}");
        }
    }

    #[test]
    fn takes_the_steps_beside_and_none_that_was_spent() {
        let (secret, now) = (rfc(), 1_111_111_111);
        let step = now / STEP_SECONDS;
        let code = |step: u64| secret.code(step * STEP_SECONDS);
        for taken in [step - 1, step, step + 1] {
            assert_eq!(secret.step_of(&code(taken), now, 0), Some(taken));
            assert_eq!(secret.step_of(&code(taken), now, taken), None);
        }
        for refused in [step - 2, step + 2] {
            assert_eq!(secret.step_of(&code(refused), now, 0), None);
        }
        for wrong in ["", "05047", "0504711", "٠٥٠٤٧١", "50471"] {
            assert_eq!(secret.step_of(wrong, now, 0), None, "{wrong}");
        }
    }

    #[test]
    fn is_base32_in_records_and_in_the_address_and_nowhere_else() {
        let secret = rfc();
        // Worked out apart, with Python's base64.b32encode.
        let text = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        assert_eq!(
            serde_json::to_string(&secret).unwrap(),
            format!("\"{text}\"")
        );
        let back: TotpSecret = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        assert!(back == secret && secret != TotpSecret::generate());
        assert!(serde_json::from_str::<TotpSecret>("\"GEZDGNBV\"").is_err());
        assert_eq!(
            *secret.uri("EMS Agent", "alice@example.org"),
            format!(
                "otpauth://totp/EMS%20Agent:alice%40example.org?secret={text}\
                 &issuer=EMS%20Agent&algorithm=SHA1&digits=6&period=30"
            )
        );
        assert_eq!(format!("{secret:?}"), "TotpSecret(…)");
    }

    #[test]
    fn a_recovery_code_is_known_however_it_is_written_and_only_to_its_user() {
        let pepper = Pepper::parse("1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        let code = RecoveryCode::generate();
        let shown = code.shown();
        assert_eq!((shown.len(), shown.matches('-').count()), (19, 3));
        let stored = code.hash(&pepper, "alice");
        for text in [
            shown.to_string(),
            shown.to_uppercase(),
            shown.replace('-', ""),
        ] {
            let read = RecoveryCode::parse(&text).unwrap();
            assert!(read.matches(&pepper, "alice", &stored), "{text}");
            assert!(!read.matches(&pepper, "bob", &stored));
        }
        assert!(!RecoveryCode::generate().matches(&pepper, "alice", &stored));
        assert!(!code.matches(&pepper, "alice", &stored[1..]));
        for none in [
            "",
            "123456",
            "aaaa-aaaa-aaaa",
            "aaaa-aaaa-aaaa-aaa1",
            "aaaaaaaaaaaaaaaaa",
        ] {
            assert!(RecoveryCode::parse(none).is_none(), "{none}");
        }
        assert_eq!(format!("{code:?}"), "RecoveryCode(…)");
    }
}
