//! The corpora of the inspection's targets, played again; what the fuzzer sets out from.

use ems_fuzz::{replay, seeds};

use super::*;
use crate::inspect::CATEGORIES;

/// What each rule finds.
fn examples() -> impl Iterator<Item = &'static str> {
    let rules = CATEGORIES.iter().flat_map(|category| category.rules);
    rules.map(|rule| rule.example)
}

#[test]
fn the_corpus_of_the_decoder_passes() {
    replay("decoder", decoder);
}

#[test]
fn the_corpus_of_heads_passes() {
    replay("inspect_head", head);
}

#[test]
fn the_corpus_of_bodies_passes() {
    replay("inspect_body", body);
}

#[test]
fn every_example_passes_as_it_is_and_in_a_head_and_a_body() {
    seeds(
        "decoder",
        decoder,
        examples().map(|text| text.as_bytes().to_vec()),
    );
    let heads = examples().map(|text| {
        let line = text.replace(['\n', '\r'], " ");
        format!("GET /{line}?a={line}\ncookie: a={line}\nuser-agent: {line}\nx-a: {line}")
    });
    seeds("inspect_head", head, heads.map(String::into_bytes));
    let bodies = examples().flat_map(|text| {
        [
            format!("\0{text}"),
            format!("\x01{{\"a\":{text:?},\"location\":{text:?}}}"),
            format!("\x02a={text}&location={text}"),
            format!("\x03meter_id,location\n{text},{text}\n"),
            format!(
                "\x04--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"{text}\"\r\n\r\n{text}\r\n--b--"
            ),
            format!("\x05<?xml version=\"1.0\"?><a b=\"{text}\">{text}</a>"),
        ]
    });
    seeds("inspect_body", body, bodies.map(String::into_bytes));
}
