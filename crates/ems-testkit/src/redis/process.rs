//! The process of a server.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

/// Debian's server; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    config: PathBuf,
    dir: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    pub(super) fn start(config: &Path, dir: &Path) -> Result<Self> {
        let process = Self {
            config: config.to_owned(),
            dir: dir.to_owned(),
            child: Mutex::new(None),
        };
        process.spawn()?;
        Ok(process)
    }

    /// Starts it, on the files that are there.
    pub(super) fn spawn(&self) -> Result<()> {
        let said = File::create(self.dir.join("said"))?;
        let mut command = Command::new("redis-server");
        command.arg(&self.config).current_dir(&self.dir);
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        let child = command.spawn();
        let child = child.context("there is no redis-server; run cargo xtask setup")?;
        *self.child.lock() = Some(child);
        Ok(())
    }

    pub(super) fn has_ended(&self) -> Result<bool> {
        match self.child.lock().as_mut() {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// SIGKILL, and waits for its end; nothing where it has ended already.
    pub(super) fn kill(&self) -> Result<()> {
        if let Some(mut child) = self.child.lock().take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP.
    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(super) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.lock();
        let child = child.as_ref().context("the server was killed")?;
        let id = Pid::from_raw(i32::try_from(child.id())?).context("its process id")?;
        Ok(kill_process(id, signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is lost: it is to end, and its directory goes with it.
        let _ = self.kill();
    }
}
