//! The seam under the key tree: where the keyring lies, and where the wrapped keys. Several processes
//! may share them: a change that another was first with is worked out anew.

use ems_crypto::keyring::{Keyring, RootKey};

use super::Token;
use crate::Result;

/// Where the keyring lies.
pub(crate) trait RingPlace: Send + Sync {
    /// The keyring, durable; `None` where there is none.
    fn read(&self, root: &RootKey) -> Result<Option<Keyring>>;

    /// Puts a keyring in the place of the one of a generation, or of none; durable when it returns.
    /// False where another is there.
    fn write(&self, ring: &Keyring, before: Option<u64>) -> Result<bool>;

    /// The keyring that is there, where another process has changed it since a generation.
    fn newer(&self, than: u64) -> Result<Option<Keyring>>;

    /// From now on this root key opens it.
    fn settled(&self, root: &RootKey);
}

/// Takes a wrapped key: the token of its subject and the row.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Token, &[u8]);

/// Where the wrapped keys lie, and how many each page holds.
pub(crate) trait Wrapped: Send + Sync {
    /// How many keys there are.
    fn count(&self) -> Result<u64>;

    /// How many keys some pages hold, one after the other.
    fn used(&self, pages: &[u32]) -> Result<Vec<u32>>;

    /// Hands the rows of those tokens that have one to `take`.
    fn get(&self, tokens: &[Token], take: Take<'_>) -> Result<()>;

    /// Hands each row to `take`.
    fn each(&self, take: Take<'_>) -> Result<()>;

    /// Refuses a change of some rows that would not fit, before it is begun.
    fn expect_room(&self, rows: usize) -> Result<()>;

    /// Lets nobody lay another key on some pages.
    fn close(&self, pages: &[u32]) -> Result<()>;

    /// Makes a change, whole or not at all; durable when it returns. False where another was first:
    /// nothing is changed then.
    fn change(&self, work: &mut dyn FnMut(&mut dyn Change) -> Result<bool>) -> Result<bool>;
}

/// A change of the rows under way.
pub(crate) trait Change {
    /// Hands the rows of those tokens that have one to `take`.
    fn get(&mut self, tokens: &[Token], take: Take<'_>) -> Result<()>;

    /// Puts rows that are not there yet. False where one is.
    fn insert(&mut self, rows: &[(Token, Vec<u8>)]) -> Result<bool>;

    /// Puts rows in the place of those that are there.
    fn replace(&mut self, rows: &[(Token, Vec<u8>)]) -> Result<()>;

    /// Removes a row.
    fn remove(&mut self, token: Token) -> Result<()>;

    /// How many keys a page holds.
    fn used(&mut self, page: u32) -> Result<u32>;

    /// Notes how many keys a page holds that held `before`. False where that is not so, or where the
    /// page takes no more.
    fn set_used(&mut self, page: u32, before: u32, used: u32) -> Result<bool>;

    /// Forgets a page that holds nothing any more.
    fn end_page(&mut self, page: u32) -> Result<()>;
}
