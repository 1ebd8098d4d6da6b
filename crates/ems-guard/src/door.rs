//! Who is let in: one question to the state of the moment for each request, whatever it shows.
//!
//! A request of a verified principal counts in its own window and leaves a mark that somebody lives
//! at its address; all others count in their address's, and only where that is not shut out. What
//! is refused is counted against the address (`strike.rs`), and what many requests add up to is
//! told by name (`pattern.rs`).

mod pattern;
mod strike;

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ems_store::{
    Store,
    shared::{
        Answers, Key, Shared, Step, Window,
        local::{LocalShared, Ticks},
    },
};
use ipnet::IpNet;
use lru::LruCache;
use parking_lot::Mutex;

pub use self::{
    pattern::{Finding, Thresholds},
    strike::Failure,
};
use crate::{
    Act, Network, Principal, Result,
    bans::{self, Bans, Kind, Reason, Sentence},
    limit::{Limiter, Rate, Whom},
};

/// How the door decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// Failed authentications of an address within `failed_login_window` that block it; 0 for none.
    pub failed_logins: u64,
    /// See `failed_logins`.
    pub failed_login_window: Duration,
    /// The score of an address at which it is banned; 0 for never.
    pub ban_score: u64,
    /// How long an address or a principal is blocked or banned the first time.
    pub block_time: Duration,
    /// Networks that are never shut out.
    pub spared: Vec<IpNet>,
    /// From how many on what adds up is told.
    pub thresholds: Thresholds,
    /// Whether the state of the moment is kept outside this process.
    pub shared: bool,
}

/// Whether a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It does. The window that held it, if one did.
    Open(Option<Rate>),
    /// Its window is full.
    Full(Rate),
    /// Its address is shut out.
    Shut,
    /// The shared state cannot be asked, and without it this is not decided: not now.
    Unsure,
}

/// What is decided of a request, and what it made one notice.
#[derive(Debug)]
pub struct Decision {
    /// Whether it goes on.
    pub entry: Entry,
    /// What is to be told.
    pub findings: Vec<Finding>,
    /// Whether this process decided alone, by what it knows.
    pub alone: bool,
}

/// The time after which a principal's address is noted again.
const NOTED_FOR: i64 = 600_000_000;
/// How long a valid credential speaks for its address.
const LIVE_FOR: i64 = 24 * 3_600_000_000;
/// Principals, and pairs of principal and address, that this process knows at most.
const KNOWN: NonZeroUsize = NonZeroUsize::new(131_072).expect("it is not zero");
/// Marks that are asked for or put at once.
const CHUNK: usize = 256;

/// Decides who is let in.
pub struct Door {
    limiter: Limiter,
    shared: Arc<dyn Shared>,
    /// For what is counted by each process for itself.
    own: LocalShared,
    bans: Bans,
    store: Store,
    options: Options,
    /// When a principal was last noted at an address.
    noted: Mutex<LruCache<u64, i64>>,
    /// Principals whose credentials were let in while the shared state could be asked.
    known: Mutex<LruCache<u64, ()>>,
    hasher: RandomState,
    ticks: Ticks,
    /// The epoch of the shared state that all sentences were put into.
    epoch: AtomicU64,
}

