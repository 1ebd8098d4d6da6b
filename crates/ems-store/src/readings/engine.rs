//! What the writer, the folder and every reader share: the key tree, the folded state, and what is
//! newer than it in memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use data_encoding::BASE32_NOPAD;
use ems_core::{
    block::Block,
    clock::Clock,
    meter::{MeterId, MeterStatistics},
    time::{TimeRange, Timestamp},
};
use ems_crypto::{hash::IndexKey, seal::Sealer};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{
    disk::Disk,
    keys::{KeyTree, Token},
    manifest::SegmentMeta,
    meter::{Meter, State},
    table::Layer,
};
use crate::{Columns, Error, Piece, Record, Result, Superseded, Table, subject::Subject};

/// Whole segments and blocks held decoded, for scans that come again: some 900 KB each at most.
const CACHED: usize = 32;

/// The shared state of an open embedded store.
pub(crate) struct Engine {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<KeyTree>,
    pub(crate) disk: Disk,
    meters: RwLock<HashMap<MeterId, Arc<Meter>>>,
    /// Runs that hold a block which cannot be merged, since something is damaged.
    pub(crate) stuck: Mutex<BTreeSet<u64>>,
    /// How often a meter was forgotten.
    forgotten: AtomicU64,
    pub(crate) records: RwLock<RecordSet>,
    pub(crate) ledger: RwLock<LedgerTail>,
    pub(crate) durable: watch::Sender<u64>,
    blocks: Mutex<lru::LruCache<(Token, Place), Arc<Block>>>,
}

/// Where a block that is held decoded was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Segment(u64),
    Run(u64),
}

/// All records, in memory, and which of them the disk does not have yet.
#[derive(Default)]
pub(crate) struct RecordSet {
    pub(crate) tables: HashMap<Table, BTreeMap<Arc<str>, Record>>,
    pub(crate) changed: HashSet<(Table, Arc<str>)>,
}

impl RecordSet {
    /// The record of an id.
    pub(crate) fn get(&self, table: Table, id: &str) -> Option<&Record> {
        self.tables.get(&table)?.get(id)
    }

    /// Puts a record, or takes one away.
    pub(crate) fn apply(&mut self, table: Table, id: Arc<str>, record: Option<Record>) {
        let rows = self.tables.entry(table).or_default();
        match record {
            Some(record) => drop(rows.insert(Arc::clone(&id), record)),
            None => drop(rows.remove(&id)),
        }
        self.changed.insert((table, id));
    }
}

/// Ledger entries, each with its index.
pub(crate) type Entries = Vec<(u64, Arc<[u8]>)>;

/// Ledger entries that the disk does not have yet.
#[derive(Default)]
pub(crate) struct LedgerTail {
    /// The index of the first.
    pub(crate) first: u64,
    pub(crate) entries: Vec<Arc<[u8]>>,
}

impl LedgerTail {
    /// Entries from `from` on, at most `limit`; `None` where the first is not among these.
    fn range(&self, from: u64, limit: usize) -> Option<Entries> {
        let skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let rest = self.entries.get(skip..).unwrap_or_default();
        let entry = |(index, entry): (u64, &Arc<[u8]>)| (index, Arc::clone(entry));
        Some((from..).zip(rest).take(limit).map(entry).collect())
    }

    /// The index after the last.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }
}

impl Engine {
    /// Loads what is folded.
    pub(crate) fn load(clock: Arc<dyn Clock>, keys: Arc<KeyTree>, disk: Disk) -> Result<Self> {
        let mut records = RecordSet::default();
        let mut fault = None;
        let mut take = |table: Table, record: Record| {
            records
                .tables
                .entry(table)
                .or_default()
                .insert(Arc::clone(&record.id), record);
        };
        disk.records(&mut take, &mut |error| fault = Some(error))?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let head = disk.head()?;
        let cached = std::num::NonZeroUsize::new(CACHED).unwrap_or(std::num::NonZeroUsize::MIN);
        Ok(Self {
            clock,
            keys,
            disk,
            meters: RwLock::default(),
            stuck: Mutex::default(),
            forgotten: AtomicU64::new(0),
            records: RwLock::new(records),
            ledger: RwLock::new(LedgerTail {
                first: head.ledger,
                entries: Vec::new(),
            }),
            durable: watch::Sender::new(head.ledger),
            blocks: Mutex::new(lru::LruCache::new(cached)),
        })
    }

    /// A meter that has a record; `None` for one that has none.
    pub(crate) fn meter(&self, id: &MeterId) -> Result<Option<Arc<Meter>>> {
        if let Some(meter) = self.meters.read().get(id) {
            return Ok(Some(Arc::clone(meter)));
        }
        if self
            .records
            .read()
            .get(Table::Meters, id.as_str())
            .is_none()
        {
            return Ok(None);
        }
        self.load_meter(id).map(Some)
    }

