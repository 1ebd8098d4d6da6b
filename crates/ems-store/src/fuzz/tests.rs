//! The corpora of the store's targets, played again; what the fuzzer sets out from.

use ems_core::{
    meter::MeterId,
    time::{TimeRange, Timestamp},
};
use ems_fuzz::{replay, seeds};

use super::*;
use crate::{
    Batch, Deletion, Expect, RecordChange, Table,
    readings::{
        codec::{GroupWriter, put_readings},
        fuzz::{example, example_batch},
        manifest::{Head, Manifest, RunMeta, SegmentMeta},
        plan::Written as _,
        run,
        segment::{encode, encode_superseded},
        wire::Writer,
    },
};

#[test]
fn the_corpus_of_segments_passes() {
    replay("segment", segment);
}

#[test]
fn the_corpus_of_journals_passes() {
    replay("journal", journal);
}

#[test]
fn the_corpus_of_journal_records_passes() {
    replay("group", group);
}

#[test]
fn the_corpus_of_what_else_is_stored_passes() {
    replay("stored", stored);
}

#[test]
fn segments_of_ours_pass() {
    let block = example();
    let bytes = encode(&block).unwrap();
    let small = encode(&block.slice(0, 3)).unwrap();
    let stored = [bytes, small].map(|bytes| [b"\x01", &*bytes].concat());
    let generated = (0..4).map(|byte| vec![byte; 90]);
    seeds("segment", segment, stored.into_iter().chain(generated));
}

#[test]
fn journals_of_ours_pass_whole_and_edited() {
    let edits: [&[u8]; 6] = [
        b"",
        b"\0\x10\x11\0\0\x01\0",
        b"\x01\x10\x11\xff\0",
        b"\x02\0\x15",
        b"\x03\x80\x12\0\0",
        b"\x04\0\x10\0\x02\0\x11",
    ];
    let journals = edits.map(|edits| [b"\x01\x01\x02\x10\0\x90\x02\x20\x05", edits].concat());
    let raw = [b"\0".to_vec(), vec![0; 600], vec![0x80; 600]];
    seeds("journal", journal, journals.into_iter().chain(raw));
}

#[test]
fn records_and_what_else_is_stored_of_ours_pass() {
    let (block, meter) = (example(), MeterId::parse("m-1").unwrap());
    let mut writer = GroupWriter::default();
    let change = |value| RecordChange {
        table: Table::Users,
        id: "alice".into(),
        expect: Expect::Any,
        value,
    };
    let batch = Batch {
        readings: example_batch(),
        deletions: vec![Deletion {
            meter: meter.clone(),
            range: TimeRange::ALL,
        }],
        ..Batch::default()
    };
    let changes = [change(None), change(Some(b"{}".to_vec()))];
    writer.add(&batch, &changes, &[b"{}".to_vec()]);
    seeds("group", group, [writer.finish(9, Timestamp::MAX)]);
    let manifest = Manifest {
        segments: vec![SegmentMeta {
            month: 5,
            id: 7,
            first: Timestamp::MIN,
            last: Timestamp::MAX,
            count: 9,
        }],
    };
    let head = Head {
        runs: vec![RunMeta { id: 3, blocks: 4 }],
        ..Head::default()
    };
    let rows: Vec<_> = block.iter().collect();
    let replaced: Vec<_> = block.iter().map(|row| (Timestamp::MAX, row)).collect();
    let mut plain = Writer::default();
    put_readings(&mut plain, rows.iter());
    let contents = [
        manifest.encode(),
        head.encode(),
        run::encode(&meter, &block),
        encode_superseded(&replaced),
        plain.0,
    ];
    let contents = (0..).zip(contents);
    let contents = contents.map(|(kind, content)| [&[kind], &*content].concat());
    seeds("stored", stored, contents);
}
