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
