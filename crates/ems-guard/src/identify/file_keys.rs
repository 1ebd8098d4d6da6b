//! The security guide's key file: keys found by their first 8 characters and verified by bcrypt.
//!
//! bcrypt is paid once for a key text, right or wrong, and once even where many come with it at
//! the same moment. The text that was right is remembered for good (the file does not change while
//! we run); wrong ones as far as a bound allows.

use std::{collections::HashMap, fmt, num::NonZeroUsize, sync::Arc};

use ems_core::{role::Role, scope::Pattern};
use ems_crypto::{
    hash::constant_time_eq,
    password::{Password, verify_bcrypt},
};
use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use tokio::sync::OnceCell;

use super::{Principal, Slow, file_principal};
use crate::{AuthFault, Result};

/// How many texts that were wrong, or are being verified, are remembered.
const ATTEMPTS: NonZeroUsize = NonZeroUsize::new(8192).expect("it is not zero");
/// The longest text that bcrypt sees whole, in bytes.
const LONGEST: usize = 72;
/// The length of the part that finds a key, in characters.
const PREFIX: usize = 8;

/// One key of the file.
#[derive(Clone)]
pub struct FileKey {
    /// Its first 8 characters, which find it.
    pub prefix: String,
    /// The bcrypt hash of the whole key.
    pub hash: String,
    /// Its role.
    pub role: Role,
    /// The meters it is for.
    pub meters: Vec<Pattern>,
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

struct Entry {
    hash: String,
    principal: Arc<Principal>,
    /// SHA-256 of the text that was found right.
    right: RwLock<Option<[u8; 32]>>,
}

pub(super) struct FileKeys {
    entries: HashMap<String, Entry>,
    attempts: Mutex<LruCache<[u8; 32], Arc<OnceCell<bool>>>>,
    slow: Slow,
}

impl FileKeys {
    pub(super) fn new(keys: Vec<FileKey>) -> Self {
        let entry = |key: FileKey| {
            let principal = Arc::new(file_principal(&key.prefix, key.role, &key.meters));
            let entry = Entry {
                hash: key.hash,
                principal,
                right: RwLock::new(None),
            };
            (key.prefix, entry)
        };
        Self {
            entries: keys.into_iter().map(entry).collect(),
            attempts: Mutex::new(LruCache::new(ATTEMPTS)),
            slow: Slow::new(),
        }
    }

    /// Whether bcrypt would have to run for a key text whose SHA-256 is `digest`.
    pub(super) fn is_costly(&self, text: &str, digest: [u8; 32]) -> bool {
        self.entry(text).is_some_and(|entry| {
            let right = *entry.right.read();
            let known = right.is_some_and(|right| constant_time_eq(&right, &digest));
            let mut attempts = self.attempts.lock();
            !known
                && attempts
                    .get(&digest)
                    .is_none_or(|attempt| !attempt.initialized())
        })
    }

    fn entry(&self, text: &str) -> Option<&Entry> {
        let end = text
            .char_indices()
            .nth(PREFIX)
            .map_or(text.len(), |(at, _)| at);
        let entry = text.get(..end).and_then(|prefix| self.entries.get(prefix));
        entry.filter(|_| text.len() <= LONGEST)
    }

    /// The principal of a key text whose SHA-256 is `digest`.
    pub(super) async fn verify(&self, text: &str, digest: [u8; 32]) -> Result<Arc<Principal>> {
        let Some(entry) = self.entry(text) else {
            return Err(AuthFault::Forged.into());
        };
        let right = *entry.right.read();
        if right.is_some_and(|right| constant_time_eq(&right, &digest)) {
            return Ok(Arc::clone(&entry.principal));
        }
        let attempt = Arc::clone(self.attempts.lock().get_or_insert(digest, Arc::default));
        let bcrypt = || {
            // Wiped when the work is done.
            let (given, hash) = (Password::new(text.to_owned()), entry.hash.clone());
            self.slow.run(move || verify_bcrypt(given.expose(), &hash))
        };
        if !*attempt.get_or_try_init(bcrypt).await? {
            return Err(AuthFault::Forged.into());
        }
        *entry.right.write() = Some(digest);
        Ok(Arc::clone(&entry.principal))
    }
}

#[cfg(test)]
mod tests;
