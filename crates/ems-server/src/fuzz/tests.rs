//! The corpora of the server's targets, played again; what the fuzzer sets out from.

use std::io::Read as _;

use ems_fuzz::{replay, seeds};

use super::*;

/// Real readings, as the repository has them.
const SAMPLE: &[u8] = include_bytes!("../../../../samples/uk-home-1.csv.gz");
const ROW: &str =
    r#"{"meter_id":"m1","timestamp":"2013-01-01T00:00:00Z","energy_consumption":0.25}"#;
const WHOLE: &str = r#"{"location":"Attic \u00e9","power_factor":0.5,"energy_consumption":2e0,"timestamp":"2013-01-01T01:30:00+01:00","meter_id":"m-2"}"#;

/// The first lines of the sample.
fn sample(lines: usize) -> String {
    let mut text = String::new();
    let mut reader = flate2::read::GzDecoder::new(SAMPLE);
    reader.read_to_string(&mut text).unwrap();
    text.lines().take(lines).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_corpora_of_readings_pass() {
    replay("csv", csv);
    replay("ndjson", ndjson);
    replay("json", json);
    replay("rows", rows);
}

#[test]
fn the_corpora_of_the_listener_pass() {
    replay("proxy", proxy);
    replay("sieve", sieve);
    replay("forwarded", forwarded);
}

#[test]
fn the_corpora_of_bodies_and_texts_pass() {
    replay("expand", expand);
    replay("cursor", cursor);
    replay("document", document);
    replay("settings", settings);
}

#[test]
fn real_readings_pass_in_every_form() {
    let table = "location,energy_consumption,power_factor,timestamp,meter_id\r\n\
        \"Attic, \"\"left\"\"\",2,,2013-01-01T01:30:00+01:00,m-2\r\n,x,2,\"\",m-old\r\n";
    let tables = [
        sample(20),
        sample(20).replace('\n', "\r\n"),
        table.to_owned(),
    ];
    seeds("csv", csv, tables.map(String::into_bytes));
    let lines = [
        format!("{ROW}\n{WHOLE}\n"),
        format!("{ROW}\r\n\n{{\n[]\n"),
        WHOLE.to_owned(),
    ];
    seeds("ndjson", ndjson, lines.map(String::into_bytes));
    let arrays = [
        format!("[{ROW},{WHOLE}]"),
        format!("[{ROW},{{}},1,null]"),
        WHOLE.to_owned(),
    ];
    seeds("json", json, arrays.map(String::into_bytes));
    let made = "m1\t2013-01-01T00:00:00Z\t0.25\t0.5\tLeeds, \"\u{e9}\"\nm-old\t2013-01-01T00:00:00Z\t1e3\n\tx\t-1\t2\ty";
    seeds("rows", rows, [made.as_bytes().to_vec()]);
}

#[test]
fn what_comes_before_a_request_passes() {
    let v4 = b"\x01\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x34\x01\xbb\x16\x03\x01";
    let v6 = [&b"\x01\x21\x21\0\x24\x20\x01\x0d\xb8"[..], &[7; 34]].concat();
    let heads = [
        &b"\x01\x20\0\0\0"[..],
        b"\0PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        v4,
        &v6,
    ];
    seeds("proxy", proxy, heads.map(<[u8]>::to_vec));
    let streams: [&[u8]; 8] = [
        b"\x05\x06GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"\x05\x06POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
        b"\x05\x02POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: 1\r\n\r\n",
        b"\x05\x00POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        b"\x05\x00GET / HTTP/1.1\r\nHost: x\nX-A: 1\r\n\r\n",
        b"\x05\x00PRI * HTTP/1.1\r\n\r\n",
        b"\x05\x05\0\0\0\x04\0\0\0\0\0\0\0\x02\x01\x05\0\0\0\x01\x82\x86",
        b"\x05\x05\0\0\x08\x06\0\0\0\0\0........\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    ];
    let pings = [
        &b"\x09\x0b"[..],
        &b"\0\0\x08\x06\0\0\0\0\0........".repeat(120),
    ]
    .concat();
    let streams = streams.map(<[u8]>::to_vec).into_iter().chain([pings]);
    seeds("sieve", sieve, streams);
    let fields: [&[u8]; 6] = [
        b"f for=9.9.9.9",
        b"f for=\"[2001:db8::1]:80\";proto=https, for=unknown",
        b"f for=9.9.9.9;a=\"",
        b"f for=9.9.9.9;a=\"\\",
        b"x9.9.9.9, \"",
        b"x9.9.9.9\nf for=9.9.9.9",
    ];
    let requests = (0..16).flat_map(|kind| fields.map(|line| [&[kind, kind >> 1], line].concat()));
    seeds("forwarded", forwarded, requests);
}

#[test]
fn bodies_documents_and_texts_pass() {
    let plain = sample(20).into_bytes();
    let gzip = SAMPLE.get(..2000).unwrap();
    let zstd = zstd::encode_all(&*plain, 3).unwrap();
    let bomb = zstd::encode_all(&*vec![0; 1 << 20], 3).unwrap();
    seeds(
        "expand",
        expand,
        [
            [b"\x02", &*plain].concat(),
            [b"\x03", &*plain].concat(),
            [b"\0", gzip].concat(),
            [b"\x01", &*zstd].concat(),
            [b"\x01", &*bomb].concat(),
        ],
    );
    let cursors = [
        &b"\x01\0\0plant7-a"[..],
        b"\x01\x03\x01plant7-a",
        b"\0abc",
        b"meter_id=a&limit=5&cursor=x",
    ];
    seeds("cursor", cursor, cursors.map(<[u8]>::to_vec));
    let documents = [
        ROW,
        WHOLE,
        r#"{"a":1,"a":[true,null,{"b":"\ud83d\ude00"}]}"#,
        "[1e400]",
    ];
    seeds(
        "document",
        document,
        documents.map(|text| text.as_bytes().to_vec()),
    );
    let flags = [
        "server.listen=127.0.0.1:0\nlimits.body_bytes=1MiB",
        "guard.ban_allow=['10.0.0.0/8']\nauth.access_ttl=1h",
        "store.backend=mongo\nstore.mongo_uri=mongodb://u:p@h/d",
        "shared.redis_url=rediss://u:p@h:1/0\nlog.format=ocsf",
        "server.tls=off\nserver.behind_proxy=true\nserver.trusted_proxies=['::1']",
    ];
    seeds(
        "settings",
        settings,
        flags.map(|text| text.as_bytes().to_vec()),
    );
}
