//! What was done and what was answered, and whether one store of several processes could have answered
//! so: no acknowledged write is lost, none that nobody sent is there, and no read goes back behind one
//! that ended before it began.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use parking_lot::Mutex;

/// A reading of the history: its meter and time. Each is sent once, with a value of its own.
pub(super) type At = (String, i64);

/// A batch that was sent.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) rows: Vec<(At, f64)>,
    pub(super) begin: Instant,
    /// When it was acknowledged, and how many of it were accepted; `None` where nobody knows.
    pub(super) end: Option<(Instant, u64)>,
}

/// A whole meter that was read.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) meter: String,
    pub(super) begin: Instant,
    pub(super) end: Instant,
    pub(super) rows: Vec<(i64, f64)>,
}

/// All that was done.
#[derive(Default)]
pub(super) struct History {
    pub(super) writes: Mutex<Vec<Write>>,
    pub(super) reads: Mutex<Vec<Read>>,
}

/// What a check went over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checked {
    pub(super) acknowledged: usize,
    pub(super) in_doubt: usize,
    pub(super) reads: usize,
    pub(super) rows: usize,
}

impl History {
    /// Holds the history against what is there at the end; every fault is named.
    pub(super) fn check(&self, last: &HashMap<String, Vec<(i64, f64)>>) -> (Checked, Vec<String>) {
        let (writes, mut reads) = (self.writes.lock().clone(), self.reads.lock().clone());
        let mut faults = Vec::new();
        let mut checked = Checked {
            reads: reads.len(),
            ..Checked::default()
        };
        let mut sent: HashMap<&str, BTreeMap<i64, (f64, &Write)>> = HashMap::new();
        for write in &writes {
            match write.end {
                Some((_, accepted)) if accepted != u64::try_from(write.rows.len()).unwrap() => {
                    faults.push(format!("{accepted} of {} accepted", write.rows.len()));
                }
                Some(_) => checked.acknowledged += 1,
                None => checked.in_doubt += 1,
            }
            for ((meter, at), value) in &write.rows {
                let of = sent.entry(meter).or_default();
                of.insert(*at, (*value, write));
                checked.rows += 1;
            }
        }
        let now = Instant::now();
        for (meter, rows) in last {
            reads.push(Read {
                meter: meter.clone(),
                begin: now,
                end: now,
                rows: rows.clone(),
            });
        }
        reads.sort_by_key(|read| read.end);
        let none = BTreeMap::new();
        let mut seen: HashMap<(&str, i64), Instant> = HashMap::new();
        for read in &reads {
            let sent = sent.get(read.meter.as_str()).unwrap_or(&none);
            let there: BTreeMap<i64, f64> = read.rows.iter().copied().collect();
            if there.len() != read.rows.len() {
                faults.push(format!("{}: a reading is there twice", read.meter));
            }
            for (at, value) in &there {
                match sent.get(at) {
                    Some((sent, write)) if sent == value && write.begin <= read.end => {}
                    _ => faults.push(format!("{} {at}: nobody sent {value}", read.meter)),
                }
            }
            for (at, (_, write)) in sent {
                let acknowledged = write.end.is_some_and(|(end, _)| end < read.begin);
                let was_seen = seen.get(&(read.meter.as_str(), *at));
                let known = was_seen.is_some_and(|end| *end < read.begin);
                if (acknowledged || known) && !there.contains_key(at) {
                    let why = if acknowledged {
                        "lost"
                    } else {
                        "seen before, and gone"
                    };
                    faults.push(format!("{} {at}: {why}", read.meter));
                }
            }
            for at in there.keys() {
                seen.entry((&read.meter, *at)).or_insert(read.end);
            }
        }
        faults.truncate(20);
        (checked, faults)
    }

    /// The longest time between an instant and another without an acknowledged write.
    pub(super) fn pause(&self, from: Instant, until: Instant) -> std::time::Duration {
        let writes = self.writes.lock();
        let ends = writes
            .iter()
            .filter_map(|write| write.end.map(|(end, _)| end));
        let mut ends: Vec<Instant> = ends.filter(|end| (from..until).contains(end)).collect();
        ends.extend([from, until]);
        ends.sort_unstable();
        let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn write(begin: Instant, at: i64, end: Option<Instant>) -> Write {
        Write {
            rows: vec![(("m".into(), at), 1.0)],
            begin,
            end: end.map(|end| (end, 1)),
        }
    }

    fn read(begin: Instant, end: Instant, rows: &[i64]) -> Read {
        Read {
            meter: "m".into(),
            begin,
            end,
            rows: rows.iter().map(|at| (*at, 1.0)).collect(),
        }
    }

    fn faults(writes: Vec<Write>, reads: Vec<Read>, last: &[i64]) -> String {
        let history = History::default();
        *history.writes.lock() = writes;
        *history.reads.lock() = reads;
        let last = last.iter().map(|at| (*at, 1.0)).collect();
        history
            .check(&HashMap::from([("m".to_owned(), last)]))
            .1
            .join("; ")
    }

    #[test]
    fn what_is_lost_invented_doubled_or_taken_back_is_named() {
        let start = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let at = |millis| start + Duration::from_millis(millis);
        let acknowledged = || vec![write(at(0), 1, Some(at(5)))];
        assert_eq!(faults(acknowledged(), vec![], &[1]), "");
        assert!(faults(acknowledged(), vec![], &[]).contains("lost"));
        assert!(faults(acknowledged(), vec![], &[1, 2]).contains("nobody sent"));
        assert!(faults(acknowledged(), vec![], &[1, 1]).contains("twice"));
        // A read that began before the answer may miss it; one after may not.
        assert_eq!(
            faults(acknowledged(), vec![read(at(4), at(6), &[])], &[1]),
            ""
        );
        assert!(faults(acknowledged(), vec![read(at(6), at(7), &[])], &[1]).contains("lost"));
        // In doubt it may be there or not, but not first and then no more.
        let doubt = || vec![write(at(0), 1, None)];
        assert_eq!(faults(doubt(), vec![], &[]), "");
        let back = vec![read(at(1), at(2), &[1]), read(at(3), at(4), &[])];
        assert!(faults(doubt(), back, &[]).contains("gone"));
        let early = vec![read(at(0), at(1), &[1])];
        assert!(faults(vec![write(at(2), 1, None)], early, &[1]).contains("nobody sent"));
    }
}
