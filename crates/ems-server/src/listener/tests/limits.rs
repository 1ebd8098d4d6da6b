//! Clients that are too many, too large or not who they say.

use super::*;

/// A PROXY header of version 2 for a client of IPv4.
fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[127, 0, 0, 1], &[0x10, 0x00, 0x01, 0xBB]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C", &addresses[..]].concat()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn past_all_places_a_connection_waits_for_one() {
    let server = Running::start(&[("max_connections", "1")]);
    let mut first = server.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_answer(&mut first, "hello").await;
    let mut second = server.send(GET).await;
    let mut byte = [0];
    let early = timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "answered while all places were taken");
    drop(first);
    assert!(read_to_end(second).await.ends_with("hello"));
}

#[tokio::test]
async fn one_address_cannot_take_more_than_its_share() {
    let server = Running::start(&[("max_connections_per_address", "1")]);
    let mut first = server.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_answer(&mut first, "hello").await;
    assert_eq!(read_to_end(server.connect().await).await, "");
    read_answer_again(&mut first).await;
}

async fn read_answer_again(stream: &mut TcpStream) {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    read_answer(stream, "hello").await;
}

#[tokio::test]
async fn heads_past_hypers_own_bounds_are_answered_by_the_service() {
    let server = Running::start(&[
        ("header_fields", "20"),
        ("header_bytes", "8KiB"),
        ("uri_bytes", "4KiB"),
    ]);
    let get =
        |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let many = "X-A: 1\r\n".repeat(101);
    let large = format!("X-A: {}\r\n", "a".repeat(40_000));
    let long = format!("/{}", "a".repeat(66_000));
    for (request, fault) in [
        (get("/", &many), "TooLarge"),
        (get("/", &large), "TooLarge"),
        (get(&long, ""), "TooLarge"),
        (get("/", "no colon\r\n"), "Unreadable"),
        ("\u{1}\u{2}\r\n\r\n".to_owned(), "Unreadable"),
    ] {
        // The answer may be there, and the connection closed, before all is sent.
        let mut stream = server.connect().await;
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = read_to_end(stream).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 418 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, fault.to_lowercase());
        let length = format!("\r\ncontent-length: {}\r\n", body.len());
        for field in [&*length, "\r\nconnection: close\r\n", "\r\ndate: "] {
            assert_eq!(head.matches(field).count(), 1, "{field:?} in {head}");
        }
        assert!(
            !head.contains("server:") && !head.contains("hyper"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_proxy_header_names_the_client() {
    let server = Running::start(&[
        ("proxy_protocol", "true"),
        ("trusted_proxies", r#"["127.0.0.1/32"]"#),
    ]);
    let mut stream = server.connect().await;
    stream
        .write_all(&proxy_header([192, 0, 2, 43]))
        .await
        .unwrap();
    stream
        .write_all(GET.replace("/ HTTP", "/peer HTTP").as_bytes())
        .await
        .unwrap();
    let answer = read_to_end(stream).await;
    assert!(
        answer.contains("client: 192.0.2.43, via_proxy: true, tls: false"),
        "{answer}"
    );
    assert_eq!(read_to_end(server.send(GET).await).await, "");
}

#[tokio::test]
async fn a_proxy_header_comes_before_tls() {
    let server = Running::start_tls(&[
        ("proxy_protocol", "true"),
        ("trusted_proxies", r#"["127.0.0.1/32"]"#),
    ]);
    let (dir, _) = server.tls.as_ref().unwrap();
    let connector = ems_crypto::tls::client_trusting(&dir.path().join("ca.pem")).unwrap();
    let mut stream = server.connect().await;
    stream
        .write_all(&proxy_header([192, 0, 2, 43]))
        .await
        .unwrap();
    let name = "localhost".to_owned().try_into().unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream
        .write_all(GET.replace("/ HTTP", "/peer HTTP").as_bytes())
        .await
        .unwrap();
    let answer = read_to_end(stream).await;
    assert!(
        answer.contains("client: 192.0.2.43, via_proxy: true, tls: true"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_proxy_header_from_a_stranger_is_refused() {
    let server = Running::start(&[
        ("proxy_protocol", "true"),
        ("trusted_proxies", r#"["10.0.0.0/8"]"#),
    ]);
    let mut stream = server.connect().await;
    stream
        .write_all(&proxy_header([192, 0, 2, 43]))
        .await
        .unwrap();
    assert_eq!(read_to_end(stream).await, "");
}

#[tokio::test]
async fn the_clients_of_a_proxy_have_their_share_each() {
    let server = Running::start(&[
        ("proxy_protocol", "true"),
        ("trusted_proxies", r#"["127.0.0.1/32"]"#),
        ("max_connections_per_address", "1"),
    ]);
    let open = async |client| {
        let mut stream = server.connect().await;
        stream.write_all(&proxy_header(client)).await.unwrap();
        stream
    };
    let mut first = open([192, 0, 2, 1]).await;
    read_answer_again(&mut first).await;
    assert_eq!(read_to_end(open([192, 0, 2, 1]).await).await, "");
    let mut other = open([192, 0, 2, 2]).await;
    read_answer_again(&mut other).await;
}
