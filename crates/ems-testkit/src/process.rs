//! The real binary, spawned: run to its end, or serving until it is told to stop or killed.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};
use ems_api::client::Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::{ADMIN, Caller, server::trusting};

/// The binary, at the path that cargo built it to.
#[derive(Debug, Clone)]
pub struct Binary(PathBuf);

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Binary {
    /// The binary at a path: `env!("CARGO_BIN_EXE_ems")`.
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// A command that sees none of the environment that the tests run in.
    pub fn command<I: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(&self.0);
        command.args(args).env_clear().stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// Where it cannot be run.
    #[expect(clippy::panic, reason = "a binary that cannot be run fails the test")]
    pub fn run<I: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Ran {
        match self.command(args).output() {
            Ok(output) => Ran::of(&output),
            Err(error) => panic!("{} cannot be run: {error}", self.0.display()),
        }
    }

    /// Makes an instance in `dir`, with [`ADMIN`].
    ///
    /// # Errors
    /// What `ems init` complained of.
    pub fn init(&self, dir: &Path) -> Result<()> {
        let place = dir.parent().context("a directory below another")?;
        let password = secret_file(&place.join("admin.password"), ADMIN.1)?;
        let mut args = vec!["init".into(), "--dir".into(), dir.as_os_str().to_owned()];
        args.extend([
            "--admin".into(),
            ADMIN.0.into(),
            "--admin-password-file".into(),
        ]);
        args.push(password.into());
        let ran = self.run(args);
        if ran.code != 0 {
            bail!("ems init: {}", ran.stderr);
        }
        Ok(())
    }

    /// Serves the instance in `dir` on a free port, with settings as variables. Returns once it
    /// listens.
    ///
    /// # Errors
    /// What it complained of where it did not come to that.
    pub fn serve(&self, dir: &Path, settings: &[(&str, &str)]) -> Result<TestProcess> {
        TestProcess::start(self.serve_command(dir, settings), dir, "://")
    }

    /// The command that serves the instance in `dir`, for who starts it another way.
    pub fn serve_command(&self, dir: &Path, settings: &[(&str, &str)]) -> Command {
        let mut command = self.command(["serve", "--listen", "127.0.0.1:0", "--dir"]);
        command.arg(dir).env("EMS_SERVER__METRICS_LISTEN", "");
        command.envs(settings.iter().copied());
        command
    }
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// What it printed, as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_default()
    }
}

/// A server in a process of its own; killed when dropped.
#[derive(Debug)]
pub struct TestProcess {
    child: Child,
    said: String,
    url: String,
    ca: Vec<u8>,
}

impl TestProcess {
    /// Starts a serving command of the instance in `dir`, and waits for the line with `last`; the
    /// address is in that line or one before.
    ///
    /// # Errors
    /// What it complained of where it ended before that.
    pub fn start(mut command: Command, dir: &Path, last: &str) -> Result<Self> {
        let complaints = dir.with_extension("stderr");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&complaints)?;
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = child.stdout.take().context("its stdout")?;
        let mut said = String::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            said.push_str(&line);
            said.push('\n');
            if line.contains(last) {
                break;
            }
        }
        let Some(url) = said
            .lines()
            .find_map(origin)
            .filter(|_| said.contains(last))
        else {
            let _ = child.wait();
            bail!("it did not serve: {}", fs::read_to_string(&complaints)?);
        };
        let ca = fs::read(dir.join("tls/ca.pem"))?;
        Ok(Self {
            child,
            said,
            url,
            ca,
        })
    }

    /// What it printed until it served.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client that trusts it, without a credential.
    ///
    /// # Errors
    /// Where there can be none.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.url, Some(&self.ca))?)
    }

    /// A client of [`ADMIN`].
    ///
    /// # Errors
    /// Where the login is refused.
    pub async fn admin(&self) -> Result<Client> {
        Ok(self.client()?.logged_in(ADMIN.0, ADMIN.1).await?)
    }

    /// Someone without a credential, who trusts it.
    ///
    /// # Errors
    /// Where there can be no such client.
    pub fn nobody(&self) -> Result<Caller> {
        Ok(Caller::new(trusting(&self.ca)?, self.url.clone()))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("its process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends it as the kernel would: SIGKILL, and nothing is finished.
    ///
    /// # Errors
    /// Where it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Tells it to stop, and waits for its end; the exit code.
    ///
    /// # Errors
    /// Where it cannot be told, or a signal ended it.
    pub fn stop(mut self, signal: Signal) -> Result<i32> {
        self.signal(signal)?;
        self.child.wait()?.code().context("a signal ended it")
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        // Ended already after `kill` and `stop`: then neither does anything.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Scheme, host and port of the first URL in a line.
fn origin(line: &str) -> Option<String> {
    let (before, after) = line.split_once("://")?;
    let scheme = if before.ends_with("https") {
        "https"
    } else {
        "http"
    };
    let host = after.split(['/', '"', ' ']).next()?;
    Some(format!("{scheme}://{host}"))
}

/// Writes a secret to a file of mode 0600.
///
/// # Errors
/// Where it cannot be written.
pub fn secret_file(path: &Path, text: &str) -> Result<PathBuf> {
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())?;
    Ok(path.to_owned())
}
