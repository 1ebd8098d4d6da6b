//! Signatures of others: the public keys that a provider of identities publishes (JSON Web Keys,
//! RFC 7517) and the algorithms that are taken of it. Verifies only; no secret is here.
//!
//! The list is closed: neither `none` nor a MAC can be named, and a key is good for the algorithms
//! of its own kind alone, whatever the header of a token says.

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

/// An algorithm of RFC 7518 or RFC 8037 that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum JwsAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// Every algorithm that is taken.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) const ALL: [JwsAlgorithm; 9] = [
    JwsAlgorithm::Rs256,
    JwsAlgorithm::Rs384,
    JwsAlgorithm::Rs512,
    JwsAlgorithm::Ps256,
    JwsAlgorithm::Ps384,
    JwsAlgorithm::Ps512,
    JwsAlgorithm::Es256,
    JwsAlgorithm::Es384,
    JwsAlgorithm::EdDsa,
];

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA of 2048 to 8192 bits: modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
    /// A point of P-384, uncompressed.
    P384(Vec<u8>),
    /// Ed25519.
    Ed25519(Vec<u8>),
}

/// The members that a key of ours has.
#[derive(Deserialize)]
struct Members {
    kty: String,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl PublicKey {
    /// Reads the members of a JSON Web Key; `None` for a kind that is not taken.
    pub fn of_jwk(jwk: &serde_json::Value) -> Option<Self> {
        let members = Members::deserialize(jwk).ok()?;
        let bytes = |text: Option<String>| BASE64URL_NOPAD.decode(text?.as_bytes()).ok();
        match (members.kty.as_str(), members.crv.as_deref()) {
            ("RSA", _) => Some(Self::Rsa(bytes(members.n)?, bytes(members.e)?)),
            ("EC", Some("P-256")) => {
                point(&bytes(members.x)?, &bytes(members.y)?, 32).map(Self::P256)
            }
            ("EC", Some("P-384")) => {
                point(&bytes(members.x)?, &bytes(members.y)?, 48).map(Self::P384)
            }
            ("OKP", Some("Ed25519")) => bytes(members.x).map(Self::Ed25519),
            _ => None,
        }
    }

    /// Whether the signature of a message is this key's, by an algorithm of the key's own kind.
    pub fn verify(&self, algorithm: JwsAlgorithm, message: &[u8], signed: &[u8]) -> bool {
        match self {
            Self::Rsa(n, e) => rsa(algorithm).is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, signed).is_ok()
            }),
            Self::P256(point) if algorithm == JwsAlgorithm::Es256 => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signed).is_ok()
            }
            Self::P384(point) if algorithm == JwsAlgorithm::Es384 => {
                let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
                key.verify(message, signed).is_ok()
            }
            Self::Ed25519(key) if algorithm == JwsAlgorithm::EdDsa => {
                let key = UnparsedPublicKey::new(&ED25519, key);
                key.verify(message, signed).is_ok()
            }
            _ => false,
        }
    }
}

fn rsa(algorithm: JwsAlgorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        JwsAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        JwsAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        JwsAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        JwsAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        JwsAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        JwsAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        JwsAlgorithm::Es256 | JwsAlgorithm::Es384 | JwsAlgorithm::EdDsa => return None,
    })
}

/// A point of a curve in the form of SEC 1 §2.3.3.
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A token and the key it verifies under, from the standards named.
    fn examples() -> [(JwsAlgorithm, serde_json::Value, &'static str); 3] {
        [
            // RFC 7515, appendix A.2.
            (
                JwsAlgorithm::Rs256,
                json!({"kty": "RSA", "e": "AQAB", "n": concat!(
                    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1",
                    "Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSH",
                    "SXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_",
                    "I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ")}),
                concat!(
                    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcG",
                    "xlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5",
                    "RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgr",
                    "nbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkH",
                    "WEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0i",
                    "gcN_IoypGlUPQGe77Rw"
                ),
            ),
            // RFC 7515, appendix A.3.
            (
                JwsAlgorithm::Es256,
                json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                       "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
                concat!(
                    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcG",
                    "xlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8",
                    "ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
                ),
            ),
            // RFC 8037, appendix A.4.
            (
                JwsAlgorithm::EdDsa,
                json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
                concat!(
                    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09",
                    "PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
                ),
            ),
        ]
    }

    #[test]
    fn the_standards_own_tokens_verify_by_their_algorithm_and_no_other() {
        for (algorithm, jwk, token) in examples() {
            let key = PublicKey::of_jwk(&jwk).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let mut signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
            for other in ALL {
                let verified = key.verify(other, message.as_bytes(), &signature);
                assert_eq!(verified, other == algorithm, "{algorithm:?} as {other:?}");
            }
            assert!(!key.verify(algorithm, b"another message", &signature));
            assert!(!key.verify(algorithm, message.as_bytes(), b""));
            signature[7] ^= 1;
            assert!(!key.verify(algorithm, message.as_bytes(), &signature));
        }
    }

    #[test]
    fn keys_of_other_kinds_are_none() {
        for jwk in [
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "RSA", "n": "!!"}),
            json!({"kty": 7}),
            json!("RSA"),
        ] {
            assert_eq!(PublicKey::of_jwk(&jwk), None, "{jwk}");
        }
    }

    #[test]
    fn an_rsa_key_that_is_too_short_verifies_nothing() {
        let key = PublicKey::Rsa(vec![0xff; 128], vec![1, 0, 1]);
        assert!(!key.verify(JwsAlgorithm::Rs256, b"", &[0; 128]));
    }
}
