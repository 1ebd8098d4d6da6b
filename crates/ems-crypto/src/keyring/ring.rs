//! The keyring: every key-encryption key and journal key of an instance, and what was destroyed.
//!
//! A page's number is its key's name and is never given again, so a wrapped key says under which
//! key it lies, for ever. A page that is *retiring* takes no more keys: what it holds is on its way
//! to another page, and its key is destroyed after that.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{Kek, RootKey, envelope::Envelope};
use crate::{Error, Result, random, seal::DataKey};

const MAGIC: &[u8; 8] = b"EMSKEYRG";
/// The format that is written here.
const FORMAT: u16 = 2;
const HEADER: usize = 34;

/// A subject whose key is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destroyed {
    /// The token of its key.
    pub subject: [u8; 16],
    /// The token that its data was stored under: what a copy from before may still hold of it.
    pub data: [u8; 16],
    /// When, in microseconds since 1970.
    pub at: i64,
}

/// Where a change of the root key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootChange {
    /// One root key opens the keyring.
    Settled,
    /// The old one is in use; the new one would open it too.
    Pending,
    /// The new one is in use; the old one still opens it.
    Arrived,
}

#[derive(Debug, Clone)]
struct Page {
    kek: Kek,
    retiring: bool,
}

/// All key-encryption keys and journal keys of an instance.
#[derive(Debug, Clone)]
pub struct Keyring {
    instance: [u8; 16],
    generation: u64,
    envelope: Envelope,
    root_changed: i64,
    pages_rotated: i64,
    next_page: u32,
    /// Pages of a lower number are to be rotated.
    rotate_below: u32,
    pages: BTreeMap<u32, Page>,
    journals: BTreeMap<u64, DataKey>,
    destroyed: Vec<Destroyed>,
}

impl Keyring {
    /// The format that is written here.
    pub const FORMAT: u16 = FORMAT;

    /// An empty keyring of a new instance. `now` in microseconds since 1970, here and below.
    pub fn new(root: &RootKey, now: i64) -> Self {
        let instance = random::bytes();
        Self {
            instance,
            generation: 0,
            envelope: Envelope::new(&instance, root),
            root_changed: now,
            pages_rotated: now,
            next_page: 0,
            rotate_below: 0,
            pages: BTreeMap::new(),
            journals: BTreeMap::new(),
            destroyed: Vec::new(),
        }
    }

    /// The random name of the instance, bound into all that it seals.
    pub fn instance(&self) -> [u8; 16] {
        self.instance
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When the root key was last changed.
    pub fn root_changed(&self) -> i64 {
        self.root_changed
    }

    /// When all pages were last rotated.
    pub fn pages_rotated(&self) -> i64 {
        self.pages_rotated
    }

    /// Where a change of the root key stands.
    pub fn root_change(&self) -> RootChange {
        match (self.envelope.is_shared(), self.envelope.is_newest()) {
            (false, _) => RootChange::Settled,
            (true, false) => RootChange::Pending,
            (true, true) => RootChange::Arrived,
        }
    }

    /// Lets a new root key open the keyring beside the one in use.
    ///
    /// # Errors
    /// [`Error::Form`] where it is the one in use.
    pub fn admit_root(&mut self, new: &RootKey) -> Result<()> {
        self.envelope.admit(&self.instance, new)?;
        self.generation += 1;
        Ok(())
    }

    /// Closes the keyring to every root key but this one, under a new key of its own: what an older
    /// root key gave out opens nothing that is written from now on.
    pub fn settle_root(&mut self, root: &RootKey, now: i64) {
        self.generation += 1;
        self.envelope = Envelope::new(&self.instance, root);
        self.root_changed = now;
    }

    /// The key of a page.
    pub fn page(&self, page: u32) -> Option<&Kek> {
        self.pages.get(&page).map(|page| &page.kek)
    }

    /// How many pages there are.
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// The pages from a number on that may take more keys, ascending.
    pub fn open_pages(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        let from = from.max(self.rotate_below);
        let pages = self.pages.range(from..);
        pages
            .filter(|(_, page)| !page.retiring)
            .map(|(number, _)| *number)
    }

    /// Makes keys for the next pages, and gives their numbers.
    pub fn add_pages(&mut self, count: u32) -> Vec<u32> {
        self.generation += 1;
        let first = self.next_page;
        self.next_page = first.saturating_add(count);
        let added: Vec<u32> = (first..self.next_page).collect();
        for number in &added {
            let page = Page {
                kek: Kek(DataKey::generate()),
                retiring: false,
            };
            self.pages.insert(*number, page);
        }
        added
    }

    /// Lets pages take no more keys.
    pub fn retire_pages(&mut self, pages: &[u32]) {
        self.generation += 1;
        for number in pages {
            if let Some(page) = self.pages.get_mut(number) {
                page.retiring = true;
            }
        }
    }

    /// The pages that take no more keys and are to be destroyed.
    pub fn retiring(&self) -> Vec<u32> {
        let pages = self.pages.iter().filter(|(_, page)| page.retiring);
        pages.map(|(number, _)| *number).collect()
    }

    /// Destroys the keys of pages, here.
    pub fn remove_pages(&mut self, pages: &[u32]) {
        self.generation += 1;
        self.pages.retain(|number, _| !pages.contains(number));
    }

    /// Begins a rotation of all pages, unless one is under way.
    pub fn begin_rotation(&mut self) {
        self.generation += 1;
        if self.rotate_below == 0 {
            self.rotate_below = self.next_page;
        }
    }

    /// The pages that a rotation under way has not reached.
    pub fn to_rotate(&self) -> Vec<u32> {
        let pages = self.pages.range(..self.rotate_below);
        pages.map(|(number, _)| *number).collect()
    }

    /// Whether a rotation of the pages is under way.
    pub fn is_rotating(&self) -> bool {
        self.rotate_below > 0
    }

    /// Ends a rotation that reached all pages.
    pub fn end_rotation(&mut self, now: i64) {
        self.generation += 1;
        self.rotate_below = 0;
        self.pages_rotated = now;
    }

    /// Notes that a subject's key is no more; once for a subject's data.
    pub fn note_destroyed(&mut self, entry: Destroyed) {
        let known = |other: &Destroyed| (other.subject, other.data) == (entry.subject, entry.data);
        if !self.destroyed.iter().any(known) {
            self.generation += 1;
            self.destroyed.push(entry);
        }
    }

    /// The subjects whose keys are no more, in the order of their end.
    pub fn destroyed(&self) -> &[Destroyed] {
        &self.destroyed
    }

    /// The key of a journal.
    pub fn journal_key(&self, number: u64) -> Option<&DataKey> {
        self.journals.get(&number)
    }

    /// The numbers of the journals that have a key, ascending.
    pub fn journals(&self) -> impl Iterator<Item = u64> + '_ {
        self.journals.keys().copied()
    }

