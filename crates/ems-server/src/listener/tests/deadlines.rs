//! Clients that are slow, silent, idle or do not read.

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn two_hundred_slow_connections_are_closed_while_a_normal_request_is_answered() {
    let server = Running::start(&[("header_timeout", "500ms")]);
    let mut slow = Vec::new();
    for _ in 0..200 {
        slow.push(server.send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow:").await);
    }
    assert!(server.get("/").await.ends_with("hello"));
    for stream in slow {
        assert_eq!(read_to_end(stream).await, "");
    }
    assert!(server.get("/").await.ends_with("hello"));
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_at_the_deadline_of_the_whole_head() {
    let server = Running::start(&[("header_timeout", "400ms")]);
    let mut stream = server.send("GET / HTTP/1.1\r\n").await;
    let start = Instant::now();
    let mut byte = [0];
    // A byte every 50 ms: each read that times out is the pause before the next byte.
    while timeout(Duration::from_millis(50), stream.read(&mut byte))
        .await
        .is_err()
    {
        if stream.write_all(b"a").await.is_err() {
            break;
        }
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn silence_is_cut_with_tls_and_without() {
    let plain = Running::start(&[("header_timeout", "200ms")]);
    assert_eq!(read_to_end(plain.connect().await).await, "");
    let tls = Running::start_tls(&[("handshake_timeout", "200ms")]);
    assert_eq!(read_to_end(tls.connect().await).await, "");
    let http2 = plain.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let mut ended = Vec::new();
    let mut http2 = http2;
    let _ = timeout(PATIENCE, http2.read_to_end(&mut ended))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_connection_may_idle_longer_than_a_head_may_take_and_no_longer_than_set() {
    let server = Running::start(&[("header_timeout", "100ms"), ("idle_timeout", "700ms")]);
    let mut stream = server.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_answer(&mut stream, "hello").await;
    let start = Instant::now();
    assert_eq!(read_to_end(stream).await, "");
    assert!(
        start.elapsed() >= Duration::from_millis(600),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn the_second_head_of_a_connection_has_its_deadline_too() {
    let mut server = Running::start(&[("header_timeout", "200ms"), ("idle_timeout", "1h")]);
    let mut stream = server.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_answer(&mut stream, "hello").await;
    stream.write_all(b"GET / HT").await.unwrap();
    assert_eq!(read_to_end(stream).await, "");
    assert_eq!(server.why().await, GivenUp::SlowHead);
}

#[tokio::test]
async fn a_handler_that_takes_its_time_is_waited_for() {
    let server = Running::start(&[
        ("header_timeout", "100ms"),
        ("idle_timeout", "100ms"),
        ("write_timeout", "100ms"),
        ("body_idle_timeout", "100ms"),
    ]);
    assert!(server.get("/long").await.ends_with("long"));
    let url = format!("http://{}/long", server.address);
    let answer = client(&server, true).get(url).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "long");
}

#[tokio::test]
async fn a_body_that_stalls_or_trickles_is_told_from_one_that_breaks() {
    let head =
        "POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\nx";
    let server = Running::start(&[("body_idle_timeout", "200ms")]);
    let answer = read_to_end(server.send(head).await).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("the body stalled"),
        "{answer}"
    );

    let server = Running::start(&[("body_grace", "200ms"), ("body_min_rate", "1KiB")]);
    let answer = read_to_end(server.send(head).await).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("too slowly"),
        "{answer}"
    );

    let mut stream = server.send(head).await;
    stream.shutdown().await.unwrap();
    assert!(!read_to_end(stream).await.contains("408"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let mut server = Running::start(&[("write_timeout", "200ms")]);
    let unread = server
        .send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!(server.hear().await, "endless ended");
    assert_eq!(server.why().await, GivenUp::SlowRead);
    drop(unread);
}

#[tokio::test]
async fn an_http2_client_that_opens_no_window_is_cut() {
    let mut server = Running::start(&[("write_timeout", "200ms")]);
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(1_000)
        .build()
        .unwrap();
    let url = format!("http://{}/endless", server.address);
    let unread = client.get(url).send().await.unwrap();
    assert_eq!(server.hear().await, "endless ended");
    assert_eq!(server.why().await, GivenUp::SlowRead);
    drop(unread);
}

/// Takes 64 KiB every 10 ms, of which the kernels in between make steps of some hundred KiB; what it
/// had taken when it was cut, or when it had enough.
async fn taken_slowly(server: &Running, enough: usize) -> usize {
    let mut stream = server
        .send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let (mut taken, mut buffer) = (0, vec![0; 65_536]);
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while taken < enough
        && let Ok(Ok(bytes @ 1..)) = timeout(PATIENCE, stream.read(&mut buffer)).await
    {
        taken += bytes;
        pace.tick().await;
    }
    taken
}

#[tokio::test]
async fn a_client_that_takes_little_and_often_is_cut_where_a_rate_is_asked_for() {
    let enough = 24 << 20;
    let free = Running::start(&[("write_timeout", "1s"), ("write_min_rate", "0B")]);
    assert!(taken_slowly(&free, enough).await >= enough);
    let mut paced = Running::start(&[("write_timeout", "1s"), ("write_min_rate", "1GiB")]);
    let taken = taken_slowly(&paced, enough).await;
    assert!(taken < enough, "{taken}");
    assert_eq!(paced.why().await, GivenUp::SlowRead);
}

#[tokio::test]
async fn an_http2_client_that_opens_its_window_by_a_byte_at_a_time_is_cut() {
    let mut server = Running::start(&[("write_timeout", "500ms"), ("write_min_rate", "1KiB")]);
    let mut stream = server.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // SETTINGS_INITIAL_WINDOW_SIZE of 1, and a GET of /endless (RFC 9113 §6.5, RFC 7541).
    let fields = b"\x82\x86\x04\x08/endless\x01\x01x";
    let begun = [
        &b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01"[..],
        b"\0\0\x0f\x01\x05\0\0\0\x01",
        fields,
    ];
    stream.write_all(&begun.concat()).await.unwrap();
    let (start, mut heard) = (Instant::now(), [0; 4096]);
    // A byte more every 50 ms.
    loop {
        match timeout(Duration::from_millis(50), stream.read(&mut heard)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => {}
            Err(_) => {
                let window = b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\x01";
                if stream.write_all(window).await.is_err() {
                    break;
                }
            }
        }
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(start.elapsed() >= Duration::from_millis(400));
    assert_eq!(server.why().await, GivenUp::SlowRead);
}
