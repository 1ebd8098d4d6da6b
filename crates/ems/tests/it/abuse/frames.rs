//! Floods of HTTP/2 frames, written by hand (RFC 9113 §10.5): each ends its own connection with
//! `ENHANCE_YOUR_CALM`, having cost little, and nobody else's.

use ems_core::role::Role;
use ems_testkit::TestServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    at_once, passed,
    wire::{PATIENCE, Wire, meanwhile},
};

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

const END_HEADERS: u8 = 0x4;
const END_STREAM: u8 = 0x1;
const ENHANCE_YOUR_CALM: u8 = 0xb;

/// Frames of one flood.
const FLOOD: u32 = 20_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request of a method of HPACK's table, 2 for GET and 3 for POST, without a body so far.
fn request(stream: u32, method: u8, flags: u8) -> Vec<u8> {
    let fields = [
        &[0x80 | method, 0x87, 0x04, 7],
        &b"/health\x01\x09localhost"[..],
    ]
    .concat();
    frame(HEADERS, END_HEADERS | flags, stream, &fields)
}

/// The server's frames: kind and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let Some(([a, b, c, kind, ..], rest)) = bytes.split_first_chunk::<9>() {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push((*kind, payload));
        bytes = rest;
    }
    frames
}

/// Sends `first` and then the flood; what the server says until it ends the connection.
async fn flood(server: &TestServer, first: Vec<u8>, nth: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(first);
    bytes.extend((0..FLOOD).flat_map(nth));
    let attack = async {
        let (mut ear, mut mouth) = tokio::io::split(Wire::open(server).await.0);
        let said = async {
            // The server ends it midway.
            let _ = mouth.write_all(&bytes).await;
        };
        let mut heard = Vec::new();
        let heard_all = async {
            let _ = ear.read_to_end(&mut heard).await;
        };
        timeout(PATIENCE, async { tokio::join!(said, heard_all) })
            .await
            .unwrap();
        heard
    };
    meanwhile(server, attack).await
}

/// Shows that a flood is ended, and that few of its frames were answered.
async fn is_calmed(first: Vec<u8>, nth: impl Fn(u32) -> Vec<u8>) {
    let server = TestServer::start().await;
    let heard = flood(&server, first, nth).await;
    let frames = frames(&heard);
    let (_, last) = frames.iter().rfind(|(kind, _)| *kind == GOAWAY).unwrap();
    assert_eq!(last[4..8], [0, 0, 0, ENHANCE_YOUR_CALM]);
    assert!(frames.len() < 1000, "{}", frames.len());
}

#[tokio::test]
async fn a_flood_of_pings_is_ended() {
    is_calmed(vec![], |_| frame(PING, 0, 0, &[0; 8])).await;
}

#[tokio::test]
async fn a_flood_of_settings_is_ended() {
    is_calmed(vec![], |_| frame(SETTINGS, 0, 0, &[])).await;
}

#[tokio::test]
async fn a_flood_of_empty_data_is_ended() {
    is_calmed(request(1, 3, 0), |_| frame(DATA, 0, 1, &[])).await;
}

#[tokio::test]
async fn a_flood_of_windows_opened_by_a_byte_is_ended() {
    is_calmed(vec![], |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])).await;
}

#[tokio::test]
async fn a_flood_of_priorities_is_ended() {
    is_calmed(vec![], |n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 16])).await;
}

#[tokio::test]
async fn a_flood_of_frames_of_no_known_kind_is_ended() {
    is_calmed(vec![], |_| frame(0xBB, 0, 0, &[])).await;
}

#[tokio::test]
async fn a_block_of_fields_that_goes_on_and_on_is_ended() {
    let first = frame(HEADERS, END_STREAM, 1, &[0x82]);
    is_calmed(first, |_| frame(CONTINUATION, 0, 1, &[])).await;
}

#[tokio::test]
async fn rapid_reset_is_ended() {
    is_calmed(vec![], |n| {
        let stream = 2 * n + 1;
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        [request(stream, 2, END_STREAM), reset].concat()
    })
    .await;
}

