//! Sealing, keys, passwords, tokens and certificates: the only crate of the project that names a
//! cipher, a hash, a source of randomness or a TLS library.
//!
//! One provider (AWS-LC) does all of it but Argon2 and bcrypt. Secrets live in types that do not
//! print themselves and that wipe their memory; comparisons of secrets take constant time.

pub mod api_key;
pub mod certificate;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod hash;
pub mod jwk;
pub mod keyring;
pub mod opaque;
pub mod password;
pub mod random;
pub mod seal;
mod secret_file;
pub mod set_hash;
pub mod tls;
pub mod token;
pub mod totp;

pub use error::{Error, Result};
pub use secret_file::{read_secret_file, write_new_secret_file};
