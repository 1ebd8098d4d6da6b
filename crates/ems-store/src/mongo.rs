//! The backend of several processes: MongoDB, by majority, which sees ciphertext and keyed tokens only.
//! All processes share one log; each applies it to an engine of its own, so any of them reads what
//! another has just accepted, and counts are right whoever writes the same meter.

mod ahead;
mod base;
mod care;
mod fence;
mod jobs;
mod link;
mod log;
mod look;
mod node;
mod ring;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ems_core::{
    clock::Clock,
    meter::{MeterId, MeterStatistics},
    time::TimeRange,
};
use ems_crypto::keyring::RootKey;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use self::{
    base::Base,
    fence::Fence,
    jobs::Jobs,
    link::Link,
    log::Log,
    node::{Node, Order, Requests},
    ring::{MongoRing, MongoWrapped},
    rows::MongoRows,
};
use crate::{
    Batch, Columns, Commit, Error, Ledger, Outcome, Piece, Record, Records, Report, Result,
    Segments, Store, Subjects, Superseded, Table, Watch,
    readings::{
        engine::Engine,
        keys::{KeyTree, place::Wrapped},
        queue::Request,
        verify,
    },
    shared::local::LocalShared,
    subject::Subject,
};

/// How often it is looked whether something that was asked for is done.
const LOOK: Duration = Duration::from_millis(20);

/// Where a database is reached: with the name and password of a user, so it is shown to nobody.
#[derive(Clone)]
pub struct Address(String);

impl Address {
    /// An address as `mongodb://user:password@host,host/database?tls=true`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self(uri.into())
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

/// Where a store lies, and its bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database; `ems` where the address names none. The key tree is in another, whose name ends
    /// in `_keys`.
    pub uri: Address,
    /// Bytes of commits after which they are folded. Each process holds twice as many in memory.
    pub journal_bytes: u64,
    /// Memory for raw data keys, some 100 bytes each.
    pub key_cache_bytes: u64,
}

/// Makes the collections, indexes and keys of a new store, or looks whether those that are there are
/// this instance's. May be run again.
///
/// # Errors
/// [`Error::Refused`] for a server that must not be used; [`Error::Key`] where the database is another
/// instance's; [`Error::Version`] where it is a later version's.
pub fn init(options: &Options, root: RootKey, clock: &Arc<dyn Clock>) -> Result<()> {
    apart(|| {
        let link = Arc::new(Link::open(options)?);
        let made = schema::read(&link)?.is_some();
        let keys = open_keys(&link, (root, made), options, clock.as_ref())?;
        schema::make(&link, keys.instance())?;
        let fence = Arc::new(Fence::new(&link));
        fence.raise()?;
        let ledger = Subject::Table("ledger");
        keys.ensure(std::slice::from_ref(&ledger))?;
        let log = Arc::new(Log::new(&link, &keys, &keys.existing(&ledger)?));
        log.begin_epoch(1)?;
        let version = fence.version()?;
        let rows = Arc::new(MongoRows::new(&link, &log, &fence, version));
        crate::readings::disk::Disk::open(rows, keys).map(drop)
    })
}

/// Opens a store that was initialised.
///
/// # Errors
/// As [`init`]; [`Error::Refused`] where it was not initialised; [`Error::Damaged`] naming what is not
/// as it was written.
pub fn open(options: Options, root: RootKey, clock: Arc<dyn Clock>) -> Result<Store> {
    open_as(options, root, clock, true)
}

/// Opens a store; `jobs`: whether this process may come to do the jobs.
fn open_as(options: Options, root: RootKey, clock: Arc<dyn Clock>, jobs: bool) -> Result<Store> {
    apart(|| {
        let (base, at) = prepare(options, root, clock)?;
        let base = Arc::new(base);
        let (requests, thread) = Node::start(Arc::clone(&base), at)?;
        node::ask(&requests, |answer| {
            let look = Box::<Batch>::default();
            Request::Commit(look, answer)
        })?;
        let jobs = Jobs::start(&base, &requests, jobs)?;
        let mongo = Arc::new(Mongo {
            base,
            requests,
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
        });
        Ok(Store {
            commit: mongo.clone(),
            segments: mongo.clone(),
            records: mongo.clone(),
            ledger: mongo.clone(),
            subjects: mongo.clone(),
            keys: mongo,
            shared: Arc::new(LocalShared::new()),
        })
    })
}

/// Reads and authenticates everything in a store, beside those who use it.
///
/// # Errors
/// As [`open`]: what is damaged so that the store does not open; all else is in the report.
pub fn verify(
    options: Options,
    root: RootKey,
    clock: Arc<dyn Clock>,
    watch: Watch<'_>,
) -> Result<Report> {
    apart(|| {
        let (base, at) = prepare(options, root, clock)?;
        let base = Arc::new(base);
        Node::replay(Arc::clone(&base), at)?;
        let mut report = verify::verify(&base.engine(), watch)?;
        let mut faults = Vec::new();
        base.log
            .verify(&mut |fault| faults.push(fault.to_string()))?;
        report.faults.extend(faults);
        report.faults.sort_unstable();
        report.faults.dedup();
        Ok(report)
    })
}

