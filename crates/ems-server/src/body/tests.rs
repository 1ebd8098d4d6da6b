//! What bodies are read and what are refused, below the level of a server.

use std::io::Write;

use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn takes_a_media_type_by_its_name_alone_and_only_utf_8() {
    let kind = |pairs| media_type(&headers(pairs), &["application/json", "text/csv"]);
    assert_eq!(
        kind(&[("content-type", "Application/JSON")]).unwrap(),
        "application/json"
    );
    assert_eq!(
        kind(&[("content-type", "text/csv; header=present")]).unwrap(),
        "text/csv"
    );
    assert!(kind(&[("content-type", "text/csv; charset=\"UTF-8\"")]).is_ok());
    for wrong in [
        &[("content-type", "text/csv; charset=latin1")][..],
        &[("content-type", "text/html")],
        &[("content-type", "")],
        &[],
        &[("content-type", "text/csv"), ("content-type", "text/csv")],
    ] {
        let code = kind(wrong).unwrap_err().code();
        assert_eq!(code, ErrorCode::UnsupportedMediaType, "{wrong:?}");
    }
}

#[test]
fn takes_compressed_bodies_only_where_the_route_does() {
    for (pairs, gzip, plain) in [
        (&[][..], true, true),
        (&[("content-encoding", "identity")], true, true),
        (&[("content-encoding", "gzip")], true, false),
        (&[("content-encoding", "br")], false, false),
        (
            &[("content-encoding", "gzip"), ("content-encoding", "gzip")],
            false,
            false,
        ),
        (&[("content-encoding", "gzip, gzip")], false, false),
    ] {
        assert_eq!(coding(&headers(pairs), true).is_ok(), gzip, "{pairs:?}");
        assert_eq!(coding(&headers(pairs), false).is_ok(), plain, "{pairs:?}");
    }
}

#[test]
fn a_declared_length_past_the_limit_is_refused_unread() {
    assert_eq!(
        declared_length(&headers(&[("content-length", "8")]), 8).unwrap(),
        8
    );
    for text in ["9", "99999999999999999999999"] {
        let refused = declared_length(&headers(&[("content-length", text)]), 8).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::PayloadTooLarge);
    }
}

#[tokio::test]
async fn a_body_past_its_limit_is_refused_where_it_passes_it() {
    let budget = Budget::new(0);
    let mut charge = Charge::default();
    let body = |length| Body::from(vec![b'x'; length]);
    let read = collect(&budget, body(8), 8, (0, &mut charge))
        .await
        .unwrap();
    assert_eq!(read.len(), 8);
    let refused = collect(&budget, body(9), 8, (0, &mut charge))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::PayloadTooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_is_waited_for_and_then_answered_503() {
    let budget = Budget::new(4 * UNIT);
    let (mut one, mut other) = (Charge::default(), Charge::default());
    budget.charge(&mut one, 3 * UNIT).await.unwrap();
    let refused = budget.charge(&mut other, 2 * UNIT).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    drop(one);
    budget.charge(&mut other, 2 * UNIT).await.unwrap();
    let refused = budget.charge(&mut other, 5 * UNIT).await.unwrap_err();
    assert_eq!(
        refused.code(),
        ErrorCode::PayloadTooLarge,
        "more than there ever is"
    );
}

async fn expanded(body: Vec<u8>, coding: Coding, most: usize) -> Result<usize, ErrorCode> {
    let budget = Budget::new(0);
    let expand = move || expand(&budget, &body, coding, (most, Charge::default()));
    let expanded = tokio::task::spawn_blocking(expand).await.unwrap();
    expanded
        .map(|(bytes, _)| bytes.len())
        .map_err(|problem| problem.code())
}

#[tokio::test]
async fn decompresses_up_to_the_limit_and_refuses_a_bomb() {
    let plain = vec![b'a'; 1_000_000];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&*plain, 19).unwrap();
    for (body, coding) in [(gzip, Coding::Gzip), (zstd, Coding::Zstd)] {
        assert!(body.len() < 5_000);
        assert_eq!(
            expanded(body.clone(), coding, 1_000_000).await,
            Ok(1_000_000)
        );
        let bomb = expanded(body.clone(), coding, 999_999).await;
        assert_eq!(bomb, Err(ErrorCode::PayloadTooLarge));
        let cut = body[..body.len() / 2].to_vec();
        assert_eq!(
            expanded(cut, coding, 1_000_000).await,
            Err(ErrorCode::Malformed)
        );
    }
}