#[tokio::test]
async fn a_flood_is_told_by_name_and_who_floods_again_gets_no_connection() {
    let server = TestServer::builder()
        .set("guard.ban_score", "20")
        .start()
        .await;
    let mut pings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    pings.extend((0..FLOOD).flat_map(|_| frame(PING, 0, 0, &[0; 8])));
    let floods = meanwhile(&server, async {
        let mut floods = 0;
        // A second one bans; others before that may still have got in.
        while let Some(mut wire) = Wire::from(&server, 9).await {
            wire.say(&pings).await;
            wire.rest().await;
            floods += 1;
            assert!(floods < 100);
        }
        floods
    })
    .await;
    assert!(floods >= 2);
    let place = server.stop().await.unwrap();
    let log = place.path().join("instance/log/security.log");
    let told = std::fs::read_to_string(log).unwrap();
    let abuse = told.lines().filter(|line| {
        line.contains(r#""violation_type":"protocol_abuse""#) && line.contains("127.0.0.9")
    });
    assert!(abuse.count() >= 2, "{told}");
    assert!(told.contains(r#""reason":"flood""#) && told.contains(r#""kind":"ban""#));
}

#[tokio::test]
async fn an_honest_client_of_http2_is_not_taken_for_a_flood() {
    let server = TestServer::start().await;
    // As many streams as may be at once, over and over, on the one connection of a client.
    let nobody = server.nobody();
    for _ in 0..10 {
        assert_eq!(passed(&at_once(&nobody, "/health", 100).await), 100);
    }
    // Up and down again: 20,000 readings.
    let caller = server.user(Role::Admin).await;
    let row = |n: u32| {
        let (hour, minute, second) = (n / 3600, n / 60 % 60, n % 60);
        format!("m1,2020-01-01T{hour:02}:{minute:02}:{second:02}Z,1.25\n")
    };
    let rows: String = (0..20_000).map(row).collect();
    let table = format!("meter_id,timestamp,energy_consumption\n{rows}");
    let path = "/api/v1/data/batch";
    let answer = caller.send(path, "text/csv", table).await;
    assert_eq!(answer.json()["accepted"], 20_000);
    let export = caller
        .request("GET", "/api/v1/data/m1")
        .header("accept", "application/x-ndjson");
    let answer = ems_testkit::Answer::of(export).await;
    assert_eq!(answer.text().lines().count(), 20_000);
}

/// The streams of the frames of a kind.
fn streams(mut bytes: &[u8], kind: u8) -> Vec<u32> {
    let mut streams = Vec::new();
    while let Some(([a, b, c, its, _, stream @ ..], rest)) = bytes.split_first_chunk::<9>() {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        let Some((_, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if *its == kind {
            streams.push(u32::from_be_bytes(*stream));
        }
        bytes = rest;
    }
    streams
}

#[tokio::test]
async fn a_refusal_waits_for_a_small_body_and_resets_no_stream() {
    let server = TestServer::start().await;
    let mut wire = Wire::open(&server).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let begin = [
        preface,
        frame(SETTINGS, 0, 0, &[]),
        // Refused by its head alone, as health takes no POST.
        request(1, 3, 0),
        request(3, 2, END_STREAM),
    ];
    assert!(wire.say(begin.concat()).await);
    let mut said = Vec::new();
    while !streams(&said, DATA).contains(&3) {
        let read = timeout(PATIENCE, wire.0.read_buf(&mut said)).await;
        assert!(read.unwrap().unwrap() > 0, "closed");
    }
    let end = [
        frame(DATA, END_STREAM, 1, b"{}"),
        frame(GOAWAY, 0, 0, &[0; 8]),
    ];
    assert!(wire.say(end.concat()).await);
    said.extend(wire.rest().await);
    assert_eq!(streams(&said, RST_STREAM), [0_u32; 0]);
    assert!(streams(&said, HEADERS).contains(&1));
}
