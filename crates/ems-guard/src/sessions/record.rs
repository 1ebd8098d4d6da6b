//! The record of a session: whose it is, its time, the tokens that are good in it.

use data_encoding::BASE64URL_NOPAD;
use ems_core::time::{SECOND, Timestamp};
use ems_crypto::{hash::sha256, opaque::RefreshToken, random::base62};
use ems_store::{Expect, RecordChange, Store, Table};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    accounts::{User, next_page, parse, remove},
    digest::Digest,
};

/// How long after its use a refresh token may come once more, as a retry, in microseconds.
const RETRY: u64 = 10 * SECOND.unsigned_abs();
/// Refresh tokens that may be good at once: one, and those that answered its retries.
const MOST_GOOD: usize = 32;
/// Spent refresh tokens that are known again. An older one is refused and ends nothing.
const MOST_SPENT: usize = 64;
/// Access tokens that may be good at once; past it the oldest is not.
const MOST_TOKENS: usize = 128;
/// The characters of an id that come from the user's name; the other twelve are random, 71 bits.
const TAG: usize = 4;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id: 16 characters of base62, the first four a mark of the user's name, so that the
    /// sessions of a user are found together.
    pub id: String,
    /// Whose it is.
    pub username: String,
    /// The user's epoch that it is good in.
    pub epoch: u64,
    /// When it began.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Access tokens that are good in it.
    pub(crate) tokens: Vec<Token>,
    /// Refresh tokens that are good: one, or several after a retry.
    pub(crate) good: Vec<Digest>,
    /// The refresh token that was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Used>,
    /// Those that were used before it, and those that a use made void.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) spent: Vec<Digest>,
}

/// An access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    jti: String,
    /// In seconds since 1970.
    exp: u64,
}

/// A refresh token that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    digest: Digest,
    at: Timestamp,
}

/// What a refresh token is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Good.
    Good,
    /// Used seconds ago: the answer may have been lost.
    Retry,
    /// Used seconds ago, and retried too often.
    Crowded,
    /// Used before.
    Spent,
    /// Never one of this session's.
    Unknown,
}

impl Session {
    pub(super) fn new(user: &User, now: Timestamp, lifetime: i64) -> Self {
        Self {
            id: tag(&user.username) + &base62(16 - TAG),
            username: user.username.clone(),
            epoch: user.epoch,
            created: now,
            expires: now.saturating_add_micros(lifetime),
            tokens: Vec::new(),
            good: Vec::new(),
            previous: None,
            spent: Vec::new(),
        }
    }

    /// Whether an access token of this name was issued in it.
    pub(crate) fn issued(&self, jti: &str) -> bool {
        self.tokens.iter().any(|token| token.jti == jti)
    }

    /// Whether it is not over, for its user as that now is.
    pub(crate) fn is_good_for(&self, user: &User, now: Timestamp) -> bool {
        !self.is_over(now) && !user.disabled && user.epoch == self.epoch
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.expires <= now
    }

    pub(super) fn note_token(&mut self, jti: String, exp: u64, now: Timestamp) {
        let seconds = u64::try_from(now.as_seconds()).unwrap_or(0);
        self.tokens.retain(|token| token.exp > seconds);
        self.tokens.push(Token { jti, exp });
        let over = self.tokens.len().saturating_sub(MOST_TOKENS);
        self.tokens.drain(..over);
    }

    pub(super) fn standing(&self, token: &RefreshToken, now: Timestamp) -> Standing {
        let is = |digest: &Digest| token.matches(digest.as_bytes());
        if self.good.iter().any(is) {
            return Standing::Good;
        }
        match &self.previous {
            Some(used) if is(&used.digest) => {
                let passed = now.as_micros().abs_diff(used.at.as_micros());
                match passed <= RETRY {
                    true if self.good.len() < MOST_GOOD => Standing::Retry,
                    true => Standing::Crowded,
                    false => Standing::Spent,
                }
            }
            _ if self.spent.iter().any(is) => Standing::Spent,
            _ => Standing::Unknown,
        }
    }

    /// Notes that a good token was used: its siblings are void from now on, and only `next` is
    /// good.
    pub(super) fn rotate(&mut self, used: &RefreshToken, next: &RefreshToken, now: Timestamp) {
        let before = self.previous.take().map(|used| used.digest);
        let siblings = self
            .good
            .drain(..)
            .filter(|digest| !used.matches(digest.as_bytes()));
        self.spent.extend(before.into_iter().chain(siblings));
        let over = self.spent.len().saturating_sub(MOST_SPENT);
        self.spent.drain(..over);
        self.previous = Some(Used {
            digest: used.hash().into(),
            at: now,
        });
        self.good.push(next.hash().into());
    }

    /// Notes one more token as good: the first, or one that answers a retry.
    pub(super) fn add(&mut self, next: &RefreshToken) {
        self.good.push(next.hash().into());
    }
}

/// What the ids of a user's sessions begin with. Not unique: two users may share it.
fn tag(username: &str) -> String {
    let encoded = BASE64URL_NOPAD.encode(&sha256(username.as_bytes()));
    encoded
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(TAG)
        .collect()
}

/// All sessions of a user, each with its revision.
pub(super) async fn of_user(store: &Store, username: &str) -> Result<Vec<(u64, Session)>> {
    let tag = tag(username);
    let mut found = Vec::new();
    let mut after = None;
    while let Some(page) = next_page(store, (Table::Sessions, &tag), &mut after).await? {
        for record in &page {
            let session: Session = parse(Table::Sessions, &record.value)?;
            if session.username == username {
                found.push((record.revision, session));
            }
        }
    }
    Ok(found)
}

/// What removes all sessions of a user.
pub(crate) async fn removals(store: &Store, username: &str) -> Result<Vec<RecordChange>> {
    let sessions = of_user(store, username).await?;
    let change = |(_, session): &(u64, Session)| remove(Table::Sessions, &session.id, Expect::Any);
    Ok(sessions.iter().map(change).collect())
}

#[cfg(test)]
mod tests;
