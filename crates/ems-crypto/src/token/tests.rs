//! Every way a token can be wrong, each refused by its own reason.

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
        (r#""exp":1700000060"#, r#""exp":null"#),
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
