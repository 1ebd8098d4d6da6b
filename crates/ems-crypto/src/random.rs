//! Randomness, from the operating system through the provider's generator.
//!
//! Without it nothing may be sealed or issued, and no caller could do better than stop: so a
//! failing generator stops the process here, instead of being every caller's case.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroize as _;

pub(crate) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// Aborts rather than panics: a panic could be caught, and the server would go on without.
#[expect(
    clippy::print_stderr,
    reason = "the last words of a process that cannot go on"
)]
fn fill(bytes: &mut [u8]) {
    if SystemRandom::new().fill(bytes).is_err() {
        eprintln!(
            "ems: the operating system gives no randomness; stopping, as no key would be safe"
        );
        std::process::abort();
    }
}

/// `length` random characters of `[0-9A-Za-z]`, each equally likely: 5.95 bits a character.
pub fn base62(length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut pool = bytes::<32>();
        for byte in pool {
            // 248 = 4 × 62: a byte beyond would make some characters likelier.
            if let Some(character) = BASE62
                .get(usize::from(byte % 62))
                .filter(|_| byte < 248 && text.len() < length)
            {
                text.push(char::from(*character));
            }
        }
        pool.zeroize();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_has_the_length_asked_and_uses_every_character() {
        let text = base62(20_000);
        assert_eq!(text.len(), 20_000);
        for character in BASE62 {
            let count = text.bytes().filter(|byte| byte == character).count();
            // 20,000 / 62 = 322.6, standard deviation 17.8: eight of them either way.
            assert!((180..=465).contains(&count), "{count}");
        }
    }
}
