//! A fuzz target: whatever happens to a journal's file, no record comes out of it that was not written,
//! and one that was lost is told from one that never came.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ems_fuzz::{Input, linear};

use super::{
    DataKey, End, FRAME, File, HEADER, Journal, JournalId, Result, SECTOR, Sealer, TAG,
    check_header, header, is_zero, padded,
};
use crate::embedded::vfs::RealDisk;

const ID: JournalId = JournalId {
    instance: [7; 16],
    number: 3,
};
/// Under which nothing was ever written.
const FOREIGN: [u8; 32] = [9; 32];
/// The zeros behind the last record.
const AHEAD: usize = 1024;

/// A file in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for Memory {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let mut all = self.bytes();
        let end = at + bytes.len();
        if all.len() < end {
            all.resize(end, 0);
        }
        all.get_mut(at..end)
            .ok_or(io::ErrorKind::InvalidInput)?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A journal without a file system.
fn opened(key: [u8; 32], file: &Memory) -> Journal {
    Journal {
        vfs: Arc::new(RealDisk),
        path: PathBuf::new(),
        file: Box::new(file.clone()),
        place: "journal".to_owned(),
        sealer: Sealer::new(&DataKey::from_bytes(key)),
        header: header(ID),
        next: 0,
        last_tag: [0; TAG],
        end: HEADER,
        filled: u64::MAX,
        unsynced: None,
        ahead: 0,
    }
}

/// The records of a file, and how it ended.
fn read(key: [u8; 32], bytes: &[u8]) -> (Vec<Vec<u8>>, Result<End>) {
    let mut seen = Vec::new();
    let end = check_header("journal", bytes, ID).and_then(|()| {
        opened(key, &Memory::default()).read_records(bytes, &mut |_, content| {
            seen.push(content.to_vec());
            Ok(())
        })
    });
    (seen, end)
}

/// A file of arbitrary bytes behind a sound header yields nothing. Of a journal whose records the input
/// sizes and whose file it edits, the records that come are the first of those that were written; all of
/// them where nothing was edited; and where some are missing without an error, the file behind the last
/// is empty or was cut or zeroed within the next.
///
/// # Panics
/// Where that does not hold.
pub fn journal(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte().is_multiple_of(4) {
        linear(input.rest(), |bytes| {
            let file = [&header(ID), bytes].concat();
            let (seen, _) = read(FOREIGN, &file);
            assert!(seen.is_empty(), "a record that nobody wrote");
        });
        return;
    }
    let key = [1 + input.byte() % 4; 32];
    let written: Vec<Vec<u8>> = (0..=input.byte() % 5)
        .map(|number| vec![number; usize::from(input.short() % 1500)])
        .collect();
    let file = Memory::default();
    let mut journal = opened(key, &file);
    file.bytes().extend_from_slice(&header(ID));
    for record in &written {
        assert!(journal.append(record).is_ok());
    }
    let mut bytes = file.bytes().clone();
    bytes.resize(bytes.len() + AHEAD, 0);
    let whole = bytes.clone();
    edit(&mut bytes, input);
    let (seen, end) = read(key, &bytes);
    assert!(written.starts_with(&seen), "a record that nobody wrote");
    if bytes == whole {
        assert!(seen == written && matches!(end, Ok(End::Clean)));
    }
    if end.is_ok() && seen.len() < written.len() {
        let lost = written.get(seen.len()).map_or(0, Vec::len);
        let start = lengths(&seen);
        let record = bytes.get(start..).unwrap_or_default();
        let length = FRAME + padded(lost) + TAG;
        let gone = record.get(..length).is_none_or(|record| {
            let first = SECTOR - start % SECTOR;
            let (head, rest) = record.split_at(first.min(length));
            is_zero(head) || rest.chunks(SECTOR).any(is_zero)
        });
        assert!(
            gone || is_zero(record),
            "a record is lost and nobody is told"
        );
    }
}

/// The length of a file with these records.
fn lengths(records: &[Vec<u8>]) -> usize {
    let header = usize::try_from(HEADER).unwrap_or(0);
    let one = |record: &Vec<u8>| FRAME + padded(record.len()) + TAG;
    header + records.iter().map(one).sum::<usize>()
}

/// What disks, and those who can write to one, do to a file: bytes changed, stretches zeroed, copied
/// and cut.
fn edit(bytes: &mut Vec<u8>, mut input: Input<'_>) {
    while !input.rest().is_empty() {
        let (kind, at, more) = (input.byte(), input.short(), input.short());
        let at = usize::from(at) % (bytes.len() + 1);
        let more = usize::from(more);
        let end = bytes.len().min(at + more);
        match kind % 5 {
            0 => {
                let [byte, _] = input.short().to_le_bytes();
                bytes
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|there| *there ^= byte);
            }
            1 => bytes
                .iter_mut()
                .skip(at)
                .take(more)
                .for_each(|there| *there = 0),
            2 => bytes.truncate(at),
            3 => {
                let sector = at - at % SECTOR;
                bytes
                    .iter_mut()
                    .skip(sector)
                    .take(SECTOR)
                    .for_each(|there| *there = 0);
            }
            _ => {
                let copied = bytes.get(at..end).unwrap_or_default().to_vec();
                let to = usize::from(input.short());
                bytes
                    .iter_mut()
                    .skip(to)
                    .zip(copied)
                    .for_each(|(there, byte)| *there = byte);
            }
        }
    }
}
