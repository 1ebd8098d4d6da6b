//! A process that a load runs against, and what proc(5) says of it. It ends with its owner.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// A child, killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts it with its output thrown away.
    pub fn quiet(command: &mut Command) -> Result<Self> {
        Self::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        let name = || format!("{} did not start", command.get_program().display());
        child.map(Self).with_context(name)
    }

    /// Its standard output, where that was piped.
    pub fn stdout(&mut self) -> Result<std::process::ChildStdout> {
        self.0.stdout.take().context("no output")
    }

    /// Ends it without warning.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits.
    pub fn terminate(&mut self) -> Result<()> {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        if !self.0.wait()?.success() {
            bail!("the server did not end in order");
        }
        Ok(())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// Most resident memory so far, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Processor time so far, of user and kernel.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(self.0.id())
    }

    /// Processor time since it had used so much.
    pub fn cpu_since(&self, before: Duration) -> Result<Duration> {
        Ok(self.cpu()?.saturating_sub(before))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill().ok();
    }
}

/// Processor time of the bench itself.
pub fn own_cpu() -> Result<Duration> {
    cpu(std::process::id())
}

/// Fields 14 and 15 of proc(5)'s `stat`, in hundredths of a second.
fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
