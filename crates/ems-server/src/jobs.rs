//! Work that nobody asks for: what is over is removed from the store, once an hour; who is shut out
//! is told to other processes and learned from them, each second.

use std::{sync::Arc, time::Duration};

use ems_guard::{accounts, bans, sessions};
use ems_store::answers;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{app::App, config::Backend};

const EVERY: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

/// Runs the jobs until told to stop. A job that fails is logged and tried again at its next turn.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        sweep(&app).await;
    }
}

/// Keeps the addresses that are shut out in step with other processes, until told to stop.
pub(crate) async fn keep_bans(app: Arc<App>, stop: CancellationToken) {
    let of_many = app.settings.store.backend == Backend::Mongo;
    let mut turns = interval(SECOND);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    while stop.run_until_cancelled(turns.tick()).await.is_some() {
        let done = app.door.sync(of_many, app.clock.now()).await;
        if let Err(error) = &done
            && !failing
        {
            tracing::error!(%error, "bans of other processes are not known here");
        }
        failing = done.is_err();
        let (blocked, banned) = app.door.bans().count();
        app.metrics.guard().hold(blocked, banned);
    }
}

async fn sweep(app: &App) {
    let now = app.clock.now();
    for (what, done) in [
        ("sessions", sessions::sweep(&app.store, now).await),
        ("keys", accounts::sweep(&app.store, now).await),
        ("bans", bans::sweep(&app.store, now).await),
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
