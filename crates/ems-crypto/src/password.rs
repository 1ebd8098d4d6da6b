//! Passwords: Argon2id (RFC 9106) with OWASP's 19 MiB, two passes, one lane. And bcrypt, only to
//! honour the security guide's key file.

use std::{fmt, sync::OnceLock};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use data_encoding::BASE64_NOPAD;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Error, Result, random};

/// A password, or another secret text. Wiped from memory when dropped; prints nothing of itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Password(String);

impl Password {
    /// Takes a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A new random password: 24 characters of base62 in groups of six, 142 bits.
    pub fn generate() -> Self {
        let mut text = String::with_capacity(27);
        for group in 0..4 {
            if group > 0 {
                text.push('-');
            }
            text.push_str(&random::base62(6));
        }
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Memory in KiB, passes, lanes.
const COST: (u32, u32, u32) = (19_456, 2, 1);

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(COST.0, COST.1, COST.2, None).map_err(library)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn library(error: impl fmt::Display) -> Error {
    Error::Library(error.to_string())
}

/// Hashes a password into PHC text. Takes some 40 ms and 19 MiB: bound how many run at once.
///
/// # Errors
/// [`Error::Library`] where memory is short.
pub fn hash(password: &Password) -> Result<String> {
    let salt: [u8; 16] = random::bytes();
    let hash = argon2()?
        .hash_password_with_salt(password.0.as_bytes(), &salt)
        .map_err(library)?;
    Ok(hash.to_string())
}

/// Whether a password is the hashed one. Takes as long as [`hash`].
pub fn verify(password: &Password, phc: &str) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else {
        return false;
    };
    argon2().is_ok_and(|argon2| argon2.verify_password(password.0.as_bytes(), &hash).is_ok())
}

/// The hash of a password that nobody knows: what an unknown user's password is verified against,
/// so that it takes the same time.
///
/// Salt and hash are random text of the right form: hashing a random password instead would make
/// the first unknown user twice as slow as the next.
pub fn dummy_hash() -> &'static str {
    static DUMMY: OnceLock<String> = OnceLock::new();
    DUMMY.get_or_init(|| {
        let (memory, passes, lanes) = COST;
        let salt = BASE64_NOPAD.encode(&random::bytes::<16>());
        let hash = BASE64_NOPAD.encode(&random::bytes::<32>());
        format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
    })
}

/// Whether a text has the form of a bcrypt hash.
pub fn is_bcrypt(hash: &str) -> bool {
    hash.parse::<bcrypt::HashParts>().is_ok()
}

/// Whether a secret is the one that was hashed by bcrypt. More than 72 bytes, which bcrypt does not
/// see, are never the one. Slow by design: bound how many run at once.
pub fn verify_bcrypt(secret: &str, hash: &str) -> bool {
    bcrypt::non_truncating_verify(secret, hash).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_password_and_no_other() {
        let password = Password::new("correct horse battery".into());
        let phc = hash(&password).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify(&password, &phc));
        assert!(!verify(
            &Password::new("correct horse batterz".into()),
            &phc
        ));
        assert!(!verify(&password, "nonsense"));
        assert_ne!(hash(&password).unwrap(), phc, "the salt is random");
    }

    #[test]
    fn the_dummy_hash_is_worked_through_as_any_other() {
        let real = hash(&Password::generate()).unwrap();
        let (real, dummy) = (
            PasswordHash::new(&real).unwrap(),
            PasswordHash::new(dummy_hash()).unwrap(),
        );
        assert_eq!(
            (dummy.algorithm, dummy.version, &dummy.params),
            (real.algorithm, real.version, &real.params)
        );
        let length = |hash: &PasswordHash| hash.hash.map(|hash| hash.as_bytes().len());
        assert_eq!(length(&dummy), length(&real));
        assert_eq!(
            argon2().unwrap().verify_password(b"guess", &dummy),
            Err(argon2::password_hash::Error::PasswordInvalid),
            "not refused for its form, which would cost nothing"
        );
    }

    #[test]
    fn a_hash_made_by_another_program_is_known() {
        // Made apart, by OpenSSL's Argon2id, with the salt "somesaltsomesalt".
        let phc = concat!(
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$",
            "/HetJC6LZ4lnwgLB+wJSS2a9bFu2Kq4HxwNWzoJq2qU"
        );
        assert!(verify(&Password::new("correct horse battery".into()), phc));
        assert!(!verify(&Password::new("correct horse batter".into()), phc));
    }

    #[test]
    fn a_generated_password_has_the_stated_form() {
        let password = Password::generate();
        assert_eq!(password.expose().len(), 27);
        assert!(password.expose().split('-').all(|group| group.len() == 6));
        assert_eq!(format!("{password:?}"), "Password(…)");
    }

    #[test]
    fn bcrypt_hashes_of_others_are_honoured() {
        // From the test vectors of OpenBSD's and John the Ripper's bcrypt.
        let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert!(is_bcrypt(hash) && !is_bcrypt("plain"));
        assert!(verify_bcrypt("U*U", hash) && !verify_bcrypt("U*V", hash));
        assert!(!verify_bcrypt(&"a".repeat(73), hash));
    }
}
