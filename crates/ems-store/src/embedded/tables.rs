//! The rows of the readings engine in one redb file: a table a kind, with keys of a fixed length.

use std::path::Path;

use redb::{
    ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, TableError,
    TableHandle as _, WriteTransaction,
};

use super::{
    fault::engine,
    vfs::{EngineFile, Ground},
};
use crate::{
    Error, Result, Table,
    readings::{
        disk::FORMAT,
        rows::{Change, HEAD_KEY, Key, Kind, Look, Rows, Take, Told},
    },
};

/// A table with keys of `N` bytes.
type Keyed<'a, const N: usize> = TableDefinition<'a, [u8; N], &'static [u8]>;

const PLAIN: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("plain");
const HEAD: Keyed<'_, 4> = TableDefinition::new("head");
const SEGMENTS: Keyed<'_, 30> = TableDefinition::new("segments");
const MANIFESTS: Keyed<'_, 16> = TableDefinition::new("manifests");
const SUPERSEDED: Keyed<'_, 24> = TableDefinition::new("superseded");
const RECORDS: Keyed<'_, 16> = TableDefinition::new("records");
const LEDGER: Keyed<'_, 8> = TableDefinition::new("ledger");
const RUN: &str = "run-";

const CACHE_BYTES: usize = 32 << 20;
/// Bytes of a piece: with its key and the engine's own 8 bytes it fills a page of 4 KiB.
const PIECE: usize = 4096 - 8 - 30;

/// Does something with the definition of a kind's table.
macro_rules! with_table {
    ($kind:expr, $table:ident => $work:expr) => {
        match $kind {
            Kind::Head => with_table!(@ HEAD, $table => $work),
            Kind::Segments => with_table!(@ SEGMENTS, $table => $work),
            Kind::Manifests => with_table!(@ MANIFESTS, $table => $work),
            Kind::Superseded => with_table!(@ SUPERSEDED, $table => $work),
            Kind::Records(_) => with_table!(@ RECORDS, $table => $work),
            Kind::Ledger => with_table!(@ LEDGER, $table => $work),
            kind @ Kind::Run(_) => {
                let name = kind.name();
                let run: Keyed<'_, 16> = TableDefinition::new(&name);
                with_table!(@ run, $table => $work)
            }
        }
    };
    (@ $definition:expr, $table:ident => $work:expr) => {{
        let $table = $definition;
        $work
    }};
}

/// The rows in the engine's file.
pub(crate) struct Tables {
    file: EngineFile,
}

impl Tables {
    /// Opens the file of a directory, and makes it where it is not.
    ///
    /// # Errors
    /// [`Error::Version`] where it was written in another format; others.
    pub(crate) fn open(ground: &Ground, dir: &Path) -> Result<Self> {
        let file = EngineFile::open(ground, &dir.join("engine.redb"), CACHE_BYTES)?;
        let tables = Self { file };
        let found = tables.format()?.unwrap_or(FORMAT);
        if found == FORMAT {
            return Ok(tables);
        }
        Err(Error::Version {
            place: tables.name().into(),
            found,
            known: FORMAT,
        })
    }

    /// The format of what is stored; `None` where nothing was ever written.
    fn format(&self) -> Result<Option<u16>> {
        let read = self.file.begin_read()?;
        let plain = match read.open_table(PLAIN) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table.map_err(engine)?,
        };
        let format = plain.get("format").map_err(engine)?;
        let read = |value: &[u8]| value.try_into().map_or(0, u16::from_le_bytes);
        Ok(format.map(|value| read(value.value())))
    }
}

impl Rows for Tables {
    fn name(&self) -> &'static str {
        "engine.redb"
    }

    fn is_new(&self) -> Result<bool> {
        Ok(self.format()?.is_none())
    }

    fn folds_ledger(&self) -> bool {
        true
    }

    fn entries(&self, _from: u64, _limit: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        Ok(Vec::new())
    }

    fn records(&self) -> &[Kind] {
        // All in one table, whatever they are.
        &[Kind::Records(Table::Meters)]
    }

    fn piece(&self) -> usize {
        PIECE
    }

    fn look(&self) -> Result<Box<dyn Look>> {
        Ok(Box::new(Snapshot(self.file.begin_read()?)))
    }

    fn expect_room(&self, rows: usize, bytes: usize) -> Result<()> {
        self.file.expect_room(rows, bytes)
    }

    fn write(&self, changes: Vec<Change>, told: &mut dyn Told) -> Result<()> {
        let write = self.file.begin_write()?;
        if self.is_new()? {
            make(&write)?;
        }
        let mut rest = changes.into_iter().peekable();
        while let Some(kind) = rest.peek().map(Change::kind) {
            let of_kind = |change: &Change| change.kind() == kind;
            let changes = std::iter::from_fn(|| rest.next_if(of_kind));
            with_table!(kind, table => change(&write, table, kind, changes, told))?;
        }
        let mut head = write.open_table(HEAD).map_err(engine)?;
        let key = HEAD_KEY.first_chunk().copied().unwrap_or_default();
        head.insert(key, told.head()?.as_slice()).map_err(engine)?;
        drop(head);
        write.commit().map_err(engine)
    }

    fn compact(&self) -> Result<()> {
        self.file.compact()
    }
}

