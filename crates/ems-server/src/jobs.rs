//! Work that nobody asks for: what is over is removed from the store, once an hour.

use std::{sync::Arc, time::Duration};

use ems_guard::{accounts, sessions};
use ems_store::answers;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::App;

const EVERY: Duration = Duration::from_hours(1);

/// Runs the jobs until told to stop. A job that fails is logged and tried again at its next turn.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        sweep(&app).await;
    }
}

async fn sweep(app: &App) {
    let now = app.clock.now();
    for (what, done) in [
        ("sessions", sessions::sweep(&app.store, now).await),
        ("keys", accounts::sweep(&app.store, now).await),
        (
            "answers",
            answers::sweep(&app.store, now).await.map_err(Into::into),
        ),
    ] {
        match done {
            Ok(0) => {}
            Ok(count) => tracing::info!(what, count, "removed what is over"),
            Err(error) => tracing::error!(what, %error, "what is over could not be removed"),
        }
    }
}
