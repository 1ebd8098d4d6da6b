//! The corpora of the credentials' targets, played again; what the fuzzer sets out from.

use ems_fuzz::{replay, seeds};

use super::*;

const ROOT: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

#[test]
fn the_corpus_of_tokens_passes() {
    replay("token", token);
}

#[test]
fn the_corpus_of_credentials_passes() {
    replay("credential", credential);
}

#[test]
fn the_corpus_of_key_files_passes() {
    replay("key_file", key_file);
}

#[test]
fn tokens_of_ours_and_what_is_nearly_one_pass() {
    let said = serde_json::to_vec(&claims()).unwrap();
    let header = BASE64URL_NOPAD.decode(FIXED.header.as_bytes()).unwrap();
    let none = br#"{"alg":"none","typ":"at+jwt","kid":"1"}"#;
    seeds(
        "token",
        token,
        [
            [b"\0", FIXED.token.as_bytes()].concat(),
            b"\x01".to_vec(),
            b"\x01\x01\x20\0\0\x01".to_vec(),
            b"\x01\x02\x20\0\x01\0\xff\xff\x02a".to_vec(),
            [b"\x02", &*said].concat(),
            [b"\x03", &*header, b"\n", &said].concat(),
            [b"\x03", &none[..], b"\n", &said].concat(),
        ],
    );
}

#[test]
fn credentials_of_ours_and_what_is_nearly_one_pass() {
    let texts = [
        FIXED.api_key.expose().to_owned(),
        FIXED.refresh.expose().to_owned(),
        FIXED.recovery.shown().to_string(),
        FIXED.totp.code(NOW).to_string(),
    ];
    let plain = texts.iter().map(|text| [b"\0", text.as_bytes()].concat());
    let edits = (4..8_u8).flat_map(|kind| {
        [
            vec![kind],
            vec![kind, 1, 9, 0, 0, 1],
            vec![kind, 1, 9, 0, 2, b'-'],
        ]
    });
    seeds("credential", credential, plain.chain(edits));
}

#[test]
fn files_of_keys_pass() {
    let jwk = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let root = RootKey::parse(ROOT).unwrap();
    let files = [
        PEPPER.as_bytes().to_vec(),
        ROOT.as_bytes().to_vec(),
        jwk.to_vec(),
        Keyring::new(&root, 1).encode(),
        b"\x02\x10\0\0\x01\x20\0\x02a".to_vec(),
    ];
    seeds("key_file", key_file, files);
}
