//! A log that is written, rotated, moved and removed while it is read.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
};

use tempfile::TempDir;

use super::*;

struct Log {
    dir: TempDir,
    written: u64,
}

impl Log {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            written: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes as many lines as asked: their numbers.
    fn write(&mut self, count: u64) {
        let mut options = OpenOptions::new();
        let options = options.append(true).create(true);
        let mut file = options.open(self.path("audit.log")).unwrap();
        for _ in 0..count {
            writeln!(file, "{}", self.written).unwrap();
            self.written += 1;
        }
    }

    /// As the log's own rotation does, keeping three.
    fn rotate(&self) {
        for number in [2, 1] {
            let _ = fs::rename(
                self.path(&format!("audit.log.{number}")),
                self.path(&format!("audit.log.{}", number + 1)),
            );
        }
        fs::rename(self.path("audit.log"), self.path("audit.log.1")).unwrap();
    }

    fn follow(&self, from: Option<Position>) -> Follower {
        Follower::open(self.dir.path().to_owned(), "audit", from).unwrap()
    }
}

/// The numbers read until there are no more, in pieces of a few lines; and how many were missed.
fn numbers(follower: &mut Follower) -> (Vec<u64>, u64) {
    let (mut read, mut missed) = (Vec::new(), 0);
    loop {
        let batch = follower.next(16).unwrap();
        missed += batch.missed;
        if batch.lines.is_empty() {
            return (read, missed);
        }
        read.extend(
            batch
                .lines
                .iter()
                .map(|line| line.text.parse::<u64>().unwrap()),
        );
    }
}

fn all(from: u64, to: u64) -> (Vec<u64>, u64) {
    ((from..to).collect(), 0)
}

#[test]
fn reads_every_line_once_over_rotations_before_and_while_it_reads() {
    let mut log = Log::new();
    log.write(5);
    log.rotate();
    log.write(5);
    log.rotate();
    log.write(5);
    let mut follower = log.follow(None);
    assert_eq!(numbers(&mut follower), all(0, 15));
    assert_eq!(numbers(&mut follower), all(0, 0));
    log.write(3);
    log.rotate();
    assert_eq!(numbers(&mut follower), all(15, 18));
    log.write(3);
    assert_eq!(numbers(&mut follower), all(18, 21));
}

#[test]
fn goes_on_from_a_confirmed_place_with_the_same_ids() {
    let mut log = Log::new();
    log.write(10);
    let mut follower = log.follow(None);
    let first = follower.next(8).unwrap();
    let second = follower.next(8).unwrap();
    let kept = serde_json::to_vec(&first.after).unwrap();
    log.rotate();
    log.write(10);
    // In the same process, and after a restart.
    follower.go_back(&first.after);
    assert_eq!(follower.next(8).unwrap().lines, second.lines);
    let mut follower = log.follow(Some(serde_json::from_slice(&kept).unwrap()));
    assert_eq!(follower.next(8).unwrap().lines, second.lines);
    assert_eq!(numbers(&mut follower), all(8, 20));
    let line = &second.lines[1];
    let mut follower = log.follow(Some(second.after.at(line)));
    assert_eq!(numbers(&mut follower), all(6, 20));
}

#[test]
fn a_line_that_is_not_whole_waits() {
    let mut log = Log::new();
    log.write(1);
    let mut file = OpenOptions::new()
        .append(true)
        .open(log.path("audit.log"))
        .unwrap();
    file.write_all(b"77").unwrap();
    let mut follower = log.follow(None);
    assert_eq!(numbers(&mut follower), all(0, 1));
    file.write_all(b"8\n").unwrap();
    assert_eq!(numbers(&mut follower), (vec![778], 0));
}

#[test]
fn a_file_that_another_program_moved_is_read_to_its_end() {
    let mut log = Log::new();
    log.write(2);
    let mut follower = log.follow(None);
    assert_eq!(numbers(&mut follower), all(0, 2));
    let mut old = OpenOptions::new()
        .append(true)
        .open(log.path("audit.log"))
        .unwrap();
    fs::rename(log.path("audit.log"), log.path("audit.log-20260101")).unwrap();
    fs::write(log.path("audit.log"), "").unwrap();
    assert_eq!(numbers(&mut follower), all(0, 0));
    // Until it is told of it, the writer goes on in the old one.
    old.write_all(b"2\n").unwrap();
    log.written = 3;
    assert_eq!(numbers(&mut follower), all(2, 3));
    log.write(2);
    assert_eq!(numbers(&mut follower), all(3, 5));
    let place = follower.position().clone();
    log.rotate();
    log.write(1);
    assert_eq!(numbers(&mut log.follow(Some(place))), all(5, 6));
}

#[test]
fn what_is_removed_unread_is_counted_once_and_the_rest_is_read() {
    let mut log = Log::new();
    log.write(1);
    let mut follower = log.follow(None);
    let confirmed = follower.next(16).unwrap().after;
    for _ in 0..5 {
        log.rotate();
        log.write(4);
        follower.look().unwrap();
    }
    // What is being read stays open, and three are kept: of the five others, one is gone.
    assert_eq!(numbers(&mut follower), ((5..21).collect(), 4));
    follower.go_back(&confirmed);
    assert_eq!(numbers(&mut follower), all(5, 21));
    // After a restart, the one that was open is gone as well: one more line, as far as is known.
    let (read, missed) = numbers(&mut log.follow(Some(confirmed)));
    assert_eq!((read, missed), ((5..21).collect(), 1));
}

#[test]
fn a_file_written_anew_is_read_whole() {
    let mut log = Log::new();
    log.write(5);
    let mut follower = log.follow(None);
    let (read, _) = numbers(&mut follower);
    assert_eq!(read.len(), 5);
    let place = follower.position().clone();
    fs::write(log.path("audit.log"), "7\n").unwrap();
    assert_eq!(numbers(&mut follower), (vec![7], 0));
    fs::write(log.path("audit.log"), "11\n12\n13\n14\n15\n").unwrap();
    assert_eq!(
        numbers(&mut log.follow(Some(place))).0,
        [11, 12, 13, 14, 15]
    );
}

#[test]
fn says_how_far_it_is_behind() {
    let mut log = Log::new();
    log.write(5);
    let mut follower = log.follow(None);
    let start = follower.position().clone();
    assert_eq!(follower.behind(&start), 10);
    let after = follower.next(4).unwrap().after;
    assert_eq!(follower.behind(&after), 6);
    log.rotate();
    log.write(5);
    follower.look().unwrap();
    assert_eq!(follower.behind(&after), 16);
}
