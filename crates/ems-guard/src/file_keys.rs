//! Keys of the security guide's `API_KEYS_FILE`: the first eight characters, and a bcrypt hash.
//!
//! bcrypt takes its time by design, so it is paid once for a key, right or wrong: the answer is kept
//! by the key's SHA-256, and only so many run at once as there are cores.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc};

use ems_core::{role::Role, scope::Pattern};
use ems_crypto::{
    hash::sha256,
    password::{Password, verify_bcrypt},
};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Answers kept: 50 bytes each.
const KEPT: usize = 65_536;
/// Characters of a key that find its entry.
const PREFIX: usize = 8;

/// An entry of the file.
#[derive(Debug, Clone)]
pub struct FileKey {
    /// bcrypt of the whole key.
    pub hash: String,
    /// Its role.
    pub role: Role,
    /// Its meters.
    pub meters: Vec<Pattern>,
}

/// The file's keys.
pub struct FileKeys {
    keys: HashMap<String, FileKey>,
    answers: Mutex<LruCache<[u8; 32], bool>>,
    running: Semaphore,
}

impl FileKeys {
    /// Takes entries by the first eight characters of their keys.
    pub fn new(keys: HashMap<String, FileKey>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let kept = NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN);
        Self { keys, answers: Mutex::new(LruCache::new(kept)), running: Semaphore::new(cores) }
    }

    /// The entry of a key, and its first eight characters, where the key is the one that was hashed.
    pub async fn find(&self, key: &Arc<Password>) -> Option<(&str, &FileKey)> {
        let prefix = key.expose().get(..PREFIX)?;
        let (name, entry) = self.keys.get_key_value(prefix)?;
        let name = name.as_str();
        let digest = sha256(key.expose().as_bytes());
        if let Some(known) = self.answers.lock().get(&digest).copied() {
            return known.then_some((name, entry));
        }
        let _running = self.running.acquire().await.ok()?;
        // Another request with the same key may have paid while this one waited.
        let known = self.answers.lock().get(&digest).copied();
        let right = match known {
            Some(known) => known,
            None => {
                let (secret, hash) = (Arc::clone(key), entry.hash.clone());
                tokio::task::spawn_blocking(move || verify_bcrypt(secret.expose(), &hash)).await.ok()?
            }
        };
        self.answers.lock().put(digest, right);
        right.then_some((name, entry))
    }
}
