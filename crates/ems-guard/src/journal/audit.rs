//! `audit.log`: the ledger, rendered line by line with its index. It resumes from the last line of
//! the file (or of `audit.log.1`, where the file is empty), so that nothing is missing and nothing is
//! doubled over restarts and failures. Where both are gone, it begins with the first entry.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use ems_store::Ledger;
use serde::Deserialize;
use tokio::{task, time};

use super::{Form, Options, file::LogFile, line, ocsf};
use crate::{Error, Result};

/// Entries read and written at once.
const PAGE: usize = 4096;
/// How long entries gather before they are rendered: they are safe in the ledger.
const GATHER: Duration = Duration::from_millis(20);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// What is read back of a line, of either form: the form may change over a restart.
#[derive(Deserialize)]
#[serde(untagged)]
enum Indexed {
    Guide { index: u64 },
    Ocsf { unmapped: Unmapped },
}

#[derive(Deserialize)]
struct Unmapped {
    index: u64,
}

impl Indexed {
    fn of(line: &[u8]) -> Option<u64> {
        match serde_json::from_slice(line).ok()? {
            Self::Guide { index }
            | Self::Ocsf {
                unmapped: Unmapped { index },
            } => Some(index),
        }
    }
}

/// The file, opened when it is first needed and again after a failure.
pub(super) struct AuditLog {
    options: Options,
    wishes: Arc<AtomicU64>,
    open: Option<LogFile>,
    /// The index of the next line.
    next: u64,
}

impl AuditLog {
    pub(super) fn new(options: Options, wishes: Arc<AtomicU64>) -> Self {
        Self {
            options,
            wishes,
            open: None,
            next: 0,
        }
    }

    /// Opens the file and finds where to go on, for a ledger of `length` entries. A file that
    /// knows more than the ledger is another ledger's: it is set aside, and a new one begun.
    fn resume(&mut self, length: u64) -> Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let mut file = LogFile::open(&self.options, "audit.log", Arc::clone(&self.wishes))?;
        let last = file.last_line().map_err(|source| file.error(source))?;
        let index = last.and_then(|line| Indexed::of(&line));
        self.next = index.map_or(0, |index| index.saturating_add(1));
        if self.next > length {
            tracing::warn!("audit.log is of another ledger; it is set aside");
            file.set_aside().map_err(|source| file.error(source))?;
            self.next = 0;
        }
        self.open = Some(file);
        Ok(())
    }

    fn write(&mut self, entries: &[(u64, Arc<[u8]>)]) -> Result<()> {
        let Some(file) = &mut self.open else {
            return Ok(());
        };
        let form = self.options.form;
        let mut append = || -> io::Result<()> {
            for (index, entry) in entries {
                let line = match form {
                    Form::Guide => rendered(*index, entry),
                    Form::Ocsf => ocsf::entry(*index, entry).and_then(|value| line::render(&value)),
                };
                file.append(&line.ok_or(io::ErrorKind::InvalidData)?)?;
            }
            file.flush()
        };
        let done = append();
        if let Err(source) = done {
            let error = file.error(source);
            // How far it came is to be read from the file.
            self.open = None;
            return Err(error);
        }
        self.next = entries.last().map_or(self.next, |(index, _)| index + 1);
        Ok(())
    }
}

/// A line: the entry, whose fields are named as the security guide names them, with its index in
/// the ledger and a level before them. `None` for what is no JSON object.
fn rendered(index: u64, entry: &[u8]) -> Option<Vec<u8>> {
    let fields = std::str::from_utf8(entry).ok()?.strip_prefix('{')?;
    let mut json = String::with_capacity(fields.len() + 48);
    write!(json, "{{\"index\":{index},\"level\":\"INFO\",{fields}").ok()?;
    line::escape(json)
}

/// Renders until `stop` completes, then what is left.
pub(super) async fn follow(
    mut log: AuditLog,
    ledger: Arc<dyn Ledger>,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let mut durable = ledger.durable();
    let mut stop = std::pin::pin!(stop);
    let mut stopping = false;
    let mut opened = false;
    loop {
        let length = *durable.borrow_and_update();
        let (back, done) = catch_up(log, &*ledger, length).await;
        log = back;
        match done {
            Ok(()) if stopping => return Ok(()),
            Ok(()) => opened = true,
            Err(error) if stopping || !opened => return Err(error),
            Err(error) => {
                tracing::error!(%error, "audit.log is behind; trying again");
                tokio::select! {
                    () = &mut stop => stopping = true,
                    () = time::sleep(PAUSE) => {}
                }
                continue;
            }
        }
        tokio::select! {
            () = &mut stop => stopping = true,
            changed = durable.changed() => stopping = changed.is_err(),
        }
        tokio::select! {
            () = &mut stop, if !stopping => stopping = true,
            () = time::sleep(GATHER), if !stopping => {}
            else => {}
        }
    }
}

/// Writes the entries before `length` that are not written. Gives the log back with the result.
async fn catch_up(mut log: AuditLog, ledger: &dyn Ledger, length: u64) -> (AuditLog, Result<()>) {
    let (options, wishes) = (log.options.clone(), Arc::clone(&log.wishes));
    loop {
        let entries = if log.open.is_none() || log.next >= length {
            Vec::new()
        } else {
            let left = usize::try_from(length - log.next).unwrap_or(usize::MAX);
            match ledger.entries(log.next, left.min(PAGE)).await {
                Ok(entries) if entries.is_empty() => {
                    let error =
                        ems_store::Error::Engine("the ledger is shorter than it says".into());
                    return (log, Err(error.into()));
                }
                Ok(entries) => entries,
                Err(error) => return (log, Err(error.into())),
            }
        };
        let work = move || {
            let done = log.resume(length).and_then(|()| log.write(&entries));
            (log, done)
        };
        match task::spawn_blocking(work).await {
            Ok((back, done)) => {
                log = back;
                if done.is_err() || log.next >= length {
                    return (log, done);
                }
            }
            Err(error) => {
                let error = ems_store::Error::Engine(error.to_string());
                return (AuditLog::new(options, wishes), Err(Error::Store(error)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
