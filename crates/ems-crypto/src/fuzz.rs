//! Fuzz targets: no text passes for a credential that was not made here.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use ems_fuzz::Input;
use serde_json::Value;

use crate::{
    api_key::{ApiKey, Pepper},
    hash::Signer,
    jwk::PublicKey,
    keyring::{Keyring, RootKey},
    opaque::RefreshToken,
    token::{Algorithm, Claims, Expect, TokenKeys},
    totp::{RecoveryCode, TotpSecret},
};

const SECRET: &[u8] = b"a secret that only the tests have";
const PEPPER: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// The instant at which tokens are verified.
const NOW: u64 = 1_700_000_000;

/// What is fixed for all inputs, since it is dear or random.
struct Fixed {
    keys: TokenKeys,
    token: String,
    header: String,
    api_key: ApiKey,
    refresh: RefreshToken,
    recovery: RecoveryCode,
    totp: TotpSecret,
    pepper: Pepper,
}

#[expect(clippy::unwrap_used, reason = "what is fixed is well-formed")]
static FIXED: LazyLock<Fixed> = LazyLock::new(|| {
    let keys = TokenKeys::new(Algorithm::Hs256, SECRET, &[]).unwrap();
    let token = keys.sign(&claims()).unwrap();
    Fixed {
        header: token.split('.').next().unwrap().to_owned(),
        keys,
        token,
        api_key: ApiKey::generate(),
        refresh: RefreshToken::generate("0123456789abcdef"),
        recovery: RecoveryCode::generate(),
        totp: TotpSecret::try_from("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned()).unwrap(),
        pepper: Pepper::parse(PEPPER).unwrap(),
    }
});

fn claims() -> Claims {
    Claims {
        sub: "alice".to_owned(),
        role: "admin".to_owned(),
        iat: NOW - 10,
        exp: NOW + 10,
        nbf: NOW - 10,
        iss: "ems".to_owned(),
        aud: "ems-api".to_owned(),
        jti: "1".to_owned(),
    }
}

/// Access tokens. The first byte says: a text as it is; edits of a token of ours; claims signed with
/// our key; header and claims signed with our key. A token that is accepted is ours to the byte, or,
/// where the signature is right, says all that it must and nothing else.
///
/// # Panics
/// Where that does not hold.
pub fn token(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte() % 4;
    let signed = |header: &str, claims: &[u8]| {
        let message = [header, ".", &BASE64URL_NOPAD.encode(claims)].concat();
        let signature = Signer::new(SECRET).sign(&[message.as_bytes()]);
        [&message, ".", &BASE64URL_NOPAD.encode(&signature)].concat()
    };
    let (text, header, said) = match kind {
        0 => (lossy(input.rest()), FIXED.header.clone(), &[][..]),
        1 => (edited(&FIXED.token, input), FIXED.header.clone(), &[][..]),
        2 => {
            let said = input.rest();
            (signed(&FIXED.header, said), FIXED.header.clone(), said)
        }
        _ => {
            let header = BASE64URL_NOPAD.encode(input.line().unwrap_or_default());
            let said = input.rest();
            (signed(&header, said), header, said)
        }
    };
    let expect = Expect {
        issuer: "ems".to_owned(),
        audience: "ems-api".to_owned(),
    };
    let Ok(found) = FIXED.keys.verify(&text, NOW, &expect) else {
        assert!(text != FIXED.token, "our own token is accepted");
        return;
    };
    if kind < 2 {
        assert_eq!(text, FIXED.token, "a token that nobody signed");
        return;
    }
    assert!(found.nbf <= NOW && found.iat <= NOW && NOW < found.exp);
    assert_eq!((&*found.iss, &*found.aud), ("ems", "ems-api"));
    let bytes = BASE64URL_NOPAD.decode(header.as_bytes());
    let header: Option<Value> = bytes
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let alg = header.as_ref().and_then(|header| header.get("alg"));
    let typ = header.as_ref().and_then(|header| header.get("typ"));
    assert!(alg.is_some_and(|alg| alg == "HS256") && typ.is_some_and(|typ| typ == "at+jwt"));
    // What was said is what was understood, member by member.
    let said: Option<Value> = serde_json::from_slice(said).ok();
    assert_eq!(said, serde_json::to_value(found).ok());
}

/// API keys, refresh tokens, recovery and one-time codes: the first byte says which, and whether a
/// text stands as it is or edits one of ours. One is accepted only where it is ours to the letter;
/// of one-time codes those of three steps are, each once.
///
/// # Panics
/// Where that does not hold.
pub fn credential(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let shown = FIXED.recovery.shown();
    let own = match kind % 4 {
        0 => FIXED.api_key.expose(),
        1 => FIXED.refresh.expose(),
        _ => shown.as_str(),
    };
    let text = match kind & 4 {
        0 => lossy(input.rest()),
        _ => edited(own, input),
    };
    if let Some(key) = ApiKey::parse(&text) {
        assert!(key.expose() == text && text.contains(key.id()));
        let stored = FIXED.api_key.hash(&FIXED.pepper);
        let same = text == FIXED.api_key.expose();
        assert_eq!(key.matches(&FIXED.pepper, &stored), same);
        assert!(!key.matches(&FIXED.pepper, text.as_bytes()));
    }
    if let Some(token) = RefreshToken::parse(&text) {
        assert!(token.expose() == text && text.contains(token.session_id()));
        assert_eq!(
            token.matches(&FIXED.refresh.hash()),
            text == FIXED.refresh.expose()
        );
    }
    if let Some(code) = RecoveryCode::parse(&text) {
        let stored = FIXED.recovery.hash(&FIXED.pepper, "alice");
        let same = code.shown() == shown;
        assert_eq!(code.matches(&FIXED.pepper, "alice", &stored), same);
        assert!(!code.matches(&FIXED.pepper, "bob", &stored));
    }
    for now in [0, NOW, u64::MAX] {
        let Some(step) = FIXED.totp.step_of(&text, now, 0) else {
            continue;
        };
        assert_eq!(*FIXED.totp.code(step.saturating_mul(30)), text);
        assert!(step.abs_diff(now / 30) <= 1);
        assert_ne!(FIXED.totp.step_of(&text, now, step), Some(step));
    }
}

/// Texts of keys: secret files, peppers, root keys, published keys of others, and the keyring's file.
/// What is read can be used; a keyring that opens is one that was written.
///
/// # Panics
/// Where that does not hold.
pub fn key_file(data: &[u8]) {
    let text = lossy(data);
    for key in TokenKeys::parse_file(&text).into_iter().flatten() {
        for algorithm in [Algorithm::Hs256, Algorithm::EdDsa] {
            if let Ok(keys) = TokenKeys::new(algorithm, &key, &[]) {
                assert!(keys.sign(&claims()).is_ok());
            }
        }
    }
    if let Ok(pepper) = Pepper::parse(&text) {
        let key = &FIXED.api_key;
        assert!(key.matches(&pepper, &key.hash(&pepper)));
    }
    if let Ok(root) = RootKey::parse(&text) {
        assert!(Keyring::decode(&Keyring::new(&root, 1).encode(), &root).is_ok());
    }
    if let Ok(jwk) = serde_json::from_slice::<Value>(data)
        && let Some(key) = PublicKey::of_jwk(&jwk)
    {
        for algorithm in crate::jwk::ALL {
            assert!(!key.verify(algorithm, b"a message that nobody signed", data));
        }
    }
    keyring(data);
}

/// A keyring's file: none opens that was not written, and edits never make another of it.
fn keyring(data: &[u8]) {
    static RING: LazyLock<(RootKey, Vec<u8>)> = LazyLock::new(|| {
        let root = RootKey::generate();
        let file = Keyring::new(&root, 1).encode();
        (root, file)
    });
    let (root, file) = &*RING;
    assert!(Keyring::decode(data, root).is_err());
    let mut other = file.clone();
    edit(&mut other, Input::new(data));
    assert!(Keyring::decode(&other, root).is_err() || other == *file);
}

fn lossy(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// A text of ours with a few edits.
fn edited(text: &str, input: Input<'_>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    edit(&mut bytes, input);
    lossy(&bytes)
}

/// Edits of three bytes each: where, and what; at the end some bytes are added.
fn edit(bytes: &mut Vec<u8>, mut input: Input<'_>) {
    for _ in 0..input.byte() % 4 {
        let (at, kind, byte) = (usize::from(input.short()), input.byte(), input.byte());
        let at = at % (bytes.len() + 1);
        match (kind % 4, bytes.get_mut(at)) {
            (0, Some(there)) => *there ^= byte,
            (1, Some(_)) => {
                bytes.remove(at);
            }
            (2, _) => bytes.insert(at, byte),
            _ => bytes.truncate(at),
        }
    }
    bytes.extend_from_slice(input.rest());
}

#[cfg(test)]
mod tests;
