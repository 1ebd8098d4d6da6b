//! The store on a simulated disk, against a model: random commits, folds and closes, with the power
//! cut, operations that fail and a disk that fills up anywhere, in opening and folding too. After
//! each restart everything acknowledged is there whole, nothing else is there in part, and every
//! figure is the model's.
//!
//! A seed gives the batches, the steps, and after how many operations on which file something goes
//! wrong. The operations of one file come from one thread, so they are the same each time; what
//! else was unsynced at that moment, and the keys, are not.

mod batches;
mod flips;
mod model;
mod run;
mod swaps;

use std::time::{Duration, Instant};

use self::run::{Figures, Run};

/// Runs seeds, and says what they checked.
fn seeds(from: u64, enough: impl Fn(u64) -> bool) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut all = Figures::default();
    let mut seed = from;
    while !enough(seed - from) {
        let mut run = Run::new(seed);
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(run.rounds());
        }));
        if let Err(panic) = told {
            eprintln!("seed {seed}: {:#?}", run.history());
            std::panic::resume_unwind(panic);
        }
        all += run.figures;
        seed += 1;
    }
    all
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `EMS_SOAK_SEEDS` or `EMS_SOAK_MINUTES` ask for more, `EMS_SOAK_FIRST` for others.
#[test]
fn nothing_acknowledged_is_lost_whatever_the_disk_does() {
    let first = number("EMS_SOAK_FIRST").unwrap_or(0);
    let begun = Instant::now();
    let time = number("EMS_SOAK_MINUTES").map(|minutes| Duration::from_secs(minutes * 60));
    let count = number("EMS_SOAK_SEEDS").unwrap_or(100);
    let figures = seeds(first, |done| {
        time.map_or(done >= count, |time| begun.elapsed() >= time)
    });
    println!("{figures}");
}