    /// Makes the key of a journal; one that has a key keeps it, or its file would be lost.
    pub fn add_journal_key(&mut self, number: u64) {
        self.generation += 1;
        self.journals
            .entry(number)
            .or_insert_with(DataKey::generate);
    }

    /// Destroys the key of a journal, here.
    pub fn remove_journal_key(&mut self, number: u64) {
        self.generation += 1;
        self.journals.remove(&number);
    }

    /// The keyring, sealed.
    pub fn encode(&self) -> Vec<u8> {
        let content = self.content();
        let mut out = self.header();
        let sealed = self.envelope.seal(&out, &content);
        out.extend_from_slice(&self.envelope.head());
        out.extend_from_slice(&sealed);
        out
    }

    fn header(&self) -> Vec<u8> {
        [
            MAGIC.as_slice(),
            &FORMAT.to_le_bytes(),
            &self.instance,
            &self.generation.to_le_bytes(),
        ]
        .concat()
    }

    fn content(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it at once: a vector that grows leaves copies of keys behind.
        let keys = 37 * self.pages.len() + 40 * self.journals.len();
        let mut out = Zeroizing::new(Vec::with_capacity(48 + keys + 40 * self.destroyed.len()));
        out.extend_from_slice(&self.root_changed.to_le_bytes());
        out.extend_from_slice(&self.pages_rotated.to_le_bytes());
        out.extend_from_slice(&self.next_page.to_le_bytes());
        out.extend_from_slice(&self.rotate_below.to_le_bytes());
        put_count(&mut out, self.pages.len());
        for (number, page) in &self.pages {
            out.extend_from_slice(&number.to_le_bytes());
            out.push(u8::from(page.retiring));
            out.extend_from_slice(page.kek.0.expose());
        }
        put_count(&mut out, self.journals.len());
        for (number, key) in &self.journals {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(key.expose());
        }
        put_count(&mut out, self.destroyed.len());
        for entry in &self.destroyed {
            out.extend_from_slice(&entry.subject);
            out.extend_from_slice(&entry.data);
            out.extend_from_slice(&entry.at.to_le_bytes());
        }
        out
    }

    /// Opens a sealed keyring with a root key.
    ///
    /// # Errors
    /// [`Error::Root`] where the root key is another's or the bytes were changed; [`Error::Version`].
    pub fn decode(bytes: &[u8], root: &RootKey) -> Result<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or(Error::Root)?;
        let mut input = Input(header.strip_prefix(MAGIC).ok_or(Error::Root)?);
        let format = u16::from_le_bytes(input.take()?);
        if format != FORMAT {
            return Err(Error::Version(format));
        }
        let (instance, generation) = (input.take()?, u64::from_le_bytes(input.take()?));
        let (envelope, content) = Envelope::open(&instance, root, header, rest)?;
        let mut input = Input(&content);
        let mut ring = Self {
            instance,
            generation,
            envelope,
            root_changed: i64::from_le_bytes(input.take()?),
            pages_rotated: i64::from_le_bytes(input.take()?),
            next_page: u32::from_le_bytes(input.take()?),
            rotate_below: u32::from_le_bytes(input.take()?),
            pages: BTreeMap::new(),
            journals: BTreeMap::new(),
            destroyed: Vec::new(),
        };
        for _ in 0..u64::from_le_bytes(input.take()?) {
            let number = u32::from_le_bytes(input.take()?);
            let [retiring] = input.take()?;
            let page = Page {
                kek: Kek(DataKey::from_bytes(input.take()?)),
                retiring: retiring != 0,
            };
            ring.pages.insert(number, page);
        }
        for _ in 0..u64::from_le_bytes(input.take()?) {
            let number = u64::from_le_bytes(input.take()?);
            ring.journals
                .insert(number, DataKey::from_bytes(input.take()?));
        }
        for _ in 0..u64::from_le_bytes(input.take()?) {
            ring.destroyed.push(Destroyed {
                subject: input.take()?,
                data: input.take()?,
                at: i64::from_le_bytes(input.take()?),
            });
        }
        Ok(ring)
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<&DataKey> {
        let pages = self.pages.values().map(|page| &page.kek.0);
        let all = pages.chain(self.journals.values());
        all.chain([self.envelope.key()]).collect()
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes());
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Error::Root)?;
        self.0 = rest;
        Ok(*taken)
    }
}
