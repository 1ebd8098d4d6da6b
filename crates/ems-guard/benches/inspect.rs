//! What inspection takes by itself, a figure a line: name, value, unit. Requests as our own clients
//! send them, prose, and texts put together from the pieces of attacks, which are the dearest there
//! are: no two windows of theirs are alike to an automaton.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints figures, and may stop at once where one makes no sense"
)]

use std::time::Instant;

use ems_guard::inspect::{CATEGORIES, Head, Inspection, Inspector};

/// A token as long as ours are.
const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IjFmM2E5YzdlIn0.eyJzdWIiOiJiZW5jaCIsInJvbGUiOiJhZG1pbiIsImlhdCI6MTc5NTUwMDAwMCwiZXhwIjoxNzk1NTAzNjAwLCJuYmYiOjE3OTU1MDAwMDAsImlzcyI6ImVtcyIsImF1ZCI6ImVtcy1hcGkiLCJqdGkiOiIwMTkzNWQ2ZjdhYjM0YzBlOGU1MiJ9.3J7Qh0uC2m2p1o5bX1bH9rVh8d6l7w2J9oZyK5p0q1s";
const ROUNDS: u32 = 20_000;
const LARGE: usize = 64 * 1024;

fn main() {
    let inspector = Inspector::new(Vec::new(), 20);
    let get = Head {
        method: "GET",
        path: "/api/v1/data/plant7-000123",
        query: Some("start=2024-01-01T00:00:00Z&end=2024-01-02T00:00:00%2B01:00&limit=1000"),
        fields: &FIELDS,
    };
    let data = "/api/v1/data/{meter_id}";
    print(
        "inspect_get",
        micros(|| judge(&inspector, data, |look| look.head(&get))),
        "us",
    );
    let post = Head {
        method: "POST",
        path: "/api/v1/data",
        query: None,
        fields: &FIELDS,
    };
    let one = |look: &mut Inspection<'_>| {
        look.head(&post);
        look.text("location", "Plant 7, hall 2");
    };
    print(
        "inspect_post",
        micros(|| judge(&inspector, "/api/v1/data", one)),
        "us",
    );
    let body = br#"{"meter_id":"plant7-000123","timestamp":"2024-01-01T00:30:00Z","energy_consumption":0.2871,"power_factor":0.97,"location":"Plant 7, hall 2"}"#;
    let strange = |look: &mut Inspection<'_>| {
        look.head(&post);
        look.body(Some(b"application/json"), body);
    };
    print(
        "inspect_post_of_a_stranger",
        micros(|| judge(&inspector, "/api/v1/data", strange)),
        "us",
    );
    pieces(&inspector);
}

const FIELDS: [(&str, &[u8]); 8] = [
    ("host", b"ems.example.com:8000"),
    (
        "user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    ("referer", b"https://ems.example.com:8000/docs"),
    ("accept-language", b"en-GB,en;q=0.8"),
    ("accept", b"application/json"),
    ("accept-encoding", b"gzip, zstd"),
    ("content-type", b"application/json"),
    ("authorization", TOKEN.as_bytes()),
];

/// Large texts that no automaton has seen, by where they stand.
fn pieces(inspector: &Inspector) {
    let pieces: Vec<&str> = CATEGORIES
        .iter()
        .flat_map(|category| category.rules)
        .flat_map(|rule| rule.example.split_inclusive(|c: char| !c.is_alphanumeric()))
        .collect();
    let crumbs: Vec<&str> = pieces
        .iter()
        .filter_map(|piece| piece.get(..piece.len().min(2)))
        .collect();
    for (name, field, pieces) in [
        ("pieces_value", "q", &pieces),
        ("pieces_prose", "location", &pieces),
        ("crumbs_value", "q", &crumbs),
        ("crumbs_prose", "location", &crumbs),
    ] {
        let costs: Vec<f64> = (1..=5_u64)
            .map(|seed| {
                let text = shuffled(pieces, seed);
                let begin = Instant::now();
                let mut look = inspector.begin("/api/v1/data");
                look.text(field, &text);
                std::hint::black_box(look.report());
                begin.elapsed().as_secs_f64() * 1e9 / text.len() as f64
            })
            .collect();
        let most = costs.iter().copied().fold(0.0, f64::max);
        print(&format!("inspect_{name}"), most, "ns/byte");
    }
}

/// Pieces in an order of their own for each seed (a linear congruential generator).
fn shuffled(pieces: &[&str], seed: u64) -> String {
    let mut state = seed;
    let mut text = String::new();
    while text.len() < LARGE {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let place = usize::try_from(state >> 33).unwrap() % pieces.len();
        text.extend(pieces.get(place).copied());
    }
    text
}

fn judge(inspector: &Inspector, route: &str, look: impl FnOnce(&mut Inspection<'_>)) {
    let mut inspection = inspector.begin(route);
    look(&mut inspection);
    assert!(inspection.report().is_none(), "what we send is no attack");
}

/// The least of five rounds: what else runs adds to the others.
fn micros(mut once: impl FnMut()) -> f64 {
    let round = |once: &mut dyn FnMut()| {
        let begin = Instant::now();
        (0..ROUNDS).for_each(|_| once());
        begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
    };
    (0..5)
        .map(|_| round(&mut once))
        .fold(f64::INFINITY, f64::min)
}

fn print(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}
