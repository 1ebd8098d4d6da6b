//! `cargo xtask soak`: the tests that look for rare faults, for as long as is asked.
//!
//! They are ordinary tests, of which CI runs a short form. Here they run in release, without the time
//! that LTO takes to build, and variables ask them for more; what they print are their figures.

use std::{num::NonZero, process::Command, thread, time::Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};

use crate::shell;

/// What to soak, and for how long. The defaults are what a release is held to.
#[derive(Args)]
pub(crate) struct Soak {
    /// All of them, one after the other, when absent.
    what: Option<What>,
    /// Seeds of power cuts.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed of the power cuts; the one seed of the kills.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Power cuts for so long, instead of so many seeds.
    #[arg(long)]
    minutes: Option<u64>,
    /// Bytes from one flip to the next.
    #[arg(long, default_value_t = 3)]
    stride: u64,
    /// Rounds of kill -9; of each fault of the database, ten where nothing is said.
    #[arg(long)]
    rounds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The store on a simulated disk: power cuts, failing operations, no room.
    Power,
    /// Bytes of a store's files flipped, one at a time.
    Flips,
    /// kill -9 of the binary, under load and while it starts.
    Kills,
    /// The store of several processes on a real database: servers and processes that die, are cut off,
    /// slow or full.
    Mongo,
}

/// A variable that asks a test for more.
type Variable = (&'static str, u64);

/// From one core's first seed to the next one's, where time ends them.
const APART: u64 = 1 << 32;

/// Runs what is asked for; the first fault ends it.
pub(crate) fn run(soak: &Soak) -> Result<()> {
    let all = [What::Power, What::Flips, What::Kills, What::Mongo];
    let asked = |what: &What| soak.what.is_none_or(|one| one == *what);
    all.into_iter()
        .filter(asked)
        .try_for_each(|what| what.soak(soak))
}

impl Soak {
    fn kills(&self) -> u64 {
        self.rounds.unwrap_or(300)
    }

    fn faults(&self) -> u64 {
        self.rounds.unwrap_or(10)
    }
}

impl What {
    /// Builds the test first, so that what runs it on several cores does not wait for a build.
    fn soak(self, soak: &Soak) -> Result<()> {
        shell::run(self.test().arg("--no-run"))?;
        let began = Instant::now();
        let shares = self.shares(soak)?;
        let figures = thread::scope(|scope| {
            let shares = shares.iter();
            let running = shares.map(|share| scope.spawn(move || self.run(share, soak)));
            let running: Vec<_> = running.collect();
            let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
            let told = ended.map(|told| told.unwrap_or_else(|_| Err(anyhow!("a thread panicked"))));
            told.collect::<Result<Vec<_>>>()
        })?;
        let seconds = began.elapsed().as_secs();
        shell::say(&format!("{}\nin {seconds} s", sum(&figures)));
        Ok(())
    }

    /// What is asked of the test, once for each core that it is to run on.
    fn shares(self, soak: &Soak) -> Result<Vec<Vec<Variable>>> {
        let cores = u64::try_from(thread::available_parallelism().map_or(1, NonZero::get))?;
        let first = ("EMS_SOAK_FIRST", soak.first);
        Ok(match (self, soak.minutes) {
            (Self::Power, None) => seeds(soak.first, soak.seeds, cores),
            (Self::Power, Some(minutes)) => (0..cores)
                .map(|core| ("EMS_SOAK_FIRST", soak.first + core * APART))
                .map(|first| vec![first, ("EMS_SOAK_MINUTES", minutes)])
                .collect(),
            (Self::Flips, _) => vec![vec![("EMS_SOAK_STRIDE", soak.stride)]],
            (Self::Kills, _) => vec![vec![first, ("EMS_SOAK_ROUNDS", soak.kills())]],
            (Self::Mongo, _) => vec![vec![("EMS_SOAK_ROUNDS", soak.faults())]],
        })
    }

    /// The command of the test.
    fn test(self) -> Command {
        let (target, name): (&[&str], _) = match self {
            Self::Power => (
                &["ems-store", "--lib"],
                "embedded::tests::simulation::nothing_acknowledged_is_lost_whatever_the_disk_does",
            ),
            Self::Flips => (
                &["ems-store", "--lib"],
                "embedded::tests::simulation::flips::every_flipped_byte_is_named_or_without_meaning",
            ),
            Self::Kills => (
                &["ems", "--test", "it"],
                "crash::whatever_was_acknowledged_survives_kill_9",
            ),
            Self::Mongo => (&["ems-store", "--lib"], "mongo::tests::faults::"),
        };
        let mut command = shell::command("cargo", ["test", "--release", "--locked", "-p"]);
        command.args(target).arg(name);
        command.env("CARGO_PROFILE_RELEASE_LTO", "off");
        command
    }

    /// Runs the test; its figures. Where it fails: all that it said, and the command that repeats it.
    fn run(self, share: &[Variable], soak: &Soak) -> Result<String> {
        let mut command = self.test();
        // By two threads, though it is one test: by one, the runner writes into the test's lines.
        command.args(["--", "--nocapture", "--test-threads=2"]);
        // Those of the database are several tests.
        if self != Self::Mongo {
            command.arg("--exact");
        }
        command.envs(share.iter().map(|(name, value)| (name, value.to_string())));
        let output = command.output().context("cargo could not be started")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, complained) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() {
            return figures(&printed).context("no figures: the test did not run");
        }
        shell::say(&format!("{printed}\n{complained}"));
        let seed = seed(&complained).unwrap_or(soak.first);
        let again = match self {
            Self::Power => format!("power --first {seed} --seeds 1"),
            Self::Flips => format!("flips --stride {}", soak.stride),
            Self::Kills => format!("kills --first {seed} --rounds {}", soak.kills()),
            Self::Mongo => format!("mongo --rounds {}", soak.faults()),
        };
        bail!("{self:?} failed; `cargo xtask soak {again}` repeats it")
    }
}