impl Door {
    /// Opens on the machine's monotonic clock.
    pub fn new(store: Store, limiter: Limiter, options: Options) -> Self {
        let start = Instant::now();
        let ticks: Ticks =
            Arc::new(move || i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX));
        Self::with_ticks(store, limiter, options, ticks)
    }

    /// Opens on a clock that is given.
    pub fn with_ticks(store: Store, limiter: Limiter, options: Options, ticks: Ticks) -> Self {
        let bans = bans::Options {
            spared: options.spared.clone(),
            first: options.block_time,
        };
        Self {
            limiter,
            shared: Arc::clone(&store.shared),
            own: LocalShared::with_ticks(Arc::clone(&ticks)),
            bans: Bans::new(bans, Arc::clone(&ticks)),
            store,
            options,
            noted: Mutex::new(LruCache::new(KNOWN)),
            known: Mutex::new(LruCache::new(KNOWN)),
            hasher: RandomState::new(),
            ticks,
            epoch: AtomicU64::new(0),
        }
    }

    /// Whether connections of an address are closed when they are taken. Asks nobody.
    pub fn is_banned(&self, address: IpAddr) -> bool {
        self.bans.shut(address) == Some(Kind::Ban)
    }

    /// The addresses that are shut out.
    pub fn bans(&self) -> &Bans {
        &self.bans
    }

    /// Decides of a request with a valid credential. `administers`: it is for what is refused while
    /// this process is alone.
    pub async fn principal(
        &self,
        principal: &Principal,
        address: IpAddr,
        administers: bool,
        act: &Act,
    ) -> Decision {
        let mut asked = Asked::new(self, address, &[Kind::Ban]);
        let window = self.limiter.window(Whom::Principal(principal));
        let rate = window.map(|window| asked.take(window, 1));
        let presence = self.presence(&mut asked, principal, address);
        let told = asked.ask(act).await;
        let known = self.hasher.hash_one(&principal.name);
        if told.alone {
            let unknown = !self.known.lock().contains(&known);
            if administers || unknown {
                return told.decide(Entry::Unsure, Vec::new());
            }
        } else {
            self.known.lock().put(known, ());
        }
        let entry = told.entry(rate);
        let findings = match presence {
            Some(presence) => self.presence_told(presence, &told.answers, address).await,
            None => Vec::new(),
        };
        told.decide(entry, findings)
    }

    /// Decides of a request without a valid credential, before anything costly is done for it.
    /// `closes`: it is for what is refused while this process is alone.
    pub async fn stranger(&self, address: IpAddr, closes: bool, act: &Act) -> Decision {
        self.of_stranger(address, (1, closes), act).await
    }

    /// The same, and counts nothing: it is counted later if it is refused.
    pub async fn may_try(&self, address: IpAddr, act: &Act) -> Decision {
        self.of_stranger(address, (0, false), act).await
    }

    async fn of_stranger(
        &self,
        address: IpAddr,
        (cost, closes): (u64, bool),
        act: &Act,
    ) -> Decision {
        let mut asked = Asked::new(self, address, &[Kind::Ban, Kind::Block]);
        let failures = self.failures(address).map(|window| asked.take(window, 0));
        let window = self.limiter.window(Whom::Address(address));
        let rate = window.map(|window| asked.take(window, cost));
        let told = asked.ask(act).await;
        if told.alone && closes {
            return told.decide(Entry::Unsure, Vec::new());
        }
        let full = |(step, _): (usize, u64)| {
            let verdict = told.answers.verdict(step);
            verdict.is_some_and(|verdict| verdict.remaining == 0)
        };
        let entry = match told.entry(rate) {
            // As many have failed as may, and the block is just being put.
            Entry::Open(_) | Entry::Full(_) if failures.is_some_and(full) => Entry::Shut,
            // Of a look that counts nothing: a window that is full is full.
            Entry::Open(Some(rate)) if cost == 0 && rate.verdict.remaining == 0 => {
                Entry::Full(rate.refused())
            }
            entry => entry,
        };
        told.decide(entry, Vec::new())
    }

    /// Whether logins of an address are refused by now.
    pub async fn is_shut(&self, address: IpAddr, act: &Act) -> bool {
        let asked = Asked::new(self, address, &[Kind::Ban, Kind::Block]);
        asked.ask(act).await.shut
    }

    /// Puts what others must know where they find it, and learns what they know. To be called each
    /// second. `of_many`: the store has other processes that write to it.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub async fn sync(&self, of_many: bool, now: ems_core::time::Timestamp) -> Result<()> {
        if of_many {
            bans::load(&self.bans, &self.store, now).await?;
        }
        let standing = self.shared.standing();
        if !self.options.shared || !standing.up {
            return Ok(());
        }
        let active = self.bans.active();
        let anew = self.epoch.swap(standing.epoch, Ordering::SeqCst) != standing.epoch;
        if anew {
            // Who lives where is noted there again with the next request.
            self.noted.lock().clear();
        }
        let mut known = std::collections::HashSet::new();
        for chunk in active.chunks(CHUNK) {
            let steps: Vec<Step> = chunk.iter().map(|one| step_of(one, anew)).collect();
            let answers = self.shared.ask(&steps).await;
            if answers.alone {
                // Not done: everything is put there anew once it can be asked again.
                self.epoch.store(0, Ordering::SeqCst);
                return Ok(());
            }
            let there = |(place, (network, ..)): (usize, &(Network, Kind, i64))| {
                answers.marked(place).map(|_| *network)
            };
            known.extend(chunk.iter().enumerate().filter_map(there));
        }
        if !anew {
            self.bans.keep(|network| known.contains(&network));
        }
        Ok(())
    }

    /// Takes the sentences of the store, as at start.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub async fn load(&self, now: ems_core::time::Timestamp) -> Result<()> {
        bans::load(&self.bans, &self.store, now).await
    }

    /// The window of an address's failures; none for one that is never shut out.
    fn failures(&self, address: IpAddr) -> Option<Window> {
        let limit = self.options.failed_logins;
        let network = Network::of(address);
        if self.bans.is_spared(network) {
            return None;
        }
        let key = Key::of_stranger(format!("fail:{network}"));
        let length = self.options.failed_login_window;
        window(key, limit, length)
    }
}

