//! Who does the jobs. Exactly one process at a time may fold, merge, clear away and erase. Its token is
//! given by the log, where whoever takes over says so; each write of a job goes, in one transaction,
//! past a document that holds the token, so that whoever was thought dead and wakes up writes nothing.
//!
//! No clock is compared with another's: the holder counts up a beat, and another takes over once it has
//! seen, by its own steady clock, the same beat for long enough.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mongodb::{
    ClientSession, Collection,
    bson::{Document, doc},
    options::ReturnDocument,
};
use parking_lot::Mutex;

use super::{
    link::{Failed, Link},
    rows::signed,
};
use crate::{Error, Result};

/// How long the same beat is seen before the holder is taken for dead.
pub(super) const DEAD: Duration = Duration::from_secs(10);
/// How often a transaction that met another is begun again.
const AGAIN: usize = 100;

/// The documents of the jobs.
pub(super) struct Fence {
    link: Arc<Link>,
    jobs: Collection<Document>,
    /// The token under which this process does the jobs, if it does.
    token: AtomicU64,
    seen: Mutex<Option<(Beat, Instant)>>,
}

/// The holder's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beat {
    token: i64,
    beat: i64,
}

/// What the holder is asked, and whether there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// It is this process's; all up to this sequence is to be folded.
    Own(u64),
    /// Another's.
    Others,
    /// Nobody's, or a dead one's.
    Free,
}

impl Fence {
    /// The fence, which this process has not passed yet.
    pub(super) fn new(link: &Arc<Link>) -> Self {
        Self {
            jobs: link.data("jobs"),
            link: Arc::clone(link),
            token: AtomicU64::new(0),
            seen: Mutex::new(None),
        }
    }

    /// Puts the fence up in a new database.
    pub(super) fn raise(&self) -> Result<()> {
        let new = doc! { "_id": "fence", "token": 0_i64, "next": 0_i64, "writes": 0_i64 };
        match self.link.attempt(self.jobs.insert_one(new)) {
            Err(failed) if !failed.is_duplicate() => Err(failed.into()),
            _ => Ok(()),
        }
    }

    /// The version that the database says is there; 0 in a new one. One that came a moment ago may be
    /// missing.
    pub(super) fn version(&self) -> Result<u64> {
        let found = self.link.run(self.jobs.find_one(doc! { "_id": "head" }))?;
        let version = found.and_then(|head| head.get_i64("v").ok()).unwrap_or(0);
        Ok(u64::try_from(version).unwrap_or(0))
    }

    /// The token that the fence is behind, whosever it is.
    pub(super) fn last_token(&self) -> Result<u64> {
        let found = self.link.run(self.jobs.find_one(doc! { "_id": "fence" }))?;
        let token = found.and_then(|fence| fence.get_i64("token").ok());
        Ok(token
            .and_then(|token| u64::try_from(token).ok())
            .unwrap_or(0))
    }

    /// Says which version is there.
    pub(super) fn first(&self, version: u64) -> Result<()> {
        let head = doc! { "_id": "head" };
        let latest = doc! { "$max": { "v": signed(version) } };
        let update = self.jobs.update_one(head, latest).upsert(true);
        self.link.run(update).map(drop)
    }

    /// A version that nobody has used.
    pub(super) fn next_version(&self) -> Result<u64> {
        let own = doc! { "_id": "fence", "token": self.held() };
        let more = doc! { "$inc": { "next": 1_i64 } };
        let next = self.jobs.find_one_and_update(own, more);
        let next = self.link.run(next.return_document(ReturnDocument::After))?;
        let next = next.ok_or_else(lost)?.get_i64("next");
        Ok(next
            .ok()
            .and_then(|next| u64::try_from(next).ok())
            .unwrap_or(0))
    }

    fn held(&self) -> i64 {
        signed(self.token.load(Ordering::SeqCst))
    }

    /// The token under which this process does the jobs; 0 where it does not.
    pub(super) fn token(&self) -> u64 {
        self.token.load(Ordering::SeqCst)
    }

    /// Makes writes in one transaction that holds only as long as this process does the jobs.
    pub(super) fn pass(
        &self,
        mut work: impl FnMut(&mut ClientSession) -> Result<(), Failed>,
    ) -> Result<()> {
        let mut last = Failed::Late;
        for _ in 0..AGAIN {
            match self.try_pass(&mut work) {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(lost()),
                Err(failed) if failed.is_transient() => last = failed,
                Err(failed) => return Err(failed.into()),
            }
        }
        Err(last.into())
    }

