//! `cargo xtask ci`: what must pass before a change lands, with the time that each step takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{audit, check, conformance, setup, shell, smoke, test};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 6] = [
    ("setup", setup::all),
    ("check", check::run),
    ("smoke", smoke::run),
    ("conformance", || conformance::run(conformance::SHORT)),
    ("audit", audit::run),
    // Last, so that the run closes with the test runner's summary.
    ("test", || test::run(&[])),
];

/// Runs the steps in order; the first that fails ends the run.
pub(crate) fn run() -> Result<()> {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        shell::say(&format!("== {name}"));
        let began = Instant::now();
        let outcome = step();
        times.push((name, began.elapsed()));
        if outcome.is_err() {
            shell::say(&summary(&times));
        }
        outcome.with_context(|| format!("step `{name}` failed"))?;
    }
    shell::say(&summary(&times));
    Ok(())
}

/// The wall time of each step, and of all, in seconds.
fn summary(times: &[(&str, Duration)]) -> String {
    let all: Duration = times.iter().map(|(_, time)| *time).sum();
    let rows = times.iter().copied().chain([("all", all)]);
    let rows = rows.map(|(name, time)| format!("\n{name:12} {:8.1} s", time.as_secs_f64()));
    format!("== time{}", rows.collect::<Vec<_>>().concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_adds_up_the_steps() {
        let times = [
            ("check", Duration::from_millis(1500)),
            ("test", Duration::from_secs(2)),
        ];
        let text = summary(&times);
        assert_eq!(
            text,
            "== time\ncheck             1.5 s\ntest              2.0 s\nall               3.5 s"
        );
    }
}
