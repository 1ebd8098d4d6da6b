//! Access tokens: JSON Web Tokens (RFC 7519) of the profile RFC 9068 (`at+jwt`), by RFC 8725's rules.
//!
//! The algorithm is fixed by configuration and never taken from the token; header and claims have
//! one exact form; the key is found by `kid` among our own. Times are compared with a clock that is
//! given. Whether a token was ever issued, and is still wanted, is asked elsewhere by its `jti`.

use std::{fmt, path::Path};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    Error, Result,
    hash::{Sha256, sha256, to_array},
    random,
    secret_file::write_new_secret_file,
};

/// Longer than any token of ours: what is longer is refused unread.
const LONGEST: usize = 4096;

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-256 with a shared secret: the security guide's.
    Hs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
        }
    }

    fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// What a token says. Times are whole seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Whose it is.
    pub sub: String,
    /// The role at the time of issue; a decision asks the account, not this.
    pub role: String,
    /// When it was issued.
    pub iat: u64,
    /// From when on it is no longer good.
    pub exp: u64,
    /// From when on it is good.
    pub nbf: u64,
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: String,
    /// Its own name.
    pub jti: String,
}

/// Why a token is refused: for the log. Outside they all look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a token of our form.
    #[error("not a token of our form")]
    Malformed,
    /// Signed by another algorithm, or none.
    #[error("signed by another algorithm, or none")]
    WrongAlgorithm,
    /// Not an access token.
    #[error("not an access token")]
    WrongType,
    /// Signed with a key that is not ours.
    #[error("signed with a key that is not ours")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    BadSignature,
    /// No longer good.
    #[error("expired")]
    Expired,
    /// Not good yet.
    #[error("not valid yet")]
    NotYetValid,
    /// Another issuer's.
    #[error("another issuer's")]
    WrongIssuer,
    /// For another audience.
    #[error("for another audience")]
    WrongAudience,
}

/// Who must have issued a token, and for whom.
#[derive(Debug, Clone)]
pub struct Expect {
    /// The issuer.
    pub issuer: String,
    /// The audience.
    pub audience: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

struct Key {
    kid: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// The keys of an algorithm: the first signs, all verify, so that keys rotate without logging
/// anyone out.
pub struct TokenKeys {
    algorithm: Algorithm,
    current: Key,
    previous: Vec<Key>,
    /// What the library checks: the algorithm and the signature. The rest is checked here.
    validation: Validation,
}

impl TokenKeys {
    /// Takes secrets: for HS256 at least 32 bytes each, for EdDSA PKCS #8 in DER (RFC 8410).
    ///
    /// # Errors
    /// [`Error::Form`].
    pub fn new(
        algorithm: Algorithm,
        current: &[u8],
        previous: &[Zeroizing<Vec<u8>>],
    ) -> Result<Self> {
        let previous = previous
            .iter()
            .map(|secret| key(algorithm, secret))
            .collect::<Result<_>>()?;
        let mut validation = Validation::new(algorithm.library());
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        Ok(Self {
            algorithm,
            current: key(algorithm, current)?,
            previous,
            validation,
        })
    }

    /// Reads the content of a token key file: a line of Base64 a key, the signing one first. EdDSA
    /// keys may also be blocks of PEM, as `openssl genpkey -algorithm ed25519` makes them.
    ///
    /// # Errors
    /// [`Error::Form`]: nothing of the text is repeated.
    pub fn parse_file(text: &str) -> Result<Vec<Zeroizing<Vec<u8>>>> {
        if text.contains("-----BEGIN") {
            return parse_pem(text);
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Result<Vec<_>, _> = lines
            .map(|line| BASE64.decode(line.as_bytes()).map(Zeroizing::new))
            .collect();
        keys.ok()
            .filter(|keys| !keys.is_empty())
            .ok_or(Error::Form("a token key file has a line of Base64 a key"))
    }

    /// Writes a new random HS256 key to a new file of mode 0600; durable when it returns.
    ///
    /// # Errors
    /// [`Error::Io`], also where the file exists.
    pub fn write_new(path: &Path) -> Result<()> {
        let secret = Zeroizing::new(random::bytes::<48>());
        let secret = Zeroizing::new(BASE64.encode(secret.as_slice()));
        let line = Zeroizing::new([secret.as_str(), "\n"].concat());
        write_new_secret_file(path, line.as_bytes())
    }

    /// Signs claims.
    ///
    /// # Errors
    /// [`Error::Library`].
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        let mut header = Header::new(self.algorithm.library());
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.current.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.current.encoding)
            .map_err(|error| Error::Library(error.to_string()))
    }