/// Makes the tables of a new file.
fn make(write: &WriteTransaction) -> Result<()> {
    let mut plain = write.open_table(PLAIN).map_err(engine)?;
    let format = FORMAT.to_le_bytes();
    plain.insert("format", format.as_slice()).map_err(engine)?;
    for kind in [
        Kind::Segments,
        Kind::Manifests,
        Kind::Superseded,
        Kind::Records(Table::Meters),
        Kind::Ledger,
    ] {
        with_table!(kind, table => write.open_table(table).map(drop)).map_err(engine)?;
    }
    Ok(())
}

/// Makes the changes of one table.
fn change<const N: usize>(
    write: &WriteTransaction,
    definition: Keyed<'_, N>,
    kind: Kind,
    changes: impl Iterator<Item = Change>,
    told: &mut dyn Told,
) -> Result<()> {
    let mut table = write.open_table(definition).map_err(engine)?;
    let mut gone = false;
    for change in changes {
        match change {
            Change::Row(_, key, value) => {
                let key: [u8; N] = fixed(key.as_slice())?;
                let old = match &value {
                    Some(value) => table.insert(key, value.as_slice()).map_err(engine)?,
                    None => table.remove(key).map_err(engine)?,
                };
                let old = old.as_ref().map(|old| old.value().into());
                told.row(kind, &key, old, value.as_deref().map(Into::into));
            }
            Change::Rows(_, from, until) => {
                let (from, until): ([u8; N], [u8; N]) =
                    (fixed(from.as_slice())?, fixed(until.as_slice())?);
                let removed = table.retain_in(from..=until, |key, value| {
                    told.row(kind, &key, Some(value.into()), None);
                    false
                });
                removed.map_err(engine)?;
            }
            Change::Run(_) => {
                for row in table.iter().map_err(engine)? {
                    let (key, value) = row.map_err(engine)?;
                    told.row(kind, &key.value(), Some(value.value().into()), None);
                }
                gone = true;
            }
        }
    }
    drop(table);
    if gone {
        write.delete_table(definition).map_err(engine)?;
    }
    Ok(())
}

/// A key of the length that its table has.
fn fixed<const N: usize>(key: &[u8]) -> Result<[u8; N]> {
    let wrong = |_| Error::Engine("a key of another length than its table's".into());
    key.try_into().map_err(wrong)
}

/// A snapshot of the file.
struct Snapshot(ReadTransaction);

impl Snapshot {
    /// A table; `None` for one that is not there.
    fn table<const N: usize>(
        &self,
        definition: Keyed<'_, N>,
    ) -> Result<Option<redb::ReadOnlyTable<[u8; N], &'static [u8]>>> {
        match self.0.open_table(definition) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            table => table.map(Some).map_err(engine),
        }
    }

    fn get<const N: usize>(&self, of: Keyed<'_, N>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(table) = self.table(of)? else {
            return Ok(None);
        };
        let found = table.get(fixed(key)?).map_err(engine)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn range<const N: usize>(
        &self,
        of: Keyed<'_, N>,
        bounds: Option<(&[u8], &[u8])>,
        take: Take<'_>,
    ) -> Result<()> {
        let Some(table) = self.table(of)? else {
            return Ok(());
        };
        let (from, until) = match bounds {
            Some((from, until)) => (fixed(from)?, fixed(until)?),
            None => ([0; N], [0xff; N]),
        };
        for row in table.range(from..=until).map_err(engine)? {
            let (key, value) = row.map_err(engine)?;
            take(&key.value(), value.value())?;
        }
        Ok(())
    }

    fn floor<const N: usize>(&self, of: Keyed<'_, N>, key: &[u8]) -> Result<Option<Key>> {
        let Some(table) = self.table(of)? else {
            return Ok(None);
        };
        let last = table.range(..=fixed(key)?).map_err(engine)?.next_back();
        let last = last.transpose().map_err(engine)?;
        Ok(last.map(|(key, _)| key.value().into()))
    }

    fn count<const N: usize>(&self, of: Keyed<'_, N>) -> Result<u64> {
        let table = self.table(of)?;
        table.map_or(Ok(0), |table| table.len().map_err(engine))
    }
}

impl Look for Snapshot {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        with_table!(kind, table => self.get(table, key))
    }

    fn get_all(&self, kind: Kind, keys: &[Key], take: Take<'_>) -> Result<()> {
        with_table!(kind, table => {
            let Some(table) = self.table(table)? else {
                return Ok(());
            };
            for key in keys {
                let key = key.as_slice();
                if let Some(value) = table.get(fixed(key)?).map_err(engine)? {
                    take(key, value.value())?;
                }
            }
            Ok(())
        })
    }

    fn range(&self, kind: Kind, from: &[u8], until: &[u8], take: Take<'_>) -> Result<()> {
        with_table!(kind, table => self.range(table, Some((from, until)), take))
    }

    fn all(&self, kind: Kind, take: Take<'_>) -> Result<()> {
        with_table!(kind, table => self.range(table, None, take))
    }

    fn floor(&self, kind: Kind, key: &[u8]) -> Result<Option<Key>> {
        with_table!(kind, table => self.floor(table, key))
    }

    fn count(&self, kind: Kind) -> Result<u64> {
        with_table!(kind, table => self.count(table))
    }

    fn runs(&self) -> Result<Vec<u64>> {
        let tables = self.0.list_tables().map_err(engine)?;
        let number = |name: &str| u64::from_str_radix(name.strip_prefix(RUN)?, 16).ok();
        let mut runs: Vec<u64> = tables.filter_map(|table| number(table.name())).collect();
        runs.sort_unstable();
        Ok(runs)
    }
}
