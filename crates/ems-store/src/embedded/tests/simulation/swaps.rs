//! What is removed, put in twice, moved to another place or put back as it once was: a row of the
//! engine's file, a record of the journal, a file. Opening or verifying names each.

use std::path::{Path, PathBuf};

use redb::{ReadableTable as _, TableDefinition, TableHandle as _};

use super::{
    super::super::vfs::{EngineFile, simulated::SimulatedDisk},
    run::{Files, Run, Verdict},
};

const ENGINE: &str = "/data/engine.redb";
const HEADER: usize = 4096;
const FRAME: usize = 16;

/// Two states of one store; folds lie between.
struct Pair {
    run: Run,
    runtime: tokio::runtime::Runtime,
    before: Files,
    after: Files,
}

impl Pair {
    fn new(seed: u64, close: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (run, before, after) = runtime.block_on(Run::small(seed, close));
        Self {
            run,
            runtime,
            before,
            after,
        }
    }

    /// What names it that the later state's files were changed to these.
    fn named(&self, what: &str, files: Files) -> String {
        assert_ne!(files, self.after, "{what}: nothing was changed");
        match self.runtime.block_on(self.run.judge(files)) {
            Verdict::Named(named) => named,
            Verdict::AsItWas(_) => panic!("{what}: it went unseen"),
        }
    }

    /// Does to each row of a table what can be done to it; returns how often that was.
    fn tamper<K: Key>(&self, table: &str) -> usize {
        let old = rows::<K>(&self.before, table);
        let now = rows::<K>(&self.after, table);
        let mut edits: Vec<(String, Edit<K>)> = Vec::new();
        for (at, (key, value)) in now.iter().enumerate() {
            edits.push((format!("row {at} removed"), vec![(*key, None)]));
            let beside = vec![(key.beside(), Some(value.clone()))];
            edits.push((format!("row {at} put in twice"), beside));
            if let Some((other, elsewhere)) = now.get(at + 1) {
                let swap = vec![
                    (*key, Some(elsewhere.clone())),
                    (*other, Some(value.clone())),
                ];
                edits.push((format!("row {at} swapped"), swap));
            }
        }
        for (key, value) in old {
            if !now.iter().any(|row| row.0 == key && row.1 == value) {
                edits.push(("a row put back".into(), vec![(key, Some(value))]));
            }
        }
        for (what, edit) in &edits {
            let mut files = self.after.clone();
            write(&mut files, table, edit);
            let named = self.named(&format!("{table}, {what}"), files);
            assert!(named.contains("engine.redb"), "{table}, {what}: {named}");
        }
        edits.len()
    }
}

/// Rows to put, or to remove.
type Edit<K> = Vec<(K, Option<Vec<u8>>)>;

/// The keys of the engine's tables.
trait Key: redb::Key + 'static + for<'a> redb::Value<SelfType<'a> = Self> + Copy + PartialEq {
    /// A key that is not there.
    fn beside(&self) -> Self;
}

impl<const N: usize> Key for [u8; N] {
    fn beside(&self) -> Self {
        let mut key = *self;
        *key.last_mut().unwrap() ^= 0x55;
        key
    }
}

fn open(files: &Files) -> (EngineFile, SimulatedDisk) {
    let disk = SimulatedDisk::of(0, files.clone());
    let ground = Run::ground_on(&disk);
    (
        EngineFile::open(&ground, Path::new(ENGINE), 1 << 20).unwrap(),
        disk,
    )
}

fn rows<K: Key>(files: &Files, table: &str) -> Vec<(K, Vec<u8>)> {
    let (file, _) = open(files);
    let read = file.begin_read().unwrap();
    let Ok(table) = read.open_table(TableDefinition::<K, &[u8]>::new(table)) else {
        return Vec::new();
    };
    let rows = table.iter().unwrap().map(Result::unwrap);
    rows.map(|(key, value)| (key.value(), value.value().to_vec()))
        .collect()
}

fn write<K: Key>(files: &mut Files, table: &str, edit: &[(K, Option<Vec<u8>>)]) {
    let (file, disk) = open(files);
    let write = file.begin_write().unwrap();
    {
        let mut table = write
            .open_table(TableDefinition::<K, &[u8]>::new(table))
            .unwrap();
        for (key, value) in edit {
            match value {
                Some(value) => drop(table.insert(key, value.as_slice()).unwrap()),
                None => drop(table.remove(key).unwrap()),
            }
        }
    }
    write.commit().unwrap();
    drop(file);
    let content = disk.files().remove(Path::new(ENGINE)).unwrap();
    files.insert(PathBuf::from(ENGINE), content);
}

