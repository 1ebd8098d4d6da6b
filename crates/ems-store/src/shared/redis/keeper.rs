//! Keeps the connection: a thread with a runtime of its own, so that a busy server delays no answer
//! of Redis, and whatever asks may come and go. It looks every second whether an idle connection still
//! answers, and brings a lost one back.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::{
    Core,
    ask::Ask,
    link::{Fault, Link},
};
use crate::{Error, Result};

/// Between two looks at a connection.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between two attempts: twice as long each time, up to the longest.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// The thread; it ends when this is dropped.
pub(super) struct Keeper {
    _stop: oneshot::Sender<()>,
}

impl Keeper {
    /// Starts it, and returns once there is a connection.
    pub(super) fn start(core: &Arc<Core>, deadline: Duration) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("a thread for Redis"))?;
        let (stop, stopped) = oneshot::channel();
        let (connected, answer) = mpsc::channel();
        let held = Arc::clone(core);
        let thread = thread::Builder::new().name("ems-redis".into());
        thread
            .spawn(move || run(&runtime, &held, deadline, (connected, stopped)))
            .map_err(Error::io("a thread for Redis"))?;
        match answer.recv() {
            Ok(Ok(())) => Ok(Self { _stop: stop }),
            Ok(Err(fault)) => Err(Error::Refused(format!(
                "shared.redis_url: Redis {fault} (at {}:{})",
                core.address.host, core.address.port
            ))),
            Err(_) => Err(Error::Engine("the thread for Redis ended".into())),
        }
    }
}

fn run(
    runtime: &Runtime,
    core: &Core,
    deadline: Duration,
    (connected, stopped): (mpsc::Sender<Result<(), Fault>>, oneshot::Receiver<()>),
) {
    runtime.block_on(async {
        match first(core, deadline).await {
            Ok(link) => core.gain(link),
            Err(fault) => {
                // Whoever waits for it is there.
                let _ = connected.send(Err(fault));
                return;
            }
        }
        let _ = connected.send(Ok(()));
        tokio::select! {
            _ = stopped => {}
            () = keep(core) => {}
        }
    });
}

/// The first connection: what may pass is waited for.
async fn first(core: &Core, deadline: Duration) -> Result<Link, Fault> {
    let until = Instant::now() + deadline;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let fault = match attempt(core, left).await {
            Ok(link) => return Ok(link),
            Err(fault) => fault,
        };
        if !fault.may_pass() || Instant::now() + SHORTEST >= until {
            return Err(fault);
        }
        sleep(SHORTEST).await;
    }
}

async fn keep(core: &Core) {
    loop {
        if core.link.load().is_none() {
            core.gain(again(core).await);
            tracing::info!("Redis (shared.redis_url) is back: limits are shared again");
        }
        tokio::select! {
            () = core.lost.notified() => {}
            () = sleep(HEARTBEAT) => look(core).await,
        }
    }
}

/// Asks nothing of Redis, and so finds out whether it is there and what run it has.
async fn look(core: &Core) {
    let Some(link) = core.link.load_full() else {
        return;
    };
    let nothing = Ask::new(&core.names, &[]);
    if let Err(fault) = core.ask(&link, &nothing, &[]).await {
        core.lose(&link, &fault);
    }
}

/// Another connection, however long it takes.
async fn again(core: &Core) -> Link {
    let mut wait = SHORTEST;
    loop {
        sleep(wait).await;
        match attempt(core, ATTEMPT).await {
            Ok(link) => return link,
            Err(fault) => tracing::debug!(%fault, "Redis is not back yet"),
        }
        wait = (wait * 2).min(LONGEST);
    }
}

async fn attempt(core: &Core, within: Duration) -> Result<Link, Fault> {
    let run = core.new_run();
    let open = Link::open(&core.address, &core.names, &run, core.patience);
    timeout(within, open).await.map_err(|_| Fault::Late)?
}
