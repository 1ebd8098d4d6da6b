//! Requests of HTTP/1.1 that two readers may read differently (request smuggling): each is refused
//! as a whole, with a problem document, and nothing after it is read as a request.

use ems_core::role::Role;
use ems_testkit::TestServer;

use super::wire::{Wire, meanwhile};

/// What an attacker would like to have read as a request of somebody else.
const SMUGGLED: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Shows that there is one answer, a 400 of ours, and the end.
fn is_refused(what: &str, answers: &str, code: &str) {
    assert!(answers.starts_with("HTTP/1.1 400 "), "{what:?}: {answers}");
    assert_eq!(
        answers.matches("HTTP/1.1 ").count(),
        1,
        "{what:?}: {answers}"
    );
    let (head, body) = answers.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    for field in [
        "content-type: application/problem+json",
        "x-request-id: ",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(field), "{what:?}: {field}: {head}");
    }
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["code"], code, "{what:?}");
}

async fn are_refused(cases: &[&str], request: impl Fn(&str) -> String) {
    let server = TestServer::start().await;
    meanwhile(&server, async {
        for case in cases {
            let wire = Wire::open(&server).await;
            let answers = wire.answers(request(case) + SMUGGLED).await;
            is_refused(case, &answers, "malformed");
            let head = answers.to_lowercase();
            assert!(
                head.contains("\r\nconnection: close\r\n"),
                "{case:?}: {head}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_length_that_is_said_twice_or_in_two_ways_is_refused() {
    let cases = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ];
    are_refused(&cases, |fields| {
        format!("POST /health HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n0\r\n\r\n")
    })
    .await;
}

#[tokio::test]
async fn a_head_with_other_line_ends_or_of_another_version_is_refused() {
    let cases = [
        "GET /health HTTP/1.1\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\n",
        "GET /health HTTP/1.1\r\nHost: localhost\rX-A: 1\r\n\r\n",
        "\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n 2\r\n\r\n",
        "GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: 1\0\r\n\r\n",
        "GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.2\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n",
        "GET /health\r\nHost: localhost\r\n\r\n",
        "POST /health HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r",
    ];
    are_refused(&cases, str::to_owned).await;
}

#[tokio::test]
async fn fields_that_contradict_each_other_or_the_target_are_refused() {
    let cases = [
        "GET /health HTTP/1.1\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost, other\r\n",
        "GET /health HTTP/1.1\r\nHost: a b\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost/health\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost@other\r\n",
        "GET https://other/health HTTP/1.1\r\nHost: localhost\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Type: text/csv\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Encoding: zstd\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nIdempotency-Key: 1\r\nIdempotency-Key: 2\r\n",
    ];
    are_refused(&cases, |head| format!("{head}\r\n")).await;
    // Two credentials have an error of their own, and leave the framing plain.
    let server = TestServer::start().await;
    for field in ["Authorization: Bearer a.b.c", "X-API-Key: ems_abc"] {
        let head = "GET /api/v1/auth/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let wire = Wire::open(&server).await;
        let answers = wire
            .answers(format!("{head}{field}\r\n{field}\r\n\r\n"))
            .await;
        is_refused(field, &answers, "ambiguous_credentials");
    }
}

#[tokio::test]
async fn chunks_that_are_not_plain_are_refused_and_plain_ones_taken() {
    let server = TestServer::start().await;
    let key = server.key_for(Role::MeterReader, &["*"]).await;
    let head = format!(
        "POST /api/v1/data/validate HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    );
    let long = format!("2;{}\r\n[]\r\n0\r\n\r\n", "x".repeat(300));
    let zeros = format!("{}2\r\n[]\r\n0\r\n\r\n", "0".repeat(300));
    meanwhile(&server, async {
        for chunks in [
            "2 \r\n[]\r\n0\r\n\r\n",
            "2\t\r\n[]\r\n0\r\n\r\n",
            " 2\r\n[]\r\n0\r\n\r\n",
            "2 ;x=y\r\n[]\r\n0\r\n\r\n",
            "2\n[]\r\n0\r\n\r\n",
            "2;x\n[]\r\n0\r\n\r\n",
            "2\r\n[]\n0\r\n\r\n",
            "2\r\n[]\r\n0\n\r\n",
            "2\r\n[]\r\n0\r\n\n",
            "2\r\n[]\r\n0\r\nX-A: 1\n\r\n",
            "2\r\n[]0\r\n\r\n",
            "2\r\n[]X\r\n0\r\n\r\n",
            "0x2\r\n[]\r\n0\r\n\r\n",
            "+2\r\n[]\r\n0\r\n\r\n",
            "\r\n[]\r\n0\r\n\r\n",
            "fffffffffffffffff\r\n[]\r\n0\r\n\r\n",
            &long,
            &zeros,
        ] {
            let wire = Wire::open(&server).await;
            let answers = wire.answers(format!("{head}\r\n{chunks}{SMUGGLED}")).await;
            is_refused(chunks, &answers, "malformed");
        }
    })
    .await;
    let chunks = "1\r\n[\r\n01;name=\"value\"\r\n]\r\n0\r\n\r\n";
    let twice = format!("{head}\r\n{chunks}{head}Connection: close\r\n\r\n{chunks}");
    let answers = Wire::open(&server).await.answers(twice).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{answers}");
}