    /// A meter, with or without a record. Its subject must have a key.
    pub(crate) fn load_meter(&self, id: &MeterId) -> Result<Arc<Meter>> {
        if let Some(meter) = self.meters.read().get(id) {
            return Ok(Arc::clone(meter));
        }
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let subject = Subject::Meter(id.clone());
        let token = self.keys.meter_token(id);
        let sealer = Sealer::new(&self.keys.existing(&subject)?);
        let (manifest, young) = self.disk.stored(&sealer, token)?;
        let meter = Meter {
            id: id.clone(),
            token,
            pseudonym: OnceLock::new(),
            state: RwLock::new(State::of(manifest, &young)),
        };
        let mut meters = self.meters.write();
        if self.forgotten.load(Ordering::SeqCst) != forgotten {
            // What was read may be of a meter that was erased meanwhile.
            drop(meters);
            return self.load_meter(id);
        }
        Ok(Arc::clone(
            meters.entry(id.clone()).or_insert_with(|| Arc::new(meter)),
        ))
    }

    /// Forgets what is in memory of a meter that was erased.
    pub(crate) fn forget(&self, token: Token) {
        let mut meters = self.meters.write();
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        meters.retain(|_, meter| meter.token != token);
        let mut blocks = self.blocks.lock();
        let of_it = blocks.iter().map(|(key, _)| *key);
        let of_it: Vec<_> = of_it.filter(|key| key.0 == token).collect();
        for key in of_it {
            blocks.pop(&key);
        }
    }

    /// A meter, for what was acknowledged of it or takes all of it away: where the disk tells nothing
    /// that can be read, with nothing below what comes.
    pub(crate) fn load_any(&self, id: &MeterId) -> Result<Arc<Meter>> {
        let why = match self.load_meter(id) {
            Err(error @ Error::Damaged { .. }) => error.to_string(),
            other => return other,
        };
        // Without its key nothing of it can be kept: that stays an error.
        self.keys.existing(&Subject::Meter(id.clone()))?;
        tracing::error!(
            error = why,
            "a meter cannot be read; what comes is kept beside"
        );
        let meter = Meter {
            id: id.clone(),
            token: self.keys.meter_token(id),
            pseudonym: OnceLock::new(),
            state: RwLock::new(State::broken(&why)),
        };
        let mut meters = self.meters.write();
        let meter = meters.entry(id.clone()).or_insert_with(|| Arc::new(meter));
        Ok(Arc::clone(meter))
    }

    /// The state of a meter at this moment, which is not kept in memory for it.
    pub(crate) fn peek(&self, id: &MeterId) -> Result<(Token, State)> {
        let loaded = self.meters.read().get(id).cloned();
        if let Some(meter) = loaded {
            let state = meter.state.read().clone();
            state.check()?;
            return Ok((meter.token, state));
        }
        let token = self.keys.meter_token(id);
        let sealer = Sealer::new(&self.keys.existing(&Subject::Meter(id.clone()))?);
        let (manifest, young) = self.disk.stored(&sealer, token)?;
        Ok((token, State::of(manifest, &young)))
    }

    /// The meters that were touched since the start.
    pub(crate) fn loaded(&self) -> Vec<Arc<Meter>> {
        self.meters.read().values().cloned().collect()
    }

    /// What a meter's own data is sealed under.
    pub(crate) fn sealer(&self, meter: &Meter) -> Result<Sealer> {
        let subject = Subject::Meter(meter.id.clone());
        self.keys.existing(&subject).map(|key| Sealer::new(&key))
    }

    /// A segment of a meter, from the cache or from disk.
    pub(crate) fn segment(
        &self,
        meter: &Meter,
        meta: SegmentMeta,
        columns: Columns,
    ) -> Result<Arc<Block>> {
        let key = (meter.token, Place::Segment(meta.id));
        if let Some(block) = self.blocks.lock().get(&key) {
            return Ok(Arc::clone(block));
        }
        let sealer = self.sealer(meter)?;
        let block = Arc::new(self.disk.segment(&sealer, meter.token, meta, columns)?);
        if columns == Columns::All {
            self.blocks.lock().put(key, Arc::clone(&block));
        }
        Ok(block)
    }

    /// What the runs hold of a meter, as a layer; `None` where they hold nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] as well where what is on disk of it cannot be told.
    pub(crate) fn young(&self, meter: &Meter, state: &State) -> Result<Option<Layer>> {
        state.check()?;
        let mut young: Option<Layer> = None;
        for run in state.runs() {
            let key = (meter.token, Place::Run(*run));
            let known = self.blocks.lock().get(&key).cloned();
            let rows = if let Some(rows) = known {
                rows
            } else {
                let sealer = self.sealer(meter)?;
                let rows = Arc::new(self.disk.block(&sealer, *run, meter.token)?);
                self.blocks.lock().put(key, Arc::clone(&rows));
                rows
            };
            let layer = Layer::of(Arc::unwrap_or_clone(rows));
            young.get_or_insert_default().absorb(layer);
        }
        Ok(young)
    }

