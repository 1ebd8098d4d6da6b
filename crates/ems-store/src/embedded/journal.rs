//! The journal: every commit is here, sealed and synced, before it is acknowledged.
//!
//! A file has a key of its own, which is destroyed with it. Records are numbered and chained: the
//! associated data of each holds its number, its length and the tag of the one before. The file is
//! filled with zeros ahead of use, so that a write changes no metadata, and so that a torn end
//! (sectors never written are zero) is told from damage (they are not).

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ems_crypto::seal::{DataKey, Sealer, aad};

use super::vfs::{File, Ground, Mode, Vfs, doubt};
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"EMSJRNL\0";
/// The format of journals written here.
const FORMAT: u16 = 1;
const HEADER: u64 = 4096;
const FRAME: usize = 16;
const TAG: usize = 16;
/// Ends a content; zeros follow to a multiple of 16 bytes.
const PAD: u8 = 0x80;
/// A sector is written whole or not at all.
const SECTOR: usize = 512;
/// No record is longer.
const MAX_RECORD: usize = 256 << 20;

/// Which file of which instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalId {
    pub(crate) instance: [u8; 16],
    pub(crate) number: u64,
}

/// The path of a journal.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.journal"))
}

/// The numbers of the journals in a directory, ascending.
pub(crate) fn list(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for name in vfs.list(dir).map_err(Error::io(place(dir)))? {
        let number = name.strip_suffix(".journal");
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A journal open for appending.
pub(crate) struct Journal {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    file: Box<dyn File>,
    place: String,
    sealer: Sealer,
    header: Vec<u8>,
    /// The number of the next record.
    next: u64,
    last_tag: [u8; TAG],
    end: u64,
    /// How far the file is filled with zeros and synced.
    filled: u64,
    /// How far it is filled with zeros that the next sync brings to the disk.
    unsynced: Option<u64>,
    /// A new file has this many zeros; half as many are kept behind the last record.
    ahead: u64,
}

/// What a replay found at the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Every record is whole.
    Clean,
    /// The last write never wholly reached the disk, so was never acknowledged.
    Torn,
}

impl Journal {
    /// Makes the file of a new, empty journal; durable when it returns. Its key comes after it: a
    /// file without a key was never used, a key without a file has lost it.
    pub(crate) fn create(ground: &Ground, dir: &Path, id: JournalId) -> Result<()> {
        let path = path(dir, id.number);
        let place = place(&path);
        let file = ground
            .vfs
            .open(&path, Mode::Fresh)
            .map_err(Error::io(&place))?;
        let header = header(id);
        file.write_at(&header, 0).map_err(Error::io(&place))?;
        write_zeros(file.as_ref(), &place, HEADER, HEADER + ground.ahead)?;
        file.sync_all().map_err(Error::io(&place))?;
        sync_dir(ground.vfs.as_ref(), dir)
    }

    /// Opens a journal, hands each record to `apply` in order, and leaves it open for appending.
    ///
    /// A torn end is passed over, and the journal then takes no more: its next record would be sealed
    /// with the nonce of the torn one, which may be on a copy of the disk. Anything else that does not
    /// open is an error that names the record.
    pub(crate) fn replay(
        ground: &Ground,
        dir: &Path,
        id: JournalId,
        key: &DataKey,
        apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<(Option<Self>, End)> {
        let path = path(dir, id.number);
        let place = place(&path);
        let settled = doubt::settle(ground.vfs.as_ref(), &path);
        let file = settled.and_then(|()| ground.vfs.open(&path, Mode::Existing));
        let file = file.map_err(Error::io(&place))?;
        let bytes = ground.vfs.read(&path).map_err(Error::io(&place))?;
        check_header(&place, &bytes, id)?;
        let mut journal = Self {
            vfs: Arc::clone(&ground.vfs),
            path,
            file,
            place,
            sealer: Sealer::new(key),
            header: header(id),
            next: 0,
            last_tag: [0; TAG],
            end: HEADER,
            filled: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            unsynced: None,
            ahead: ground.ahead,
        };
        let end = journal.read_records(&bytes, apply)?;
        if journal.next > 0 {
            // What a killed process wrote and did not sync is seen from now on.
            journal.sync()?;
        }
        Ok(((end == End::Clean).then_some(journal), end))
    }

    fn read_records(
        &mut self,
        bytes: &[u8],
        apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<End> {
        loop {
            let start = usize::try_from(self.end).unwrap_or(usize::MAX);
            let rest = bytes.get(start..).unwrap_or_default();
            if is_zero(rest) {
                return Ok(End::Clean);
            }
            match self.read_record(rest) {
                Ok((content, length)) => {
                    let number = self.next;
                    apply(number, &content)?;
                    self.advance(length, rest);
                }
                Err(_) if self.is_torn(start, rest) => return Ok(End::Torn),
                Err(why) => {
                    let record = format!("{}, record {} at byte {start}", self.place, self.next);
                    return Err(Error::damaged(record, why));
                }
            }
        }
    }

    /// The content of the record at the start of `rest`, and its length in the file.
    fn read_record(&self, rest: &[u8]) -> Result<(Vec<u8>, usize), &'static str> {
        let (length, number) = frame_of(rest).ok_or("its frame is cut")?;
        if number != self.next {
            return Err("its number is not the next one");
        }
        if length > MAX_RECORD {
            return Err("its length is beyond any record");
        }
        let mut content = rest.get(FRAME..FRAME + length).ok_or("it is cut")?.to_vec();
        let aad = self.aad(length);
        self.sealer
            .open_numbered(number, &aad, &mut content)
            .map_err(|_| "it does not open")?;
        unpad(&mut content).ok_or("its padding is not as it was written")?;
        Ok((content, FRAME + length))
    }

    /// Whether what lies at `start` is a write that never reached the disk whole: a sector's part of
    /// it is all zero, which sealed bytes are not, and no later record follows.
    fn is_torn(&self, start: usize, rest: &[u8]) -> bool {
        let later = |frame: &[u8]| {
            frame_of(frame)
                .is_some_and(|(_, number)| number > self.next && number - self.next < 1 << 32)
        };
        if (16..rest.len())
            .step_by(16)
            .any(|at| rest.get(at..).is_some_and(later))
        {
            return false;
        }
        let (head, _) = rest.split_at(rest.len().min(SECTOR - start % SECTOR));
        let Some((length, _)) = frame_of(rest) else {
            return is_zero(head);
        };
        let record = rest.get(..FRAME + length).unwrap_or(rest);
        let (head, sectors) = record.split_at(record.len().min(head.len()));
        record.len() < FRAME + length || is_zero(head) || sectors.chunks(SECTOR).any(is_zero)
    }

    fn advance(&mut self, length: usize, record: &[u8]) {
        self.next += 1;
        self.end += u64::try_from(length).unwrap_or(u64::MAX);
        if let Some(tag) = record
            .get(length - TAG..length)
            .and_then(|tag| tag.try_into().ok())
        {
            self.last_tag = tag;
        }
    }

    /// Associated data: the file, the record's number and length, the tag of the one before.
    fn aad(&self, length: usize) -> Vec<u8> {
        let length = u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes();
        aad(&[
            &self.header,
            &self.next.to_le_bytes(),
            &length,
            &self.last_tag,
        ])
    }

    /// Makes room for a record of `content` bytes and the reserve behind it. A failure (a full
    /// disk) changes nothing. Where the record fits in what is filled already, its sync is that of
    /// the new zeros too.
    pub(crate) fn reserve(&mut self, content: usize) -> Result<()> {
        let wanted = self.end_of(content) + self.ahead / 2;
        if wanted <= self.filled {
            return Ok(());
        }
        let until = wanted.next_multiple_of(self.ahead / 4);
        write_zeros(self.file.as_ref(), &self.place, self.filled, until)?;
        if self.has_room(content) {
            self.unsynced = Some(until);
            return Ok(());
        }
        // Where this fails, they are written again: nobody takes them for synced later.
        self.file.sync_all().map_err(Error::io(&self.place))?;
        self.filled = until;
        Ok(())
    }

    /// Whether a record of `content` bytes fits in what is filled already.
    pub(crate) fn has_room(&self, content: usize) -> bool {
        self.end_of(content) <= self.filled
    }

    fn end_of(&self, content: usize) -> u64 {
        self.end + u64::try_from(FRAME + padded(content) + TAG).unwrap_or(u64::MAX)
    }

    /// Appends a record and syncs it: durable when it returns. After an error the state of the file
    /// is not known: the caller must write to this journal no more.
    pub(crate) fn append(&mut self, content: &[u8]) -> Result<()> {
        let length = padded(content.len()) + TAG;
        let mut buffer = Vec::with_capacity(FRAME + length);
        buffer.extend_from_slice(&frame(length, self.next));
        buffer.extend_from_slice(content);
        buffer.push(PAD);
        buffer.resize(FRAME + length - TAG, 0);
        let aad = self.aad(length);
        self.last_tag = self
            .sealer
            .seal_numbered(self.next, &aad, &mut buffer, FRAME);
        self.file
            .write_at(&buffer, self.end)
            .map_err(Error::io(&self.place))?;
        self.sync()?;
        self.filled = self.unsynced.take().unwrap_or(self.filled);
        self.next += 1;
        self.end += u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let synced = match self.unsynced {
            Some(_) => self.file.sync_all(),
            None => self.file.sync_data(),
        };
        if synced.is_err() {
            doubt::raise(self.vfs.as_ref(), &self.path);
        }
        synced.map_err(Error::io(&self.place))
    }

    /// Bytes of records so far.
    pub(crate) fn length(&self) -> u64 {
        self.end - HEADER
    }
}

/// Writes zeros.
fn write_zeros(file: &dyn File, place: &str, from: u64, until: u64) -> Result<()> {
    let zeros = vec![0_u8; 1 << 20];
    let mut at = from;
    while at < until {
        let piece = usize::try_from(until - at)
            .unwrap_or(usize::MAX)
            .min(zeros.len());
        let piece = zeros.get(..piece).unwrap_or(&zeros);
        file.write_at(piece, at).map_err(Error::io(place))?;
        at += u64::try_from(piece.len()).unwrap_or(0);
    }
    Ok(())
}

fn place(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn header(id: JournalId) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header.extend_from_slice(&id.instance);
    header.extend_from_slice(&id.number.to_le_bytes());
    header.resize(usize::try_from(HEADER).unwrap_or(4096), 0);
    header
}

fn check_header(place: &str, bytes: &[u8], id: JournalId) -> Result<()> {
    let expected = header(id);
    if bytes.starts_with(&expected) {
        return Ok(());
    }
    let format = bytes
        .get(8..10)
        .and_then(|format| format.try_into().ok())
        .map_or(0, u16::from_le_bytes);
    if bytes.starts_with(MAGIC) && format > FORMAT {
        return Err(Error::Version {
            place: place.to_owned(),
            found: format,
            known: FORMAT,
        });
    }
    Err(Error::damaged(
        place,
        "its header is not the one of this instance's journal of this number",
    ))
}

/// A record's frame: its length, its number, a checksum of both. The seal guards against an edit;
/// the checksum only tells a frame that was hit by chance from a write that never came.
fn frame(length: usize, number: u64) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let fields = length.into_iter().chain(number.to_le_bytes());
    let fields: Vec<u8> = fields.collect();
    let sum = crc32fast::hash(&fields).to_le_bytes();
    frame
        .iter_mut()
        .zip(fields.into_iter().chain(sum))
        .for_each(|(to, from)| *to = from);
    frame
}

/// Length of the sealed content and number of the record at the start of `rest`.
fn frame_of(rest: &[u8]) -> Option<(usize, u64)> {
    let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?;
    let number = u64::from_le_bytes(*rest.get(4..)?.first_chunk()?);
    (length >= TAG && rest.starts_with(&frame(length, number))).then_some((length, number))
}

/// Whether bytes were never written.
fn is_zero(bytes: &[u8]) -> bool {
    let zeros = [0; 4096];
    bytes
        .chunks(zeros.len())
        .all(|chunk| zeros.starts_with(chunk))
}

/// The length of a content with its padding: records begin and end at multiples of 16 bytes, so
/// that no piece of one in a sector is short enough to be zero by chance.
fn padded(content: usize) -> usize {
    (content + 1).next_multiple_of(16)
}

/// Takes the padding (ISO/IEC 7816-4: one marker, then zeros) off an opened content.
fn unpad(content: &mut Vec<u8>) -> Option<()> {
    let marker = content.iter().rposition(|byte| *byte != 0)?;
    let good = content.get(marker) == Some(&PAD) && content.len() - marker <= 16;
    content.truncate(marker);
    good.then_some(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    vfs.sync_dir(dir).map_err(Error::io(place(dir)))
}

#[cfg(test)]
mod tests;
