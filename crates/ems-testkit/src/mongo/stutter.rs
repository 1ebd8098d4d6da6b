//! A process that stands still for a while, again and again: slow for whoever asks it, where the
//! kernel cannot delay what it sends.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use parking_lot::Mutex;
use rustix::process::Signal;

use super::member::Process;

/// Of the time, how much it stands still for one part that it runs.
const STILL: u32 = 10;

/// How long it runs at least: enough to answer something.
const SHORTEST: Duration = Duration::from_millis(5);

/// The process stutters until this is dropped.
#[derive(Debug)]
pub(super) struct Stutter {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stutter {
    /// Stops whatever process is there for `still`, lets it run for a tenth of that, and so on.
    pub(super) fn start(process: Arc<Mutex<Option<Process>>>, still: Duration) -> Self {
        let (end, ended) = mpsc::channel();
        let runs = (still / STILL).max(SHORTEST);
        let thread = thread::spawn(move || {
            let goes_on = |pause| ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
            let mut alive = true;
            while alive {
                let stopped = signal(&process, Signal::STOP);
                alive = stopped.is_ok() && goes_on(still);
                alive = signal(&process, Signal::CONT).is_ok() && alive && goes_on(runs);
            }
        });
        Self {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Stutter {
    fn drop(&mut self) {
        self.end.take();
        // It only ends in one way.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn signal(process: &Mutex<Option<Process>>, signal: Signal) -> Result<()> {
    let mut process = process.lock();
    process
        .as_mut()
        .map_or(Ok(()), |there| there.signal(signal))
}
