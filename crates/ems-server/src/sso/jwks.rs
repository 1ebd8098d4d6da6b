//! The keys that a provider publishes, as the protocol's library asks for them: it picks one, and
//! ems-crypto verifies, so that no cryptography of another make decides who comes in.

use ems_crypto::jwk::{JwsAlgorithm, PublicKey};
use openidconnect::{
    JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyId, SignatureVerificationError,
    core::{CoreJsonWebKeyType, CoreJsonWebKeyUse, CoreJwsSigningAlgorithm as Alg},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The algorithms that are taken: neither `none` nor a MAC.
pub(super) const TAKEN: [Alg; 9] = [
    Alg::RsaSsaPkcs1V15Sha256,
    Alg::RsaSsaPkcs1V15Sha384,
    Alg::RsaSsaPkcs1V15Sha512,
    Alg::RsaSsaPssSha256,
    Alg::RsaSsaPssSha384,
    Alg::RsaSsaPssSha512,
    Alg::EcdsaP256Sha256,
    Alg::EcdsaP384Sha384,
    Alg::EdDsa,
];

fn algorithm(alg: &Alg) -> Option<JwsAlgorithm> {
    Some(match alg {
        Alg::RsaSsaPkcs1V15Sha256 => JwsAlgorithm::Rs256,
        Alg::RsaSsaPkcs1V15Sha384 => JwsAlgorithm::Rs384,
        Alg::RsaSsaPkcs1V15Sha512 => JwsAlgorithm::Rs512,
        Alg::RsaSsaPssSha256 => JwsAlgorithm::Ps256,
        Alg::RsaSsaPssSha384 => JwsAlgorithm::Ps384,
        Alg::RsaSsaPssSha512 => JwsAlgorithm::Ps512,
        Alg::EcdsaP256Sha256 => JwsAlgorithm::Es256,
        Alg::EcdsaP384Sha384 => JwsAlgorithm::Es384,
        Alg::EdDsa => JwsAlgorithm::EdDsa,
        _ => return None,
    })
}

/// A public key of a provider. One of a kind that is not taken does not parse, and is left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub(super) struct Key {
    jwk: Value,
    members: Members,
    /// `None`: verifies nothing.
    public: Option<PublicKey>,
}

/// What says when a key is to be used.
#[derive(Debug, Clone, Deserialize)]
struct Members {
    kty: CoreJsonWebKeyType,
    kid: Option<JsonWebKeyId>,
    #[serde(rename = "use")]
    usage: Option<CoreJsonWebKeyUse>,
    alg: Option<Value>,
    #[serde(skip)]
    signs: Option<Alg>,
}

impl TryFrom<Value> for Key {
    type Error = &'static str;

    fn try_from(jwk: Value) -> Result<Self, Self::Error> {
        let public = PublicKey::of_jwk(&jwk).ok_or("a key of a kind that is not taken")?;
        let members = Members::deserialize(&jwk).map_err(|_| "no key")?;
        let signs = members.alg.clone().map(serde_json::from_value);
        let signs = signs.and_then(Result::ok);
        Ok(Self {
            jwk,
            members: Members { signs, ..members },
            public: Some(public),
        })
    }
}

impl From<Key> for Value {
    fn from(key: Key) -> Self {
        key.jwk
    }
}

impl JsonWebKey for Key {
    type KeyUse = CoreJsonWebKeyUse;
    type SigningAlgorithm = Alg;

    fn key_id(&self) -> Option<&JsonWebKeyId> {
        self.members.kid.as_ref()
    }

    fn key_type(&self) -> &CoreJsonWebKeyType {
        &self.members.kty
    }

    fn key_use(&self) -> Option<&CoreJsonWebKeyUse> {
        self.members.usage.as_ref()
    }

    fn signing_alg(&self) -> JsonWebKeyAlgorithm<&Alg> {
        match (&self.members.alg, &self.members.signs) {
            (None, _) => JsonWebKeyAlgorithm::Unspecified,
            (Some(_), Some(alg)) => JsonWebKeyAlgorithm::Algorithm(alg),
            (Some(_), None) => JsonWebKeyAlgorithm::Unsupported,
        }
    }

    /// For MACs, which are not taken: a key that verifies nothing.
    fn new_symmetric(_: Vec<u8>) -> Self {
        Self {
            jwk: Value::Null,
            members: Members {
                kty: CoreJsonWebKeyType::Symmetric,
                kid: None,
                usage: None,
                alg: None,
                signs: None,
            },
            public: None,
        }
    }

    fn verify_signature(
        &self,
        alg: &Alg,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureVerificationError> {
        let refused = |why: &str| SignatureVerificationError::CryptoError(why.to_owned());
        let (Some(public), Some(alg)) = (&self.public, algorithm(alg)) else {
            return Err(refused("an algorithm that is not taken"));
        };
        if public.verify(alg, message, signature) {
            return Ok(());
        }
        Err(refused("the signature is wrong"))
    }

    /// For hashes of access tokens, which are not used here.
    fn hash_bytes(&self, _: &[u8], _: &Alg) -> Result<Vec<u8>, String> {
        Err("no hash is made here".to_owned())
    }
}
