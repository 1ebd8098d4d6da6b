//! The one thread of a process that appends to the log and applies what others have appended. What it
//! knows is always the log up to one number: it plans a group on that, takes the next number, and
//! where another has taken it, applies that and plans anew.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    base::Base,
    log::{Appended, Area, Content, Entry, Mark, Parts, Tag},
};
use crate::{
    Batch, Error, Outcome, Result,
    readings::{
        codec::Group,
        fold::FoldJob,
        guarded::guarded,
        keys::Token,
        plan::{Plan, Written as _},
        queue::{Next, Queue, Request, Waiting},
    },
};

/// How long a commit waits for a primary: an election takes some ten seconds.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long after a failed attempt the database is asked again.
const RETRY: Duration = Duration::from_millis(100);
/// How many times its size at a fold the journal grows to while the fold before is under way.
const MOST_FOLDS: u64 = 2;
/// The pause between two large groups while the folds do not keep up.
const PAUSE: Duration = Duration::from_millis(30);

/// What the jobs ask of the log.
pub(super) enum Order {
    /// Look whether others have appended.
    Look,
    /// Append a mark; answered with its number.
    Mark(Mark, oneshot::Sender<Result<u64>>),
    /// Take the jobs over; answered with the token.
    Takeover(oneshot::Sender<Result<u64>>),
}

/// Whom to ask.
pub(super) type Requests = mpsc::Sender<Request<Order>>;

/// Where the log stands, as this process knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) sequence: u64,
    pub(super) tag: Tag,
    /// The token of whoever does the jobs.
    pub(super) token: u64,
    /// The epoch whose key parts lie under now.
    pub(super) epoch: u64,
}

/// The thread's own state.
pub(super) struct Node {
    base: Arc<Base>,
    queue: Queue<Order>,
    at: Position,
    /// Whether others may have appended since.
    behind: bool,
    /// Whether something of the log is applied by half: all is to be read anew.
    torn: bool,
}

/// Why an attempt at a group came to nothing.
enum Failed {
    /// The batch at this place cannot be committed.
    One(usize, Error),
    /// Another was first, or it is not known what became of it.
    Again(Option<Error>),
}

impl Node {
    /// Starts the thread; it ends with a close.
    pub(super) fn start(base: Arc<Base>, at: Position) -> Result<(Requests, JoinHandle<()>)> {
        let (sender, queue) = Queue::new();
        let node = Self {
            base,
            queue,
            at,
            behind: false,
            torn: false,
        };
        let thread = std::thread::Builder::new().name("ems-writer".into());
        let thread = thread.spawn(move || node.run());
        Ok((sender, thread.map_err(Error::io("writer thread"))?))
    }

    /// Applies all that is there, for whoever only reads it.
    pub(super) fn replay(base: Arc<Base>, at: Position) -> Result<()> {
        let (_, queue) = Queue::new();
        let mut node = Self {
            base,
            queue,
            at,
            behind: true,
            torn: false,
        };
        node.catch_up()
    }

    fn run(mut self) {
        loop {
            match self.queue.next() {
                Next::Order(order) => self.order(order),
                Next::Commit(group) => {
                    self.commit(group);
                    self.hold_if_full();
                }
                // Whoever does the jobs folds; it is asked by the fence.
                Next::Fold(answer) => {
                    let why = "this thread does not fold";
                    drop(answer.send(Err(Error::Unavailable(why.into()))));
                }
                Next::Close(answer) => return drop(answer.send(Ok(()))),
                Next::End => return,
            }
        }
    }

    /// Holds large commits back while what is set aside is not folded and as much waits again.
    fn hold_if_full(&mut self) {
        let limit = self.base.options.journal_bytes.saturating_mul(MOST_FOLDS);
        if self.base.is_frozen() && self.base.bytes() >= limit {
            self.queue.hold(PAUSE);
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Look => {
                if let Err(error) = self.catch_up() {
                    tracing::debug!(%error, "the log could not be read");
                    self.behind = true;
                }
            }
            Order::Mark(mark, answer) => drop(answer.send(self.mark(&mut |_| mark.clone()))),
            Order::Takeover(answer) => {
                let taken = self.mark(&mut |at| Mark::Takeover {
                    token: at.token + 1,
                });
                drop(answer.send(taken.map(|_| self.at.token)));
            }
        }
    }