/// The names of the runs' tables.
fn runs(files: &Files) -> Vec<String> {
    let (file, _) = open(files);
    let read = file.begin_read().unwrap();
    let names = read
        .list_tables()
        .unwrap()
        .map(|table| table.name().to_owned());
    names.filter(|name| name.starts_with("run-")).collect()
}

#[test]
fn every_row_removed_doubled_swapped_or_put_back_is_named() {
    let pair = Pair::new(21, true);
    let mut tampered = [
        pair.tamper::<[u8; 30]>("segments"),
        pair.tamper::<[u8; 16]>("manifests"),
        pair.tamper::<[u8; 24]>("superseded"),
        pair.tamper::<[u8; 16]>("records"),
        pair.tamper::<[u8; 8]>("ledger"),
    ]
    .to_vec();
    let runs = runs(&pair.after);
    tampered.extend(runs.iter().map(|run| pair.tamper::<[u8; 16]>(run)));
    println!("{tampered:?} changes, each named");
    assert!(tampered.iter().all(|count| *count > 1), "{tampered:?}");
}

/// The journal's bytes, cut into header, records and the rest.
fn records(content: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut rest = &content[HEADER..];
    loop {
        // One that is being made may have no zeros yet.
        let length = rest.first_chunk().copied().map_or(0, u32::from_le_bytes);
        let length = usize::try_from(length).unwrap();
        if length == 0 {
            return records;
        }
        let (record, after) = rest.split_at(FRAME + length);
        records.push(record.to_vec());
        rest = after;
    }
}

#[test]
fn every_journal_record_removed_doubled_or_swapped_is_named() {
    let pair = Pair::new(22, false);
    let mut changes = 0;
    for (path, content) in &pair.after {
        if path.extension() != Some("journal".as_ref()) {
            continue;
        }
        let all = records(content);
        let mut change = |what: String, records: Vec<Vec<u8>>| {
            let mut edited = content[..HEADER].to_vec();
            records.iter().for_each(|record| edited.extend(record));
            edited.resize(content.len().max(edited.len()), 0);
            let mut files = pair.after.clone();
            files.insert(path.clone(), edited);
            let named = pair.named(&what, files);
            assert!(named.contains(".journal"), "{what}: {named}");
            changes += 1;
        };
        for at in 0..all.len() {
            let mut doubled = all.clone();
            doubled.insert(at, all[at].clone());
            change(format!("record {at} doubled"), doubled);
            // Without its last record a journal looks as if it had never been longer.
            if at + 1 < all.len() {
                let mut removed = all.clone();
                removed.remove(at);
                change(format!("record {at} removed"), removed);
                let mut swapped = all.clone();
                swapped.swap(at, at + 1);
                change(format!("record {at} swapped"), swapped);
            }
        }
    }
    println!("{changes} changes of journals, each named");
    assert!(changes > 5);
}

#[test]
fn every_file_removed_or_put_back_as_it_once_was_is_named() {
    let mut changes = 0;
    for close in [true, false] {
        let pair = Pair::new(23, close);
        let journal = |path: &&PathBuf| path.extension() == Some("journal".as_ref());
        // The journal that was made ahead holds nothing yet.
        let ahead = pair.after.keys().rfind(journal).filter(|_| !close);
        let told = |path: &&PathBuf| !path.ends_with("lock") && ahead != Some(*path);
        for path in pair.after.keys().filter(told) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let mut files = pair.after.clone();
            files.remove(path);
            let named = pair.named(&format!("{name} removed"), files);
            assert!(
                named.contains(name.trim_start_matches('0')),
                "{name} removed: {named}"
            );
            let old = if journal(&path) {
                // One of another number. An older copy of itself is a rollback, which only something
                // outside this machine can tell.
                let mut others = pair.before.keys().filter(journal);
                let other = others.find(|other| *other != path);
                other.and_then(|other| pair.before.get(other))
            } else {
                pair.before.get(path)
            };
            let mut files = pair.after.clone();
            files.insert(path.clone(), old.unwrap().clone());
            pair.named(&format!("{name} put back"), files);
            changes += 2;
        }
    }
    println!("{changes} changes of files, each named");
    assert!(changes >= 16);
}