    fn try_pass(
        &self,
        work: &mut impl FnMut(&mut ClientSession) -> Result<(), Failed>,
    ) -> Result<bool, Failed> {
        let mut session = self.link.attempt(self.link.client().start_session())?;
        self.link.attempt(session.start_transaction())?;
        let own = doc! { "_id": "fence", "token": self.held() };
        let count = doc! { "$inc": { "writes": 1_i64 } };
        let passed = self.jobs.update_one(own, count).session(&mut session);
        let done = match self.link.attempt(passed) {
            Ok(passed) if passed.matched_count == 1 => work(&mut session).map(|()| true),
            Ok(_) => Ok(false),
            Err(failed) => Err(failed),
        };
        if !matches!(done, Ok(true)) {
            drop(self.link.attempt(session.abort_transaction()));
            return done;
        }
        for _ in 0..AGAIN {
            match self.link.attempt(session.commit_transaction()) {
                Err(failed) if failed.is_unknown() => {}
                done => return done.map(|()| true),
            }
        }
        Err(Failed::Late)
    }

    /// Moves the fence behind a new holder: from now on nobody of before passes it.
    pub(super) fn take(&self, token: u64) -> Result<()> {
        let behind = doc! { "_id": "fence", "token": { "$lt": signed(token) } };
        let moved = doc! { "$set": { "token": signed(token) } };
        let moved = self.link.run(self.jobs.update_one(behind, moved))?;
        if moved.matched_count == 0 {
            let own = doc! { "_id": "fence", "token": signed(token) };
            if self.link.run(self.jobs.find_one(own))?.is_none() {
                return Err(lost());
            }
        }
        self.token.store(token, Ordering::SeqCst);
        self.beat()
    }

    /// Gives a sign of life.
    pub(super) fn beat(&self) -> Result<()> {
        let beat = doc! {
            "$set": { "token": self.held() },
            "$inc": { "beat": 1_i64 },
            "$unset": { "free": "" },
        };
        let lease = doc! { "_id": "lease" };
        let update = self.jobs.update_one(lease, beat).upsert(true);
        self.link.run(update).map(drop)
    }

    /// No longer does the jobs.
    pub(super) fn lose(&self) {
        self.token.store(0, Ordering::SeqCst);
    }

    /// Lets another take over at once.
    pub(super) fn release(&self) -> Result<()> {
        let own = doc! { "_id": "lease", "token": self.held() };
        let free = doc! { "$set": { "free": true } };
        self.lose();
        self.link.run(self.jobs.update_one(own, free)).map(drop)
    }

    /// Asks the holder to fold all up to a sequence.
    pub(super) fn ask(&self, sequence: u64) -> Result<()> {
        let lease = doc! { "_id": "lease" };
        let wanted = doc! { "$max": { "wanted": signed(sequence) } };
        let update = self.jobs.update_one(lease, wanted).upsert(true);
        self.link.run(update).map(drop)
    }

    /// Looks whose the jobs are.
    pub(super) fn look(&self) -> Result<Lease> {
        let lease = self.link.run(self.jobs.find_one(doc! { "_id": "lease" }))?;
        let number = |field: &str| {
            let lease = lease.as_ref()?;
            lease.get_i64(field).ok()
        };
        let beat = Beat {
            token: number("token").unwrap_or(0),
            beat: number("beat").unwrap_or(0),
        };
        let free = lease
            .as_ref()
            .is_none_or(|lease| lease.get_bool("free").unwrap_or(false));
        if self.token() != 0 && beat.token == self.held() {
            let wanted = number("wanted").unwrap_or(0);
            return Ok(Lease::Own(u64::try_from(wanted).unwrap_or(0)));
        }
        let mut seen = self.seen.lock();
        let same = seen.filter(|(last, _)| *last == beat);
        let (_, since) = same.unwrap_or((beat, Instant::now()));
        *seen = Some((beat, since));
        if free || beat.token == 0 || since.elapsed() >= DEAD {
            return Ok(Lease::Free);
        }
        Ok(Lease::Others)
    }
}

fn lost() -> Error {
    Error::Unavailable("another process does the jobs of the store".into())
}