    fn commit(&mut self, mut group: Vec<Waiting>) {
        let until = Instant::now() + PATIENCE;
        while !group.is_empty() {
            match self.try_commit(&group) {
                Ok(outcomes) => {
                    let answers = group.into_iter().zip(outcomes);
                    return answers.for_each(|((_, answer), outcome)| drop(answer.send(outcome)));
                }
                // What this one needed cannot be had: the others go on without it.
                Err(Failed::One(place, error)) => {
                    let (_, answer) = group.remove(place);
                    let error = match error {
                        Error::Io { .. } | Error::Engine(_) => {
                            Error::Unavailable(error.to_string())
                        }
                        error => error,
                    };
                    drop(answer.send(Err(error)));
                }
                Err(Failed::Again(error)) => {
                    let Some(error) = error else {
                        continue;
                    };
                    if Instant::now() >= until {
                        let why = error.to_string();
                        tracing::warn!(error = why, "commits were given up");
                        return group.into_iter().for_each(|(_, answer)| {
                            drop(answer.send(Err(Error::Unavailable(why.clone()))));
                        });
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// Plans on what is known, takes the next number, applies. The answers are in the group's order.
    fn try_commit(&mut self, group: &[Waiting]) -> Result<Vec<Result<Outcome>>, Failed> {
        let again = |error| Failed::Again(Some(error));
        if self.behind || self.torn {
            self.catch_up().map_err(again)?;
        }
        let engine = self.base.engine();
        let (sequence, now) = (self.at.sequence + 1, self.base.clock.now());
        let mut plan: Plan<'_, Parts> = Plan::new(&engine, sequence, now);
        let mut outcomes = Vec::with_capacity(group.len());
        for (place, (batch, _)) in group.iter().enumerate() {
            match guarded(|| plan.add(batch)) {
                Err(error) if !matches!(error, Error::Conflict { .. } | Error::NameTaken) => {
                    return Err(Failed::One(place, error));
                }
                outcome => outcomes.push(outcome),
            }
        }
        if plan.written.is_empty() {
            if group.iter().any(|(batch, _)| is_look(batch)) {
                let free = self.base.log.is_free(sequence).map_err(again)?;
                self.behind = !free;
                if !free {
                    return Err(Failed::Again(None));
                }
            }
            return Ok(outcomes);
        }
        let first = engine.ledger.read().end();
        let content = std::mem::take(&mut plan.written).finish(sequence, first, now);
        let appended = self.append(sequence, &content);
        let appended = appended.map_err(Failed::Again)?;
        if let Err(error) = plan.apply() {
            // It is there, and answered as what it is.
            tracing::error!(%error, "a commit could not be applied: all is read anew");
            self.torn = true;
        }
        self.took(sequence, appended, &content);
        Ok(outcomes)
    }

    /// Takes a number for a document. Where it is not known whether that is done, the log is looked at
    /// until it is, or for a while.
    fn append(&mut self, sequence: u64, content: &Content) -> Result<Tag, Option<Error>> {
        let at = (self.at.epoch, content.first, self.at.tag);
        let until = Instant::now() + PATIENCE;
        let sealed = self.base.log.seal(sequence, at, content).map_err(Some)?;
        loop {
            match self.base.log.append(&sealed) {
                Ok(Appended::Done) => return Ok(sealed.tag),
                Ok(Appended::Taken) => {
                    self.behind = true;
                    return Err(None);
                }
                Err(error) if Instant::now() >= until => {
                    self.behind = true;
                    return Err(Some(error));
                }
                Err(error) => {
                    tracing::debug!(%error, "an append is tried again");
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// Notes a document of this process that is applied.
    fn took(&mut self, sequence: u64, tag: Tag, content: &Content) {
        self.at.sequence = sequence;
        self.at.tag = tag;
        self.base.reached(sequence, content);
    }

    /// Appends a mark, which is made on where the log stands; returns its number.
    fn mark(&mut self, make: &mut dyn FnMut(&Position) -> Mark) -> Result<u64> {
        let until = Instant::now() + PATIENCE;
        loop {
            if self.behind || self.torn {
                self.catch_up()?;
            }
            let mark = make(&self.at);
            self.expect_own(&mark)?;
            let (sequence, engine) = (self.at.sequence + 1, self.base.engine());
            let first = engine.ledger.read().end();
            let content = Content::marking(mark, first, self.base.clock.now());
            match self.append(sequence, &content) {
                Ok(tag) => {
                    self.apply_mark(sequence, &content.mark, true)?;
                    self.took(sequence, tag, &content);
                    return Ok(sequence);
                }
                Err(Some(error)) if Instant::now() >= until => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Whoever has lost the jobs marks nothing any more.
    fn expect_own(&self, mark: &Mark) -> Result<()> {
        let token = match mark {
            Mark::Freeze { token, .. } | Mark::Version { token, .. } => *token,
            _ => return Ok(()),
        };
        if token == self.at.token {
            return Ok(());
        }
        let why = "another process does the jobs of the store";
        Err(Error::Unavailable(why.into()))
    }

    /// Applies all that others have appended.
    fn catch_up(&mut self) -> Result<()> {
        if self.torn {
            self.at = self.base.load()?;
            self.torn = false;
        }
        loop {
            let read = self.base.log.read(self.at.sequence + 1, Some(self.at.tag));
            let entries = match read {
                // What is missing may be folded: this process was away for long.
                Err(Error::Damaged { .. }) if self.base.was_overtaken()? => {
                    self.at = self.base.load()?;
                    continue;
                }
                read => read?,
            };
            if entries.is_empty() {
                self.behind = false;
                return Ok(());
            }
            for entry in entries {
                self.follow(entry)?;
            }
        }
    }

    /// Applies a document of another process.
    fn follow(&mut self, entry: Entry) -> Result<()> {
        let Entry {
            sequence,
            tag,
            content,
        } = entry;
        let engine = self.base.engine();
        if content.first != engine.ledger.read().end() {
            let place = format!("database, log {sequence}");
            return Err(Error::damaged(place, "entries before it are gone"));
        }
        let mut plan: Plan<'_> = Plan::new(&engine, sequence, content.at);
        for (_, bytes) in &content.parts {
            let place = || format!("database, part of log {sequence}");
            let group =
                Group::decode(bytes).map_err(|why| Error::damaged(place(), why.to_string()))?;
            for entry in group.entries {
                plan.replay(entry)?;
            }
        }
        plan.tell(content.entries.clone());
        plan.apply().inspect_err(|_| self.torn = true)?;
        if content
            .parts
            .iter()
            .any(|(area, _)| *area == Area::Identity)
        {
            self.base.was_changed();
        }
        self.apply_mark(sequence, &content.mark, false)?;
        self.took(sequence, tag, &content);
        Ok(())
    }

    fn apply_mark(&mut self, sequence: u64, mark: &Mark, own: bool) -> Result<()> {
        let engine = self.base.engine();
        match mark {
            Mark::Commit => {}
            Mark::Freeze { epoch, .. } => {
                let job = FoldJob::freeze(&engine, self.at.epoch, sequence);
                self.base.set_aside(job);
                self.at.epoch = *epoch;
            }
            Mark::Version {
                version,
                fold,
                meters,
                ..
            } => {
                let arrived = self.base.arrive(*version, (*fold, meters), own);
                arrived.inspect_err(|_| self.torn = true)?;
            }
            Mark::Takeover { token } => {
                self.at.token = *token;
                if self.base.fence.token() != *token {
                    self.base.fence.lose();
                }
            }
            Mark::Forget { subjects } => self.base.forget(subjects)?,
        }
        Ok(())
    }
}

/// Whether a batch only asks what is there.
fn is_look(batch: &Batch) -> bool {
    batch.readings.is_empty()
        && batch.deletions.is_empty()
        && batch.records.is_empty()
        && batch.ledger.is_empty()
}

/// Asks the thread for something and waits for it. Not to be called on an asynchronous thread.
pub(super) fn ask<T>(
    requests: &Requests,
    request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request<Order>,
) -> Result<T> {
    let (answer, wait) = oneshot::channel();
    let closed = || Error::Unavailable("it is closed".into());
    requests
        .blocking_send(request(answer))
        .map_err(|_| closed())?;
    wait.blocking_recv().map_err(|_| closed())?
}

/// The subjects of a mark: pairs of a key's token and the data's.
pub(super) fn pairs(subjects: &[Token]) -> impl Iterator<Item = (Token, Token)> + '_ {
    subjects.chunks_exact(2).filter_map(|pair| match pair {
        [subject, data] => Some((*subject, *data)),
        _ => None,
    })
}
