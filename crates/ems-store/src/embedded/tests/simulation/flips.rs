//! Every byte of every file of a small store is flipped in turn. Opening or verifying names each, or
//! it is without meaning: then the whole content, read back, is the original's. A byte that is never
//! read to open, verify and read back a store cannot mean anything, and is counted without a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    super::super::vfs::simulated::{READ_UNIT, narrow, wide},
    run::{Files, Run, Verdict},
};

#[derive(Debug, Default)]
struct Figures {
    flips: usize,
    detected: usize,
    unread: usize,
    harmless: usize,
    /// Ranges of harmless bytes that are read, to be looked at.
    places: BTreeMap<PathBuf, BTreeSet<u64>>,
    undetected: Vec<String>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            flips,
            detected,
            unread,
            harmless,
            places,
            undetected,
        } = self;
        writeln!(
            f,
            "{flips} flips: {detected} detected, {unread} of bytes that are never read, {harmless} \
             harmless, {} undetected",
            undetected.len()
        )?;
        for (path, pieces) in places {
            let all: Vec<String> = ranges(pieces)
                .map(|(from, to)| format!("{from}..{to}"))
                .collect();
            writeln!(f, "harmless in {}: {}", path.display(), all.join(" "))?;
        }
        Ok(())
    }
}

/// Pieces that lie beside each other, as bytes.
fn ranges(pieces: &BTreeSet<u64>) -> impl Iterator<Item = (u64, u64)> {
    let mut pieces = pieces.iter().copied().peekable();
    std::iter::from_fn(move || {
        let from = pieces.next()?;
        let mut to = from + 1;
        while pieces.next_if_eq(&to).is_some() {
            to += 1;
        }
        Some((from * READ_UNIT, to * READ_UNIT))
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

/// Flips one bit of every `stride`-th byte.
fn flip_all(close: bool, stride: usize) -> Figures {
    let (run, _, files) = runtime().block_on(Run::small(7, close));
    let Verdict::AsItWas(read) = runtime().block_on(run.judge(files.clone())) else {
        panic!("the original is sound");
    };
    let figures = Mutex::new(Figures::default());
    let mut places: Vec<(PathBuf, usize)> = Vec::new();
    for (path, content) in files.iter().filter(|(path, _)| !path.ends_with("lock")) {
        let meant = read.get(path).cloned().unwrap_or_default();
        for at in (0..content.len()).step_by(stride) {
            figures.lock().unwrap().flips += 1;
            if meant.contains(&(wide(at) / READ_UNIT)) {
                places.push((path.clone(), at));
            } else {
                figures.lock().unwrap().unread += 1;
            }
        }
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let runtime = runtime();
                while let Some((path, at)) = places.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let flipped = flipped(&files, path, *at);
                    let judged =
                        catch_unwind(AssertUnwindSafe(|| runtime.block_on(run.judge(flipped))));
                    let mut figures = figures.lock().unwrap();
                    match judged {
                        Ok(Verdict::Named(_)) => figures.detected += 1,
                        Ok(Verdict::AsItWas(_)) => {
                            figures.harmless += 1;
                            let pieces = figures.places.entry(path.clone()).or_default();
                            pieces.insert(wide(*at) / READ_UNIT);
                        }
                        Err(_) => figures
                            .undetected
                            .push(format!("{} at {at}", path.display())),
                    }
                }
            });
        }
    });
    figures.into_inner().unwrap()
}

fn flipped(files: &Files, path: &Path, at: usize) -> Files {
    let mut files = files.clone();
    let content = files.get_mut(path).unwrap();
    content[at] ^= 1 << (at % 8);
    files
}

/// `EMS_SOAK_STRIDE` asks for more (3: every third byte) than an ordinary run of the tests does.
#[test]
fn every_flipped_byte_is_named_or_without_meaning() {
    let stride = super::number("EMS_SOAK_STRIDE").map_or(499, narrow);
    for close in [true, false] {
        let figures = flip_all(close, stride);
        println!("{}: {figures}", if close { "closed" } else { "killed" });
        assert_eq!(figures.undetected, Vec::<String>::new());
        assert!(figures.detected > 0);
    }
}
