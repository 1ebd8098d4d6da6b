//! What the writer, the folder and every reader share: the key tree, the folded state, and what is
//! newer than it in memory.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
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

pub(crate) use super::memory::{Entries, LedgerTail, RecordSet};
use super::{
    disk::{Disk, Stored},
    keys::{KeyTree, Token},
    manifest::SegmentMeta,
    meter::{Meter, State},
    table::Layer,
};
use crate::{Columns, Error, Piece, Record, Result, Superseded, Table, subject::Subject};

/// Whole segments and blocks held decoded, for scans that come again: some 900 KB each at most.
const CACHED: usize = 32;
/// Meters that are looked for together.
const TOGETHER: usize = 1000;

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

    /// Makes ready those of some meters that are not in memory, together: one by one each would be
    /// looked for by itself. What is wrong with one is told to whoever needs it.
    pub(crate) fn load_all(&self, ids: &[&MeterId]) -> Result<()> {
        let absent: Vec<&MeterId> = {
            let meters = self.meters.read();
            let absent = ids.iter().filter(|id| !meters.contains_key(**id));
            absent.copied().collect()
        };
        if absent.len() < 2 {
            return Ok(());
        }
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        for ids in absent.chunks(TOGETHER) {
            let mut found = Vec::with_capacity(ids.len());
            self.stored(ids, &mut |id, token, stored| {
                if let Ok((manifest, young)) = stored {
                    found.push(Arc::new(Meter {
                        id: id.clone(),
                        token,
                        pseudonym: OnceLock::new(),
                        state: RwLock::new(State::of(manifest, &young)),
                    }));
                }
            })?;
            let mut meters = self.meters.write();
            if self.forgotten.load(Ordering::SeqCst) != forgotten {
                return Ok(());
            }
            for meter in found {
                meters.entry(meter.id.clone()).or_insert(meter);
            }
        }
        Ok(())
    }

    /// Hands what is stored of some meters that have a key to `take`.
    fn stored(
        &self,
        ids: &[&MeterId],
        take: &mut dyn FnMut(&MeterId, Token, Result<Stored>),
    ) -> Result<()> {
        let mut subjects: Vec<(Token, &MeterId)> = Vec::with_capacity(ids.len());
        for id in ids {
            let subject = Subject::Meter((*id).clone());
            subjects.push((self.keys.subject_token(&subject), id));
        }
        subjects.sort_unstable_by_key(|(token, _)| *token);
        self.keys.warm(subjects.iter().map(|(token, _)| *token))?;
        let mut sealers: HashMap<Token, (Sealer, &MeterId)> = HashMap::new();
        for (token, id) in subjects {
            if let Ok(Some(key)) = self.keys.key_of(token) {
                sealers.insert(self.keys.meter_token(id), (Sealer::new(&key), id));
            }
        }
        let of = sealers.iter().map(|(token, (sealer, _))| (*token, sealer));
        let of: HashMap<Token, &Sealer> = of.collect();
        self.disk.stored_all(&of, &mut |token, stored| {
            if let Some((_, id)) = sealers.get(&token) {
                take(id, token, stored);
            }
        })
    }

    /// Takes over what a fold or merge of another process has left of some meters; `folded` where it
    /// was of what is set aside.
    pub(crate) fn reload(&self, meters: &[Arc<Meter>], folded: bool) -> Result<()> {
        for meters in meters.chunks(TOGETHER) {
            let of: HashMap<&MeterId, &Arc<Meter>> =
                meters.iter().map(|meter| (&meter.id, meter)).collect();
            let ids: Vec<&MeterId> = of.keys().copied().collect();
            self.stored(&ids, &mut |id, _, stored| {
                if let Some(meter) = of.get(id) {
                    meter.state.write().follow(stored, folded);
                }
            })?;
        }
        Ok(())
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

    /// Those of them whose data lies under some tokens.
    pub(crate) fn loaded_of(&self, tokens: &[Token]) -> Vec<Arc<Meter>> {
        let tokens: HashSet<&Token> = tokens.iter().collect();
        let meters = self.meters.read();
        let of = meters
            .values()
            .filter(|meter| tokens.contains(&meter.token));
        of.cloned().collect()
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
