//! Stopping: connections learn of it, finish what they have begun, and are cut at the deadline.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The connections, and the two words that end them. Clones are one and the same.
#[derive(Clone)]
pub(super) struct Drain {
    /// Finish and close.
    stop: CancellationToken,
    /// Close.
    cut: CancellationToken,
    connections: TaskTracker,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had to be cut at the deadline.
    pub cut: usize,
}

impl Drain {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    /// Runs a connection, until it ends or is cut.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.connections.spawn(async move {
            cut.run_until_cancelled(connection).await;
        });
    }

    /// Waits for the word to finish and close.
    pub(super) async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Waits for the connections to end, and cuts what is left at the deadline.
    pub(super) async fn finish(self, deadline: Duration) -> Drained {
        self.connections.close();
        if tokio::time::timeout(deadline, self.connections.wait())
            .await
            .is_ok()
        {
            return Drained { cut: 0 };
        }
        let cut = self.connections.len();
        self.cut.cancel();
        self.connections.wait().await;
        Drained { cut }
    }
}