/// Seeds from the first on, spread over the cores.
fn seeds(first: u64, count: u64, cores: u64) -> Vec<Vec<Variable>> {
    let begin = |core: u64| count * core / cores;
    (0..cores)
        .map(|core| {
            let count = begin(core + 1) - begin(core);
            let first = ("EMS_SOAK_FIRST", first + begin(core));
            vec![first, ("EMS_SOAK_SEEDS", count)]
        })
        .collect()
}

/// What the test printed, without what the runner did.
fn figures(printed: &str) -> Option<String> {
    let runners = ["running ", "test "];
    let lines: Vec<_> = printed
        .lines()
        .filter(|line| !line.is_empty() && !runners.iter().any(|start| line.starts_with(start)))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The seed that a failed test named.
fn seed(complained: &str) -> Option<u64> {
    let (_, rest) = complained.split_once("seed ")?;
    number(rest.split_whitespace().next()?)
}

/// One text of figures from several that differ in their numbers alone.
fn sum(figures: &[String]) -> String {
    let words = figures
        .iter()
        .map(|text| text.split(' ').map(str::to_owned));
    let sum = words
        .map(Iterator::collect)
        .reduce(|all: Vec<String>, more| {
            let pairs = all.iter().zip(&more);
            let added = pairs.map(|(one, other)| match number(one).zip(number(other)) {
                Some((left, right)) => one.replace(&left.to_string(), &(left + right).to_string()),
                None => one.clone(),
            });
            added.collect()
        });
    sum.unwrap_or_default().join(" ")
}

/// The number that a word is, punctuation aside.
fn number(word: &str) -> Option<u64> {
    word.trim_matches(|c: char| c.is_ascii_punctuation())
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_run_on_one_core() {
        let share = |first, count| vec![("EMS_SOAK_FIRST", first), ("EMS_SOAK_SEEDS", count)];
        assert_eq!(
            seeds(100, 10, 3),
            [share(100, 3), share(103, 3), share(106, 4)]
        );
    }

    #[test]
    fn figures_are_told_from_what_the_runner_prints_and_added_up() {
        let printed = "\nrunning 1 test\n5 seeds, 7 commits (2 in doubt): none lost\n\
                       test a::b ... ok\n\ntest result: ok. 1 passed\n";
        let told = figures(printed).unwrap();
        assert_eq!(told, "5 seeds, 7 commits (2 in doubt): none lost");
        let other = "6 seeds, 10 commits (0 in doubt): none lost".to_owned();
        assert_eq!(
            sum(&[told, other]),
            "11 seeds, 17 commits (2 in doubt): none lost"
        );
        assert_eq!(figures("\nrunning 0 tests\n\ntest result: ok.\n"), None);
    }

    #[test]
    fn a_failed_test_names_its_seed() {
        assert_eq!(seed("thread panicked\nseed 4711: [\n"), Some(4711));
        assert_eq!(seed("seed 3, round 17; the instance"), Some(3));
        assert_eq!(seed("thread panicked"), None);
    }
}
