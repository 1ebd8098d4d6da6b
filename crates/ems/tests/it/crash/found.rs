//! What was looked for and what was found: the figures that a run is judged by.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug},
    ops::AddAssign,
};

/// Figures of a run. A sound store has nothing lost, doubled or wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) kills: u64,
    /// Of the kills, those of a server that had not begun to serve.
    pub(super) starting: u64,
    pub(super) folds: u64,
    pub(super) acknowledged: u64,
    /// Requests that a kill left without an answer, and those of them that had taken hold.
    pub(super) doubtful: u64,
    pub(super) there: u64,
    /// Readings, records and counts that were held against the model.
    pub(super) readings: u64,
    pub(super) records: u64,
    pub(super) counts: u64,
    pub(super) faults: Faults,
}

/// What is not as it was acknowledged.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// Acknowledged and not there.
    pub(super) lost: u64,
    /// There and not acknowledged, or there twice.
    pub(super) doubled: u64,
    /// Other values, or other counts.
    pub(super) wrong: u64,
    /// The first few in words.
    told: Vec<String>,
}

impl Faults {
    pub(super) fn sum(&self) -> u64 {
        self.lost + self.doubled + self.wrong
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < 20 {
            self.told.push(what);
        }
    }

    pub(super) fn wrong(&mut self, what: String) {
        self.wrong += 1;
        self.tell(what);
    }

    pub(super) fn told(&self) -> String {
        self.told.join("\n")
    }
}

impl Figures {
    /// Notes a count that was held against another.
    pub(super) fn count<T: PartialEq + Debug>(
        &mut self,
        what: &dyn Debug,
        found: &T,
        expected: &T,
    ) {
        self.counts += 1;
        if found != expected {
            self.faults
                .wrong(format!("{what:?}: {found:?} instead of {expected:?}"));
        }
    }
}

impl AddAssign<&Self> for Figures {
    fn add_assign(&mut self, other: &Self) {
        self.kills += other.kills;
        self.starting += other.starting;
        self.folds += other.folds;
        self.acknowledged += other.acknowledged;
        self.doubtful += other.doubtful;
        self.there += other.there;
        self.readings += other.readings;
        self.records += other.records;
        self.counts += other.counts;
        self.faults += &other.faults;
    }
}

impl AddAssign<&Self> for Faults {
    fn add_assign(&mut self, other: &Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.wrong += other.wrong;
        other.told.iter().for_each(|what| self.tell(what.clone()));
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            starting,
            folds,
            acknowledged,
            doubtful,
            there,
            readings,
            records,
            counts,
            faults,
        } = self;
        let Faults {
            lost,
            doubled,
            wrong,
            ..
        } = faults;
        write!(
            f,
            "{kills} kills ({starting} of a start), {folds} journals begun, {acknowledged} requests \
             acknowledged, {doubtful} in doubt ({there} of them there), {readings} readings, \
             {records} records and {counts} counts checked: {lost} lost, {doubled} doubled, \
             {wrong} wrong"
        )
    }
}

/// Compares what was found with what was acknowledged.
pub(super) fn compare<K, F, E>(
    found: &[(K, F)],
    expected: &BTreeMap<K, E>,
    same: impl Fn(&F, &E) -> bool,
) -> Faults
where
    K: Ord + Debug,
    F: Debug,
{
    let mut faults = Faults::default();
    let mut seen = BTreeSet::new();
    for (key, value) in found {
        let known = expected.get(key);
        if !seen.insert(key) || known.is_none() {
            faults.doubled += 1;
            faults.tell(format!("{key:?} is there twice, or was never sent"));
        } else if known.is_some_and(|known| !same(value, known)) {
            faults.wrong(format!("{key:?} has another value: {value:?}"));
        }
    }
    for key in expected.keys().filter(|key| !seen.contains(key)) {
        faults.lost += 1;
        faults.tell(format!("{key:?} was acknowledged and is not there"));
    }
    faults
}

/// Which of two states it is: as before a request without an answer, or as after it. What is
/// neither has been done in part; then the nearer one tells how far it is away.
pub(super) fn either(before: Faults, after: Faults) -> (bool, Faults) {
    let there = after.sum() < before.sum();
    (there, if there { after } else { before })
}

#[test]
fn finds_what_is_lost_doubled_and_wrong() {
    let expected = BTreeMap::from([(1, 'a'), (2, 'b'), (3, 'c')]);
    let found = [(1, 'a'), (1, 'a'), (2, 'x'), (4, 'd')];
    let faults = compare(&found, &expected, |found, expected| found == expected);
    assert_eq!((faults.lost, faults.doubled, faults.wrong), (1, 2, 1));
    let (there, faults) = either(faults, Faults::default());
    assert!(there && faults.sum() == 0);
}
