//! Randomness, from the operating system through the provider's generator.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

pub(crate) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random bytes.
#[expect(
    clippy::expect_used,
    reason = "a machine without randomness must seal and issue nothing"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives randomness");
    bytes
}

/// `length` random characters of `[0-9A-Za-z]`, each equally likely: 5.95 bits a character.
pub fn base62(length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        for byte in bytes::<64>() {
            // 248 = 4 × 62: a byte beyond would make some characters likelier.
            if let Some(character) = BASE62
                .get(usize::from(byte % 62))
                .filter(|_| byte < 248 && text.len() < length)
            {
                text.push(char::from(*character));
            }
        }
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