    /// Verifies a token at an instant (seconds since 1970). No leeway: we issue and verify by one
    /// clock.
    ///
    /// # Errors
    /// The first fault found.
    pub fn verify(&self, token: &str, now: u64, expect: &Expect) -> Result<Claims, TokenFault> {
        if token.len() > LONGEST {
            return Err(TokenFault::Malformed);
        }
        let key = self.key_of(token)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation);
        let claims = decoded.map_err(|error| fault_of(error.kind()))?.claims;
        check(&claims, now, expect)?;
        Ok(claims)
    }

    /// The key that the strictly read header names.
    fn key_of(&self, token: &str) -> Result<&Key, TokenFault> {
        let (header, _) = token.split_once('.').ok_or(TokenFault::Malformed)?;
        let header = BASE64URL_NOPAD
            .decode(header.as_bytes())
            .map_err(|_| TokenFault::Malformed)?;
        let header: StrictHeader =
            serde_json::from_slice(&header).map_err(|_| TokenFault::Malformed)?;
        if header.alg != self.algorithm.name() {
            return Err(TokenFault::WrongAlgorithm);
        }
        if header.typ != "at+jwt" {
            return Err(TokenFault::WrongType);
        }
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        keys.find(|key| key.kid == header.kid)
            .ok_or(TokenFault::UnknownKey)
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TokenKeys({}, {}, {} older)",
            self.algorithm.name(),
            self.current.kid,
            self.previous.len()
        )
    }
}

fn key(algorithm: Algorithm, secret: &[u8]) -> Result<Key> {
    match algorithm {
        Algorithm::Hs256 if secret.len() < 32 => {
            Err(Error::Form("a token secret has at least 32 bytes"))
        }
        Algorithm::Hs256 => Ok(Key {
            kid: kid_of_secret(secret),
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        }),
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(secret)
                .map_err(|_| Error::Form("an EdDSA key is PKCS #8 in DER"))?;
            let public = pair.public_key().as_ref();
            // RFC 7638 over the required members, in their order.
            let jwk = format!(
                r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
                BASE64URL_NOPAD.encode(public)
            );
            Ok(Key {
                kid: BASE64URL_NOPAD.encode(&sha256(jwk.as_bytes())),
                encoding: EncodingKey::from_ed_der(secret),
                decoding: DecodingKey::from_ed_der(public),
            })
        }
    }
}

/// 64 bits of a hash of the secret: enough to tell our few keys apart, too little to find it by.
fn kid_of_secret(secret: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"ems kid");
    hash.update(secret);
    HEXLOWER.encode(&to_array::<8>(&hash.finish()))
}

fn parse_pem(text: &str) -> Result<Vec<Zeroizing<Vec<u8>>>> {
    PrivatePkcs8KeyDer::pem_slice_iter(text.as_bytes())
        .map(|key| key.map(|key| Zeroizing::new(key.secret_pkcs8_der().to_vec())))
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|keys| !keys.is_empty())
        .ok_or(Error::Form("a PEM token key file has PRIVATE KEY blocks"))
}

fn fault_of(kind: &jsonwebtoken::errors::ErrorKind) -> TokenFault {
    match kind {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenFault::BadSignature,
        jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => TokenFault::WrongAlgorithm,
        _ => TokenFault::Malformed,
    }
}

fn check(claims: &Claims, now: u64, expect: &Expect) -> Result<(), TokenFault> {
    if claims.iss != expect.issuer {
        return Err(TokenFault::WrongIssuer);
    }
    if claims.aud != expect.audience {
        return Err(TokenFault::WrongAudience);
    }
    if claims.nbf > now || claims.iat > now {
        return Err(TokenFault::NotYetValid);
    }
    if claims.exp <= now {
        Err(TokenFault::Expired)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