/// Does something that waits for the driver on a thread of its own: whoever calls may be on an
/// asynchronous one, which must not.
fn apart<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn prepare(
    options: Options,
    root: RootKey,
    clock: Arc<dyn Clock>,
) -> Result<(Base, node::Position)> {
    let link = Arc::new(Link::open(&options)?);
    schema::expect_oplog(&link, options.journal_bytes)?;
    let meta = schema::read(&link)?.ok_or_else(|| {
        let why = "the database is not initialised: run `ems init --store mongo`";
        Error::Refused(why.into())
    })?;
    let keys = open_keys(&link, (root, true), &options, clock.as_ref())?;
    if keys.instance() != meta.instance {
        let why = "the database is another instance's than its keys";
        return Err(Error::Refused(why.into()));
    }
    let ledger = keys.existing(&Subject::Table("ledger"))?;
    let log = Arc::new(Log::new(&link, &keys, &ledger));
    let fence = Arc::new(Fence::new(&link));
    let version = fence.version()?;
    let rows = Arc::new(MongoRows::new(&link, &log, &fence, version));
    Base::open(options, clock, keys, (log, rows, fence))
}

fn open_keys(
    link: &Arc<Link>,
    (root, made): (RootKey, bool),
    options: &Options,
    clock: &dyn Clock,
) -> Result<Arc<KeyTree>> {
    let ring = Arc::new(MongoRing::new(link, root.clone(), made));
    let wrapped = || -> Result<Arc<dyn Wrapped>> { Ok(Arc::new(MongoWrapped::new(link))) };
    let keys = KeyTree::open(ring, wrapped, root, clock.now())?;
    keys.limit_cache(options.key_cache_bytes);
    Ok(Arc::new(keys))
}

struct Mongo {
    base: Arc<Base>,
    requests: Requests,
    jobs: Mutex<Option<Jobs>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Mongo {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request<Order>,
    ) -> Result<T> {
        let (answer, wait) = oneshot::channel();
        let closed = || Error::Unavailable("it is closed".into());
        self.requests
            .send(request(answer))
            .await
            .map_err(|_| closed())?;
        wait.await.map_err(|_| closed())?
    }

    /// Runs what may ask the database off the asynchronous threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Base, &Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let base = Arc::clone(&self.base);
        let done = tokio::task::spawn_blocking(move || work(&base, &base.engine())).await;
        done.map_err(|error| Error::Engine(error.to_string()))?
    }
}

#[async_trait]
impl Commit for Mongo {
    async fn commit(&self, batch: Batch) -> Result<Outcome> {
        self.ask(|answer| Request::Commit(Box::new(batch), answer))
            .await
    }

    async fn fresh(&self) -> Result<()> {
        self.commit(Batch::default()).await.map(drop)
    }

    async fn close(&self) -> Result<()> {
        let closed = self.ask(Request::Close).await;
        let (jobs, thread) = (self.jobs.lock().take(), self.thread.lock().take());
        let end = move || {
            drop(jobs);
            thread.map_or(Ok(()), std::thread::JoinHandle::join)
        };
        let ended = tokio::task::spawn_blocking(end).await;
        ended
            .ok()
            .and_then(std::thread::Result::ok)
            .ok_or_else(|| Error::Engine("the writer ended badly".into()))?;
        closed
    }
}

#[async_trait]
impl Segments for Mongo {
    async fn scan(&self, meter: &MeterId, range: TimeRange, columns: Columns) -> Result<Piece> {
        // Always apart: what was in memory a moment ago may have to be asked for after all, and an
        // asynchronous thread must not wait for the driver.
        let meter = meter.clone();
        self.blocking(move |_, engine| engine.scan(&meter, range, columns))
            .await
    }

    async fn statistics(&self, meter: &MeterId) -> Result<MeterStatistics> {
        let meter = meter.clone();
        self.blocking(move |_, engine| engine.statistics(&meter))
            .await
    }

    async fn superseded(&self, meter: &MeterId) -> Result<Vec<Superseded>> {
        let meter = meter.clone();
        self.blocking(move |_, engine| engine.superseded(&meter))
            .await
    }

    async fn fold(&self) -> Result<()> {
        self.fresh().await?;
        let (committed, folded) = self.base.progress();
        if committed <= folded {
            return Ok(());
        }
        self.blocking(move |base, _| base.fence.ask(committed))
            .await?;
        let until = Instant::now() + jobs::FOLD_PATIENCE;
        while self.base.progress().1 < committed {
            if Instant::now() >= until {
                let why = "whoever does the jobs of the store has not folded in time";
                return Err(Error::Unavailable(why.into()));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

#[async_trait]
impl Records for Mongo {
    fn changed_by_others(&self) -> u64 {
        self.base.changed_by_others()
    }

    async fn get(&self, table: Table, id: &str) -> Result<Option<Record>> {
        let engine = self.base.engine();
        Ok(engine.records.read().get(table, id).cloned())
    }

    async fn list(
        &self,
        table: Table,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        let engine = self.base.engine();
        let records = engine.records.read();
        Ok(records.list(table, prefix, after, limit))
    }
}

#[async_trait]
impl Ledger for Mongo {
    async fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Arc<[u8]>)>> {
        let known = self.base.engine().ledger_in_memory(from, limit);
        match known {
            Some(entries) => Ok(entries),
            None => {
                self.blocking(move |_, engine| engine.ledger(from, limit))
                    .await
            }
        }
    }

    fn durable(&self) -> watch::Receiver<u64> {
        self.base.durable()
    }
}

#[async_trait]
impl Subjects for Mongo {
    async fn pseudonym(&self, subject: &Subject) -> Result<Option<String>> {
        let subject = subject.clone();
        self.blocking(move |_, engine| engine.pseudonym(&subject))
            .await
    }
}
