//! State of the moment, with an expiry: rate windows, and marks such as a block. In process or
//! shared by many; what must survive is a record.

pub mod local;
mod redis;

use async_trait::async_trait;

pub use self::redis::{RedisFigures, RedisOptions, RedisShared, RedisUnfit, redis_fits};

/// The name of a window or a mark. It leaves the process only as a keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who can bring it into being.
    pub of: Of,
    /// Whose and what for, such as `req:user:alice`.
    pub name: String,
}

/// Who can bring a key into being. Where the number of keys is bounded, those of strangers push
/// none of a principal's out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Of {
    /// Only one with a valid credential.
    Principal,
    /// Anybody who can reach us.
    Stranger,
}

/// A window's name, its length and its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its name.
    pub key: Key,
    /// Never more than this in any stretch of `length_micros`.
    pub limit: u64,
    /// The window's length in microseconds.
    pub length_micros: i64,
}

/// One thing asked of the state of the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Takes `cost` from a window, or refuses and takes nothing. With `once`, it takes only where
    /// that key is not marked, and marks it for the window's length, refused or not: so different
    /// things are counted, each once.
    Take {
        /// The window.
        window: Window,
        /// How much.
        cost: u64,
        /// What is counted once.
        once: Option<Key>,
    },
    /// Looks whether a key is marked. With `stop`, and where it is, the steps after this one are
    /// not done.
    Look {
        /// The mark.
        key: Key,
        /// Whether what follows depends on its absence.
        stop: bool,
    },
    /// Marks a key. A mark that ends later stays.
    Mark {
        /// The mark.
        key: Key,
        /// For how long, in microseconds.
        for_micros: i64,
    },
    /// Removes a mark, or empties a window.
    Clear {
        /// The mark or window.
        key: Key,
    },
}

/// The answer to one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// To [`Step::Take`].
    Taken(Verdict),
    /// To [`Step::Look`]: the microseconds for which the key is still marked.
    Marked(Option<i64>),
    /// To the others.
    Done,
    /// It was not done, because a look before it stopped.
    Skipped,
}

/// What a window says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it was let through.
    pub allowed: bool,
    /// Whether it was counted: let through, of a cost, and not counted once before.
    pub counted: bool,
    /// Whether it came for the first time within the window: false only with `once`.
    pub first: bool,
    /// How much is left in the window now.
    pub remaining: u64,
    /// Microseconds until the request would be let through; 0 when it was. `None`: never, the cost
    /// is beyond the limit.
    pub retry_after_micros: Option<i64>,
    /// Microseconds until the window is wholly free again.
    pub reset_after_micros: i64,
}

/// The answers to an [`Shared::ask`], one a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// In the order of the steps.
    pub each: Vec<Answer>,
    /// Whether this process decided by itself, though it should have asked a state that it shares
    /// with others: that cannot be reached at the moment.
    pub alone: bool,
}

/// How a shared state stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it can be reached. What is kept in process always can.
    pub up: bool,
    /// Grows each time it can be reached again, or was found empty: then what has to be in it must
    /// be put there anew.
    pub epoch: u64,
}

/// Windows and marks. Windows are exact: in any stretch of a window's length no more than its limit
/// is accepted, and nothing is refused that this allows.
#[async_trait]
pub trait Shared: Send + Sync {
    /// Does the steps in their order and answers each. Of a state that several processes share, all
    /// are done at one moment, by its own clock and in one round trip. Where that cannot be reached
    /// in time this process decides by what it knows, and says so.
    async fn ask(&self, steps: &[Step]) -> Answers;

    /// How it stands.
    fn standing(&self) -> Standing {
        Standing { up: true, epoch: 0 }
    }
}

impl Key {
    /// A key that only a valid credential brings into being.
    pub fn of_principal(name: impl Into<String>) -> Self {
        let (of, name) = (Of::Principal, name.into());
        Self { of, name }
    }

    /// A key that anybody can bring into being.
    pub fn of_stranger(name: impl Into<String>) -> Self {
        let (of, name) = (Of::Stranger, name.into());
        Self { of, name }
    }
}

impl Step {
    /// Takes from a window.
    pub fn take(window: Window, cost: u64) -> Self {
        let once = None;
        Self::Take { window, cost, once }
    }
}

impl Answers {
    /// The verdict of a step that took.
    pub fn verdict(&self, step: usize) -> Option<Verdict> {
        match self.each.get(step) {
            Some(Answer::Taken(verdict)) => Some(*verdict),
            _ => None,
        }
    }

    /// For how long the key of a step that looked is still marked.
    pub fn marked(&self, step: usize) -> Option<i64> {
        match self.each.get(step) {
            Some(Answer::Marked(left)) => *left,
            _ => None,
        }
    }
}
