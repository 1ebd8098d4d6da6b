//! Every way a token can be wrong, each refused by its own reason.

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_700_000_000;

fn claims() -> Claims {
    Claims {
        sub: "alice".into(),
        role: "viewer".into(),
        iat: NOW,
        exp: NOW + 60,
        nbf: NOW,
        iss: "ems".into(),
        aud: "api".into(),
        jti: "s.t".into(),
    }
}

fn expect() -> Expect {
    Expect {
        issuer: "ems".into(),
        audience: "api".into(),
    }
}

fn keys() -> TokenKeys {
    TokenKeys::new(Algorithm::Hs256, &[7; 32], &[]).unwrap()
}

fn verify(token: &str) -> Result<Claims, TokenFault> {
    keys().verify(token, NOW, &expect())
}

/// A token of any header and payload, signed with the true HS256 key.
fn forge(header: &str, payload: &str) -> String {
    let body = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(header.as_bytes()),
        BASE64URL_NOPAD.encode(payload.as_bytes())
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
    let tag = aws_lc_rs::hmac::sign(&key, body.as_bytes());
    format!("{body}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

fn header() -> String {
    format!(
        r#"{{"alg":"HS256","typ":"at+jwt","kid":"{}"}}"#,
        keys().current.kid
    )
}

fn payload() -> String {
    serde_json::to_string(&claims()).unwrap()
}

#[test]
fn takes_its_own_until_the_second_it_expires() {
    let token = keys().sign(&claims()).unwrap();
    assert_eq!(verify(&token).unwrap(), claims());
    assert!(keys().verify(&token, NOW + 59, &expect()).is_ok());
    assert_eq!(
        keys().verify(&token, NOW + 60, &expect()),
        Err(TokenFault::Expired)
    );
    assert_eq!(
        keys().verify(&token, NOW - 1, &expect()),
        Err(TokenFault::NotYetValid)
    );
    assert_eq!(
        verify(&forge(&header(), &payload())).unwrap(),
        claims(),
        "the forger of these tests signs truly"
    );
}

#[test]
fn refuses_another_issuer_and_audience() {
    let other = |change: fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        verify(&keys().sign(&claims).unwrap())
    };
    assert_eq!(
        other(|claims| claims.iss = "ems2".into()),
        Err(TokenFault::WrongIssuer)
    );
    assert_eq!(
        other(|claims| claims.aud = "web".into()),
        Err(TokenFault::WrongAudience)
    );
}

#[test]
fn refuses_headers_of_any_other_form() {
    let with = |header: &str| verify(&forge(header, &payload()));
    let kid = keys().current.kid;
    for header in [
        "",
        "{}",
        "[]",
        "null",
        &format!(r#"{{"typ":"at+jwt","kid":"{kid}"}}"#),
        &format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#),
        &header().replace('}', r#","alg":"none"}"#),
        &header().replace('}', r#","jku":"https://example.org"}"#),
        &header().replace('}', r#","b64":false}"#),
        &header().replace(r#""HS256""#, r#"["HS256"]"#),
        &header().replace(r#""HS256""#, "null"),
        &(header() + "x"),
    ] {
        assert_eq!(with(header), Err(TokenFault::Malformed), "{header}");
    }
    for alg in ["None", "NONE", "hs256", "HS384", "RS256", "ES256", ""] {
        let header = header().replace("HS256", alg);
        assert_eq!(with(&header), Err(TokenFault::WrongAlgorithm), "{alg}");
    }
    for typ in ["", "jwt", "AT+JWT", "application/at+jwt", "at+jwt "] {
        let header = header().replace("at+jwt", typ);
        assert_eq!(with(&header), Err(TokenFault::WrongType), "{typ}");
    }
    assert_eq!(
        with(&header().replace("HS256", "none")),
        Err(TokenFault::WrongAlgorithm)
    );
    assert_eq!(
        with(&header().replace("HS256", "HS512")),
        Err(TokenFault::WrongAlgorithm)
    );
    assert_eq!(
        with(&header().replace("HS256", "EdDSA")),
        Err(TokenFault::WrongAlgorithm)
    );
    assert_eq!(
        with(&header().replace("at+jwt", "JWT")),
        Err(TokenFault::WrongType)
    );
    assert_eq!(
        with(&header().replace(&kid, "0000000000000000")),
        Err(TokenFault::UnknownKey)
    );
    assert_eq!(
        with(r#"{"alg":"HS256","typ":"at+jwt"}"#),
        Err(TokenFault::Malformed)
    );
    assert_eq!(
        with(&header().replace('}', r#","crit":["x"]}"#)),
        Err(TokenFault::Malformed)
    );
    assert_eq!(
        with(&header().replace('}', r#","kid":"x"}"#)),
        Err(TokenFault::Malformed)
    );
}

#[test]
fn refuses_claims_of_any_other_type() {
    let with = |from: &str, to: &str| {
        let payload = payload();
        assert!(payload.contains(from), "{payload}");
        verify(&forge(&header(), &payload.replace(from, to)))
    };
    for (from, to) in [
        (r#""exp":1700000060"#, r#""exp":"1700000060""#),
        (r#""exp":1700000060"#, r#""exp":1700000060.5"#),
        (r#""exp":1700000060"#, r#""exp":1700000060.0"#),
        (r#""exp":1700000060"#, r#""exp":17e8"#),
        (r#""exp":1700000060"#, r#""exp":true"#),
        (r#""exp":1700000060"#, r#""exp":18446744073709551616"#),
        (r#""exp":1700000060"#, r#""exp":null"#),
        (r#""nbf":1700000000"#, r#""nbf":"1700000000""#),
        (r#""iat":1700000000"#, r#""iat":"1700000000""#),
        (r#""iat":1700000000,"#, ""),
        (r#""iss":"ems""#, r#""iss":["ems"]"#),
        (r#""iss":"ems","#, ""),
        (r#""aud":"api","#, ""),
        (r#""role":"viewer","#, ""),
        (r#""sub":"alice","#, ""),
        (r#","jti":"s.t""#, ""),
        (
            r#""exp":1700000060"#,
            r#""exp":1700000060,"exp":1800000000"#,
        ),
        (r#""exp":1700000060,"#, ""),
        (r#""nbf":1700000000"#, r#""nbf":-1"#),
        (r#""aud":"api""#, r#""aud":["api"]"#),
        (r#""sub":"alice""#, r#""sub":7"#),
        (r#""jti":"s.t""#, r#""jti":"s.t","jti":"s.t""#),
        (r#""jti":"s.t""#, r#""jti":"s.t","admin":true"#),
    ] {
        assert_eq!(with(from, to), Err(TokenFault::Malformed), "{to}");
    }
}

#[test]
fn refuses_a_token_from_the_future() {
    let mut claims = claims();
    claims.iat = NOW + 1;
    let token = keys().sign(&claims).unwrap();
    assert_eq!(verify(&token), Err(TokenFault::NotYetValid));
    assert_eq!(keys().verify(&token, NOW + 1, &expect()).unwrap(), claims);
}

/// Made apart, with hashlib, hmac and base64 of Python: whoever has the secret can do the same.
#[test]
fn agrees_with_a_token_made_by_another_program() {
    let token = concat!(
        "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiIsImtpZCI6IjlkNDQ5MmEyYWMzNWFlOWYifQ.",
        "eyJzdWIiOiJhbGljZSIsInJvbGUiOiJ2aWV3ZXIiLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDA2MCwi",
        "bmJmIjoxNzAwMDAwMDAwLCJpc3MiOiJlbXMiLCJhdWQiOiJhcGkiLCJqdGkiOiJzLnQifQ.",
        "oaiH3OlYlCi_bF7KPc2bkUOy7ar2i_gXG-cxuR2sDlA"
    );
    assert_eq!(verify(token).unwrap(), claims());
    assert_eq!(keys().sign(&claims()).unwrap(), token);
}

#[test]
fn refuses_a_token_longer_than_any_of_ours() {
    let mut claims = claims();
    claims.sub = "a".repeat(LONGEST);
    let token = keys().sign(&claims).unwrap();
    assert_eq!(verify(&token), Err(TokenFault::Malformed));
}

#[test]
fn every_changed_character_is_refused() {
    let token = keys().sign(&claims()).unwrap();
    for at in 0..token.len() {
        for character in [b'A', b'B', b'.', b'=', b' ', b'\n'] {
            let mut changed = token.clone().into_bytes();
            if std::mem::replace(&mut changed[at], character) != character {
                let text = std::str::from_utf8(&changed).unwrap();
                assert!(verify(text).is_err(), "{at}: {text}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_is_a_token(text: String, header in "[A-Za-z0-9_-]{0,40}", rest in "[A-Za-z0-9._-]{0,40}") {
        prop_assert!(verify(&text).is_err());
        let dotted = format!("{header}.{rest}");
        prop_assert!(verify(&dotted).is_err());
        prop_assert!(verify(&forge(&text, &payload())).is_err());
        prop_assert!(verify(&forge(&self::header(), &text)).is_err());
    }
}

#[test]
fn refuses_an_edited_cut_or_padded_token() {
    let token = keys().sign(&claims()).unwrap();
    let edited = token.replace(
        &BASE64URL_NOPAD.encode(payload().as_bytes()),
        &BASE64URL_NOPAD.encode(payload().replace("viewer", "admin!").as_bytes()),
    );
    assert_eq!(verify(&edited), Err(TokenFault::BadSignature));
    let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        &token[1..],
        &format!("{token}="),
        &format!("{token} "),
        &format!(" {token}"),
        &format!("{token}.x"),
        &unsigned,
    ] {
        assert!(verify(text).is_err(), "{text:?}");
    }
}

#[test]
fn an_older_key_still_verifies_and_a_dropped_one_does_not() {
    let token = keys().sign(&claims()).unwrap();
    let rotated =
        TokenKeys::new(Algorithm::Hs256, &[8; 32], &[Zeroizing::new(vec![7; 32])]).unwrap();
    assert!(rotated.verify(&token, NOW, &expect()).is_ok());
    let dropped = TokenKeys::new(Algorithm::Hs256, &[8; 32], &[]).unwrap();
    assert_eq!(
        dropped.verify(&token, NOW, &expect()),
        Err(TokenFault::UnknownKey)
    );
    assert!(TokenKeys::new(Algorithm::Hs256, &[7; 31], &[]).is_err());
}

#[test]
fn ed25519_signs_and_verifies() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let keys = TokenKeys::new(Algorithm::EdDsa, pkcs8.as_ref(), &[]).unwrap();
    let token = keys.sign(&claims()).unwrap();
    assert_eq!(keys.verify(&token, NOW, &expect()).unwrap(), claims());
    assert_eq!(verify(&token), Err(TokenFault::WrongAlgorithm));
}

/// The key of RFC 8037, appendix A, as PKCS #8 (RFC 8410) around its private half.
fn rfc_8037_key() -> Vec<u8> {
    let private = BASE64URL_NOPAD.decode(b"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let frame = HEXLOWER.decode(b"302e020100300506032b657004220420");
    [frame.unwrap(), private.unwrap()].concat()
}

#[test]
fn the_kid_of_an_ed25519_key_is_its_thumbprint() {
    let keys = TokenKeys::new(Algorithm::EdDsa, &rfc_8037_key(), &[]).unwrap();
    // RFC 8037, appendix A.3.
    assert_eq!(
        keys.current.kid,
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    assert_eq!(
        format!("{keys:?}"),
        "TokenKeys(EdDSA, kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k, 0 older)"
    );
}

/// The classic swap: a token signed by HMAC, with the public key that everyone knows as secret.
#[test]
fn a_public_key_is_no_secret() {
    let keys = TokenKeys::new(Algorithm::EdDsa, &rfc_8037_key(), &[]).unwrap();
    let public = BASE64URL_NOPAD.decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let forger = TokenKeys::new(Algorithm::Hs256, &public.unwrap(), &[]).unwrap();
    let token = forger.sign(&claims()).unwrap();
    let fault = |token: &str| keys.verify(token, NOW, &expect());
    assert_eq!(fault(&token), Err(TokenFault::WrongAlgorithm));
    let (_, rest) = token.split_once('.').unwrap();
    let kid = &keys.current.kid;
    let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#);
    let relabelled = format!("{}.{rest}", BASE64URL_NOPAD.encode(header.as_bytes()));
    assert_eq!(fault(&relabelled), Err(TokenFault::BadSignature));
}

#[test]
fn a_key_file_holds_lines_of_base64_or_pem() {
    let base64 = |bytes: &[u8]| BASE64.encode(bytes);
    let lines = format!("{}\n\n {}\r\n", base64(&[8; 32]), base64(&[7; 32]));
    let keys = TokenKeys::parse_file(&lines).unwrap();
    assert_eq!(keys.iter().map(|key| key[0]).collect::<Vec<_>>(), [8, 7]);
    let block = |key: &[u8]| {
        let body = base64(key);
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    };
    let pem = block(&rfc_8037_key()) + &block(b"another");
    let keys = TokenKeys::parse_file(&pem).unwrap();
    assert_eq!(
        (keys.len(), keys[0].as_slice()),
        (2, rfc_8037_key().as_slice())
    );
    for text in ["", "\n", "not Base64!", "-----BEGIN PRIVATE KEY-----\nAAAA"] {
        assert!(TokenKeys::parse_file(text).is_err(), "{text}");
    }
    for key in [&b"another"[..], &[], &[7; 32]] {
        assert!(TokenKeys::new(Algorithm::EdDsa, key, &[]).is_err());
    }
}

#[test]
fn a_written_key_file_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token.key");
    TokenKeys::write_new(&path).unwrap();
    let text = crate::read_secret_file(&path).unwrap();
    let secrets = TokenKeys::parse_file(std::str::from_utf8(&text).unwrap()).unwrap();
    assert_eq!((secrets.len(), secrets[0].len()), (1, 48));
    let keys = TokenKeys::new(Algorithm::Hs256, &secrets[0], &[]).unwrap();
    let token = keys.sign(&claims()).unwrap();
    assert_eq!(keys.verify(&token, NOW, &expect()).unwrap(), claims());
}
