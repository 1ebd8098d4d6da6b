//! `security.log` and `audit.log`: one JSON object a line, by the security guide's field names.
//!
//! Security events go through a bounded queue to a thread that writes, so that no request waits
//! for a disk; a flood of one kind is counted, not repeated. `audit.log` is a rendering of the
//! ledger: it may lag, but misses nothing.

mod audit;
mod event;
mod file;
mod flood;
mod line;
mod ocsf;
mod past;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::sync_channel,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ems_store::Ledger;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use self::{
    audit::AuditLog,
    event::{Body, Event, ViolationBody},
    file::LogFile,
    flood::{Floods, Kind},
    writer::{Message, Queue},
};
pub use self::{
    event::Violation,
    past::{Past, PastEvent, Place},
};
use crate::{Act, Error, Result, alert::Sink};

/// The form of the lines of both logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The security guide's field names.
    Guide,
    /// The Open Cybersecurity Schema Framework.
    Ocsf,
}

/// How long a reader waits for lines that are on their way to the file.
const FLUSH: Duration = Duration::from_secs(5);

/// Where the logs lie, and their bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of both; made if it is not there.
    pub dir: PathBuf,
    /// The size in bytes at which a file is set aside; 0 for never.
    pub rotate_bytes: u64,
    /// Files set aside that are kept, for each log.
    pub keep: u32,
    /// The form of their lines.
    pub form: Form,
}

/// The two logs, open.
pub struct Journal {
    options: Options,
    floods: Arc<Mutex<Floods>>,
    queue: Queue,
    thread: Mutex<Option<JoinHandle<()>>>,
    reopened: Arc<AtomicU64>,
    start: Instant,
}

impl Journal {
    /// Opens `security.log` and starts its writer, which tells `sink` of each login and violation
    /// after it has written it.
    ///
    /// # Errors
    /// [`Error::Log`] naming the file.
    pub fn open(options: Options, sink: Option<Arc<dyn Sink>>) -> Result<Self> {
        let reopened = Arc::new(AtomicU64::new(0));
        let file = LogFile::open(&options, "security.log", Arc::clone(&reopened))?;
        let floods = Arc::new(Mutex::new(Floods::new()));
        let start = Instant::now();
        let started = writer::start((file, options.form), sink, Arc::clone(&floods), start);
        let (queue, thread) = started.map_err(|source| {
            let path = options.dir.join("security.log");
            Error::Log { path, source }
        })?;
        Ok(Self {
            options,
            floods,
            queue,
            thread: Mutex::new(Some(thread)),
            reopened,
            start,
        })
    }

    /// Notes a login, a refresh, a logout, or a credential that was refused. `additional` says
    /// more, such as the fault; it holds no secret.
    pub fn authentication(
        &self,
        act: &Act,
        action: &str,
        success: bool,
        additional: Map<String, Value>,
    ) {
        // Of failures, the names that were tried make no new kind: a guesser tries many.
        let user = if success { act.user.as_str() } else { "" };
        let kind = Kind::new("authentication", action, u16::from(success));
        self.note(kind, (user, &act.source_ip), || {
            Event::of(act, Body::authentication(act, action, success, additional))
        });
    }

    /// Notes a request that was answered. `endpoint` is the route's template, never the raw path.
    pub fn api_access(&self, act: &Act, endpoint: &str, method: &str, status_code: u16) {
        let kind = Kind::new("api_access", endpoint, status_code);
        self.note(kind, (&act.user, &act.source_ip), || {
            Event::of(act, Body::api_access(act, endpoint, method, status_code))
        });
    }

    /// Notes a violation. `details` says more; it holds no secret.
    pub fn violation(&self, act: &Act, violation: Violation, details: Map<String, Value>) {
        let kind = Kind::new("security_violation", violation.as_str(), 0);
        self.note(kind, ("", &act.source_ip), || {
            Event::of(
                act,
                Body::SecurityViolation(ViolationBody::new(act, violation, details)),
            )
        });
    }

    fn note(&self, kind: Kind<'_>, by: (&str, &str), event: impl FnOnce() -> Event) {
        let now = self.start.elapsed();
        let admitted = self.floods.lock().admit(kind, by, now, event);
        let Some(event) = admitted else { return };
        if let Err(event) = self.queue.push(event) {
            // The writer is behind: what does not fit is counted as if it were a flood.
            self.floods.lock().suppress(kind, by, now, *event);
        }
    }

    /// Brings what is queued for `security.log` into the file, unless that takes seconds.
    pub async fn flush(&self) {
        let queue = self.queue.clone();
        let (done, told) = sync_channel(1);
        let flushed = tokio::task::spawn_blocking(move || {
            queue.send(Message::Flush(done));
            told.recv_timeout(FLUSH).is_ok()
        });
        if !flushed.await.unwrap_or(false) {
            tracing::warn!("security.log is read without its newest lines");
        }
    }

    /// Reads `security.log` backwards, from its end or from a place. What it gives blocks.
    ///
    /// # Errors
    /// [`Error::Log`] where a file cannot be opened.
    pub fn past(&self, from: Option<Place>) -> Result<Past> {
        let path = self.options.dir.join("security.log");
        Past::open(&path, from).map_err(|source| Error::Log { path, source })
    }

    /// Lets both logs be opened anew before their next line, as after a rotation by another
    /// program.
    pub fn reopen(&self) {
        self.reopened.fetch_add(1, Ordering::SeqCst);
    }

    /// How many lines could not be written, since the start.
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }

    /// Renders the ledger into `audit.log`, from where the file ends, for as long as `stop` does
    /// not complete; then catches up and returns. A disk that refuses is tried again each second,
    /// and nothing is left out.
    ///
    /// # Errors
    /// [`Error::Log`] where the file cannot be opened at the start, or refuses still when it is to
    /// stop; [`Error::Store`] where the ledger does.
    pub async fn follow(
        &self,
        ledger: Arc<dyn Ledger>,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let log = AuditLog::new(self.options.clone(), Arc::clone(&self.reopened));
        audit::follow(log, ledger, stop).await
    }

    /// Writes what is queued, and ends the writer. Later events are counted as lost.
    pub async fn close(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        let queue = self.queue.clone();
        let ended = tokio::task::spawn_blocking(move || {
            queue.send(Message::Close);
            thread.join().is_ok()
        });
        if !ended.await.unwrap_or(false) {
            tracing::error!("the writer of security.log ended badly");
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
