//! Work that is slow by design (password hashing), bounded: as many at once as there are cores,
//! so that a flood of logins costs neither the memory nor the cores that others need.

use std::{sync::Arc, thread, time::Duration};

use tokio::{sync::Semaphore, task, time};

use crate::{Error, Result};

/// How long one waits for a turn.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Slow {
    permits: Arc<Semaphore>,
}

impl Slow {
    /// As many turns at once as there are cores.
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            permits: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Does work on a thread of its own when its turn comes.
    ///
    /// # Errors
    /// [`Error::Busy`] where it does not come within five seconds.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let turn = time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = turn else {
            return Err(Error::Busy);
        };
        // The permit goes with the work: who stops waiting for it does not make room for more.
        let done = task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.map_err(|_| Error::Busy)
    }
}

#[cfg(test)]
impl Slow {
    /// Takes every turn, for as long as the answer is held.
    pub(crate) fn exhaust(&self) -> tokio::sync::OwnedSemaphorePermit {
        let count = u32::try_from(self.permits.available_permits()).unwrap();
        Arc::clone(&self.permits)
            .try_acquire_many_owned(count)
            .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn never_more_at_once_than_there_are_cores() {
        let slow = Arc::new(Slow::new());
        let cores = slow.permits.available_permits();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (slow, now, most) = (slow.clone(), now.clone(), most.clone());
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                tokio::spawn(async move { slow.run(work).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!((1..=cores).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so() {
        let slow = Slow::new();
        let turns = slow.exhaust();
        assert!(matches!(slow.run(|| ()).await, Err(Error::Busy)));
        drop(turns);
        assert!(slow.run(|| ()).await.is_ok());
    }
}