    /// As [`Self::young`]; nothing is read where they hold nothing in a stretch.
    pub(crate) fn young_in(
        &self,
        range: TimeRange,
        meter: &Meter,
        state: &State,
    ) -> Result<Option<Layer>> {
        if state.has_runs_in(range) {
            return self.young(meter, state);
        }
        state.check().map(|()| None)
    }

    /// Whether a scan from an instant finds all it needs in memory.
    pub(crate) fn is_in_memory(&self, id: &MeterId, at: Timestamp) -> bool {
        let Some(meter) = self.meters.read().get(id).cloned() else {
            return false;
        };
        let state = meter.state.read();
        let next = state.segments().iter().find(|meta| meta.last >= at);
        let segment = next.map(|meta| Place::Segment(meta.id));
        let runs = state.runs().iter().map(|run| Place::Run(*run));
        let blocks = self.blocks.lock();
        let mut wanted = segment.into_iter().chain(runs);
        wanted.all(|place| blocks.contains(&(meter.token, place)))
    }

    /// A piece of a scan.
    pub(crate) fn scan(&self, id: &MeterId, range: TimeRange, columns: Columns) -> Result<Piece> {
        let Some(meter) = self.meter(id)? else {
            return Ok(Piece {
                block: Block::default(),
                until: range.end(),
            });
        };
        let state = meter.state.read();
        let young = self.young_in(range, &meter, &state)?;
        let view = state.view(None, young.as_ref());
        view.scan(range, columns, &|meta, columns| {
            self.segment(&meter, meta, columns)
        })
    }

    /// Number and span of a meter's readings.
    pub(crate) fn statistics(&self, id: &MeterId) -> Result<MeterStatistics> {
        let Some(meter) = self.meter(id)? else {
            return Ok(MeterStatistics::default());
        };
        let state = meter.state.read();
        state.check()?;
        Ok(state.statistics)
    }

    /// The values of a meter that were replaced, and when.
    pub(crate) fn superseded(&self, id: &MeterId) -> Result<Vec<Superseded>> {
        let Some(meter) = self.meter(id)? else {
            return Ok(Vec::new());
        };
        let sealer = self.sealer(&meter)?;
        let mut found = Vec::new();
        let mut take = |(at, reading)| found.push(Superseded { at, reading });
        // A fold moves values from memory to disk: between two of them, each is in one place.
        self.disk.between_writes(|| {
            let state = meter.state.read();
            state.check()?;
            self.disk.superseded(&sealer, meter.token, &mut take)?;
            state.superseded().cloned().for_each(&mut take);
            Ok::<_, Error>(())
        })?;
        found.sort_by_key(|value| value.at);
        Ok(found)
    }

    /// The pseudonym of a subject; `None` for one that has no key. Of a meter it is worked out once.
    pub(crate) fn pseudonym(&self, subject: &Subject) -> Result<Option<String>> {
        let meter = match subject {
            Subject::Meter(id) => self.meters.read().get(id).cloned(),
            Subject::Table(_) => None,
        };
        if let Some(known) = meter.as_ref().and_then(|meter| meter.pseudonym.get()) {
            return Ok(Some(known.clone()));
        }
        let Some(key) = self.keys.key(subject)? else {
            return Ok(None);
        };
        let name = IndexKey::derive(&key, "pseudonym").token("pseudonym", b"");
        let name = BASE32_NOPAD.encode(&name).to_ascii_lowercase();
        let name = format!("{}_{name}", subject.letter());
        Ok(Some(match meter {
            Some(meter) => meter.pseudonym.get_or_init(|| name).clone(),
            None => name,
        }))
    }

    /// Ledger entries from `from` on, at most `limit`, if none of them has to be read from disk.
    pub(crate) fn ledger_in_memory(&self, from: u64, limit: usize) -> Option<Entries> {
        self.ledger.read().range(from, limit)
    }

    /// Ledger entries from `from` on, at most `limit`.
    pub(crate) fn ledger(&self, from: u64, limit: usize) -> Result<Entries> {
        let tail = self.ledger.read();
        if let Some(entries) = tail.range(from, limit) {
            return Ok(entries);
        }
        let mut found: Vec<_> = self
            .disk
            .ledger(from, limit)?
            .into_iter()
            .map(|(index, entry)| (index, entry.into()))
            .collect();
        let expected = usize::try_from(tail.first - from)
            .unwrap_or(usize::MAX)
            .min(limit);
        if found.len() < expected {
            return Err(self.disk.damaged("ledger", "entries are gone from its end"));
        }
        found.truncate(expected);
        found.extend(tail.range(tail.first, limit - expected).unwrap_or_default());
        Ok(found)
    }
}
