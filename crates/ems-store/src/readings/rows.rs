//! The seam under the readings engine: tables of sealed rows in the order of their keys. A backend
//! keeps the rows; it knows nothing of what they hold.

use crate::{Result, Table};

/// A table of rows. The keys of a table all have the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The one row that says where the folded state stands.
    Head,
    /// Meter token, month, id, piece, big-endian.
    Segments,
    /// Meter token.
    Manifests,
    /// Meter token, sequence of the fold.
    Superseded,
    /// Token of table and id.
    Records(Table),
    /// Index of the first entry, big-endian.
    Ledger,
    /// Meter token, in a run of young rows.
    Run(u64),
}

impl Kind {
    /// The stable name, which goes into the tally.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Head => "head".into(),
            Self::Segments => "segments".into(),
            Self::Manifests => "manifests".into(),
            Self::Superseded => "superseded".into(),
            Self::Records(_) => "records".into(),
            Self::Ledger => "ledger".into(),
            Self::Run(run) => format!("run-{run:016x}"),
        }
    }
}

/// Bytes of a key at most.
const KEY: usize = 30;

/// The key of the head.
pub(crate) const HEAD_KEY: &[u8] = b"head";

/// The key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    bytes: [u8; KEY],
    length: usize,
}

impl Key {
    /// A key of the first 30 bytes of some parts.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut bytes = [0; KEY];
        let all = parts.iter().copied().flatten();
        let mut length = 0;
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = *from;
            length += 1;
        }
        Self { bytes, length }
    }

    /// Its bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl<const N: usize> From<[u8; N]> for Key {
    fn from(bytes: [u8; N]) -> Self {
        Self::of(&[&bytes])
    }
}

/// One change of a write.
#[derive(Debug)]
pub(crate) enum Change {
    /// Puts a row, or removes it where there is no value.
    Row(Kind, Key, Option<Vec<u8>>),
    /// Removes the rows from one key to another, both included.
    Rows(Kind, Key, Key),
    /// Removes a run with all its rows.
    Run(u64),
}

impl Change {
    /// The table that it changes.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Row(kind, ..) | Self::Rows(kind, ..) => *kind,
            Self::Run(run) => Kind::Run(*run),
        }
    }
}

/// Is told each row that a write changes, and then gives the head to be put with them.
pub(crate) trait Told {
    /// A row that was put, replaced or removed.
    fn row(&mut self, kind: Kind, key: &[u8], old: Option<Value<'_>>, new: Option<Value<'_>>);

    /// The head.
    fn head(&mut self) -> Result<Vec<u8>>;
}

/// What a tally needs of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    /// The first bytes, the token and the nonce of 28 among them where there are as many.
    pub(crate) start: &'a [u8],
    /// The length of all.
    pub(crate) length: usize,
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self {
            start: value,
            length: value.len(),
        }
    }
}

/// Takes a row: its key and its value.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Takes a row of a run: the run, the key and the value.
pub(crate) type TakeYoung<'a> = &'a mut dyn FnMut(u64, &[u8], &[u8]) -> Result<()>;

/// All rows as they were at one moment.
pub(crate) trait Look: Send + Sync {
    /// A row.
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Hands those of some rows that there are to `take`, in no order.
    fn get_all(&self, kind: Kind, keys: &[Key], take: Take<'_>) -> Result<()> {
        for key in keys {
            if let Some(value) = self.get(kind, key.as_slice())? {
                take(key.as_slice(), &value)?;
            }
        }
        Ok(())
    }

    /// Hands the rows from one key to another, both included, to `take`, ascending.
    fn range(&self, kind: Kind, from: &[u8], until: &[u8], take: Take<'_>) -> Result<()>;

    /// Hands all rows of a table to `take`, ascending.
    fn all(&self, kind: Kind, take: Take<'_>) -> Result<()>;

    /// The last key of a table that is not after `key`.
    fn floor(&self, kind: Kind, key: &[u8]) -> Result<Option<Key>>;

    /// The number of rows of a table.
    fn count(&self, kind: Kind) -> Result<u64>;

    /// The runs that there are, ascending.
    fn runs(&self) -> Result<Vec<u64>>;

    /// Hands what the runs hold under some keys to `take`, with the number of the run.
    fn in_runs(&self, keys: &[Key], take: TakeYoung<'_>) -> Result<()> {
        for run in self.runs()? {
            self.get_all(Kind::Run(run), keys, &mut |key, value| {
                take(run, key, value)
            })?;
        }
        Ok(())
    }
}

/// Where rows are kept.
pub(crate) trait Rows: Send + Sync {
    /// What faults call it.
    fn name(&self) -> &'static str;

    /// Whether nothing was ever written.
    fn is_new(&self) -> Result<bool>;

    /// Whether ledger entries are folded into [`Kind::Ledger`]. If not, the backend keeps them as they
    /// came, and [`Rows::entries`] gives them.
    fn folds_ledger(&self) -> bool;

    /// Ledger entries from `from` on, at most `limit`, where they are not folded.
    fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>>;

    /// The tables that hold the records, each once.
    fn records(&self) -> &[Kind];

    /// Bytes of a piece of a segment at most.
    fn piece(&self) -> usize;

    /// All rows as they are now.
    fn look(&self) -> Result<Box<dyn Look>>;

    /// Refuses a write of some rows and bytes that would not fit, before it is begun.
    fn expect_room(&self, rows: usize, bytes: usize) -> Result<()>;

    /// Makes changes, whole or not at all; durable when it returns. `told` hears of each row that is
    /// put, replaced or removed, and gives the head to be put with them. By one thread at a time.
    fn write(&self, changes: Vec<Change>, told: &mut dyn Told) -> Result<()>;

    /// Gives back room that is not needed.
    fn compact(&self) -> Result<()>;
}