/// A window, where its limit is one.
fn window(key: Key, limit: u64, length: Duration) -> Option<Window> {
    let length_micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
    (limit > 0).then_some(Window {
        key,
        limit,
        length_micros,
    })
}

/// The mark of a sentence.
fn mark(network: Network, kind: Kind) -> Key {
    Key::of_stranger(format!("{}:{network}", kind.as_str()))
}

/// The mark that somebody with a valid credential lives in a network.
fn live(network: Network) -> Key {
    Key::of_principal(format!("live:{network}"))
}

fn step_of((network, kind, left): &(Network, Kind, i64), anew: bool) -> Step {
    let key = mark(*network, *kind);
    if anew {
        let for_micros = *left;
        return Step::Mark { key, for_micros };
    }
    Step::Look { key, stop: false }
}

/// A question to the shared state, being put together.
struct Asked<'a> {
    door: &'a Door,
    address: IpAddr,
    steps: Vec<Step>,
    /// What was looked for first.
    looks: Vec<(Network, Kind)>,
    /// Whether the address is shut out by what this process knows.
    here: bool,
}

/// The answer, and what it says of the address.
struct Told {
    answers: Answers,
    shut: bool,
    alone: bool,
}

impl<'a> Asked<'a> {
    /// Asks first whether an address is shut out in one of these ways; nothing after is done where
    /// it is.
    fn new(door: &'a Door, address: IpAddr, kinds: &[Kind]) -> Self {
        let shut = door.bans.shut(address);
        let here = shut.is_some_and(|shut| kinds.iter().any(|kind| *kind <= shut));
        let mut looks = Vec::new();
        if door.options.shared {
            for network in Network::around(address) {
                looks.extend(kinds.iter().map(|kind| (network, *kind)));
            }
        }
        let look = |(network, kind): &(Network, Kind)| Step::Look {
            key: mark(*network, *kind),
            stop: true,
        };
        Self {
            door,
            address,
            steps: looks.iter().map(look).collect(),
            looks,
            here,
        }
    }

    fn step(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.steps.len() - 1
    }

    /// Takes from a window. Returns the step and the limit.
    fn take(&mut self, window: Window, cost: u64) -> (usize, u64) {
        let limit = window.limit;
        (self.step(Step::take(window, cost)), limit)
    }

    /// Counts something once.
    fn count(&mut self, window: Window, once: String) -> usize {
        let of = window.key.of;
        let once = Some(Key { of, name: once });
        let cost = 1;
        self.step(Step::Take { window, cost, once })
    }

    async fn ask(self, act: &Act) -> Told {
        let Self {
            door,
            steps,
            looks,
            here,
            address,
        } = self;
        // Of a state of our own the table is all there is to know.
        let refused = here && !door.options.shared;
        if refused || steps.is_empty() {
            let each = vec![ems_store::shared::Answer::Skipped; steps.len()];
            let alone = false;
            return Told {
                answers: Answers { each, alone },
                shut: here,
                alone,
            };
        }
        let answers = door.shared.ask(&steps).await;
        let alone = answers.alone;
        let marked = looks
            .iter()
            .enumerate()
            .find_map(|(step, look)| Some((*look, answers.marked(step)?)));
        if let Some(((network, kind), left)) = marked {
            door.adopt(network, kind, left, act);
        }
        let shut = marked.is_some() || (alone && here);
        tracing::trace!(%address, shut, alone, "the door was asked");
        Told {
            answers,
            shut,
            alone,
        }
    }
}

impl Told {
    fn entry(&self, rate: Option<(usize, u64)>) -> Entry {
        if self.shut {
            return Entry::Shut;
        }
        let rate = rate.and_then(|(step, limit)| {
            let verdict = self.answers.verdict(step)?;
            Some(Rate::of_requests(limit, verdict))
        });
        match rate {
            Some(rate) if !rate.allowed() => Entry::Full(rate),
            rate => Entry::Open(rate),
        }
    }

    fn decide(&self, entry: Entry, findings: Vec<Finding>) -> Decision {
        Decision {
            entry,
            findings,
            alone: self.alone,
        }
    }
}

impl Door {
    /// Takes a sentence that another process put, so that connections are closed here too.
    fn adopt(&self, network: Network, kind: Kind, left: i64, act: &Act) {
        if self
            .bans
            .get(network)
            .is_some_and(|(sentence, _)| sentence.kind >= kind)
        {
            return;
        }
        let sentence = Sentence {
            network,
            kind,
            reason: Reason::Shared,
            since: act.at,
            until: act.at.saturating_add_micros(left),
            level: 1,
            by: "system".to_owned(),
        };
        self.bans.put(sentence, act.at);
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
