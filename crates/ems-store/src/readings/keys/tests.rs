//! Keys come back, pages fill and end, and no step of a rotation or a destruction loses a key that
//! is to stay, or keeps one that is to go.

use std::collections::HashSet;

use super::*;
use crate::embedded::testing;

impl KeyTree {
    /// Every data key that can be unwrapped.
    pub(crate) fn every_key(&self) -> Vec<DataKey> {
        let state = self.state.lock();
        let mut keys = Vec::new();
        let mut take = |token, row: &[u8]| keys.extend(rows::unwrap(&state.ring, token, row).ok());
        self.wrapped.each(&mut take).unwrap();
        keys
    }
}

struct Place {
    dir: tempfile::TempDir,
    root: RootKey,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            root: RootKey::generate(),
        }
    }

    fn open(&self) -> KeyTree {
        self.open_with(&self.root).unwrap()
    }

    fn open_with(&self, root: &RootKey) -> Result<KeyTree> {
        testing::keys(self.dir.path(), root, now(1))
    }
}

fn now(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

fn subjects(names: std::ops::Range<u32>) -> Vec<Subject> {
    names
        .map(|number| Subject::Meter(MeterId::parse(&format!("m-{number}")).unwrap()))
        .collect()
}

fn keys(tree: &KeyTree, subjects: &[Subject]) -> Vec<DataKey> {
    let existing = |subject| tree.existing(subject).unwrap();
    subjects.iter().map(existing).collect()
}

fn pages(tree: &KeyTree) -> Vec<u32> {
    let pages = tree.state.lock();
    pages.ring.open_pages(0).collect()
}

#[test]
fn keys_come_back_and_pages_fill_before_others_begin() {
    let place = Place::new();
    let tree = place.open();
    let all = subjects(0..1000);
    tree.ensure(&all[..300]).unwrap();
    tree.ensure(&all).unwrap();
    let before = keys(&tree, &all);
    let status = tree.status().unwrap();
    assert_eq!(
        (status.subjects, status.pages),
        (1001, 16),
        "one is the index"
    );
    assert_eq!(status.free_slots, 16 * 256 - 1001);
    assert_eq!(tree.wrapped.used(&[0, 3, 4]).unwrap(), [256, 233, 0]);
    drop(tree);
    let tree = place.open();
    assert_eq!(keys(&tree, &all), before);
    assert_eq!(tree.verify().unwrap(), (1001, vec![]));
    let different: HashSet<&[u8; 32]> = before.iter().map(DataKey::expose).collect();
    assert_eq!(different.len(), 1000);
}

#[test]
fn a_rotation_gives_every_page_a_new_key_and_no_subject_another_one() {
    let place = Place::new();
    let tree = place.open();
    let all = subjects(0..600);
    tree.ensure(&all).unwrap();
    let (before, old) = (keys(&tree, &all), pages(&tree));
    assert!(!tree.begin_rotation().unwrap());
    assert_eq!(tree.rotate(now(7)).unwrap(), (16, 601));
    assert_eq!(keys(&tree, &all), before);
    assert!(pages(&tree).iter().all(|page| !old.contains(page)));
    drop(tree);
    let tree = place.open();
    assert_eq!(keys(&tree, &all), before);
    assert_eq!(tree.verify().unwrap(), (601, vec![]));
    assert_eq!(tree.status().unwrap().pages_rotated, now(7));
}

#[test]
fn a_rotation_that_stops_anywhere_is_gone_on_with() {
    for stop in 0..4 {
        let place = Place::new();
        let tree = place.open();
        let all = subjects(0..600);
        tree.ensure(&all).unwrap();
        let (before, old) = (keys(&tree, &all), pages(&tree));
        tree.begin_rotation().unwrap();
        if stop > 0 {
            tree.retire(&[0, 1]).unwrap();
        }
        if stop > 1 {
            let mut on_pages = std::collections::BTreeMap::<u32, Vec<Token>>::new();
            for (page, token) in rows::on_pages(tree.wrapped.as_ref(), &[0, 1]).unwrap() {
                on_pages.entry(page).or_default().push(token);
            }
            let on_pages: Vec<_> = on_pages.into_iter().collect();
            assert_eq!(tree.move_keys(&on_pages, None).unwrap(), 512);
        }
        if stop > 2 {
            tree.remove(&[0, 1], |_| {}).unwrap();
        }
        drop(tree);
        let tree = place.open();
        assert_eq!(keys(&tree, &all), before, "stopped at {stop}");
        assert!(tree.is_rotating());
        let more = subjects(600..700);
        tree.ensure(&more).unwrap();
        assert!(tree.begin_rotation().unwrap(), "the same one");
        tree.rotate(now(9)).unwrap();
        assert!(!tree.is_rotating());
        assert!(pages(&tree).iter().all(|page| !old.contains(page)));
        assert_eq!(keys(&tree, &all), before);
        assert_eq!(tree.verify().unwrap(), (701, vec![]), "stopped at {stop}");
    }
}

#[test]
fn a_destroyed_subject_is_gone_its_neighbours_stay_and_its_next_life_is_another() {
    let place = Place::new();
    let tree = place.open();
    let all = subjects(0..300);
    tree.ensure(&all).unwrap();
    let meter = MeterId::parse("m-7").unwrap();
    let (token, data) = (tree.subject_token(&all[7]), tree.meter_token(&meter));
    let gone = tree.existing(&all[7]).unwrap();
    let page = rows::page(tree.wrapped.as_ref(), token).unwrap().unwrap();
    tree.destroy(token, data, now(5)).unwrap();
    tree.destroy(token, data, now(6)).unwrap();
    let checks = |tree: &KeyTree| {
        assert_eq!(tree.key(&all[7]).unwrap(), None);
        assert!(!pages(tree).contains(&page));
        assert!(!tree.every_key().contains(&gone));
        assert_ne!(tree.meter_token(&meter), data);
        assert_eq!(tree.status().unwrap().destroyed, 1);
        assert_eq!(tree.verify().unwrap(), (300, vec![]));
    };
    checks(&tree);
    drop(tree);
    let tree = place.open();
    checks(&tree);
    tree.ensure(&all).unwrap();
    assert_ne!(tree.existing(&all[7]).unwrap(), gone);
    let second = tree.meter_token(&meter);
    tree.destroy(token, second, now(8)).unwrap();
    let third = tree.meter_token(&meter);
    assert_eq!(HashSet::from([data, second, third]).len(), 3);
}

#[test]
fn an_old_table_of_wrapped_keys_opens_nothing_of_a_destroyed_subject() {
    let place = Place::new();
    let tree = place.open();
    let all = subjects(0..3);
    tree.ensure(&all).unwrap();
    let (gone, stays) = (keys(&tree, &all[..1]), keys(&tree, &all[1..]));
    drop(tree);
    let table = place.dir.path().join("pages.redb");
    let old = std::fs::read(&table).unwrap();
    let tree = place.open();
    let held = tree.every_key();
    assert!(held.contains(&gone[0]) && held.contains(&stays[1]));
    let token = tree.subject_token(&all[0]);
    tree.destroy(token, [1; 16], now(5)).unwrap();
    assert_eq!(keys(&tree, &all[1..]), stays);
    drop(tree);
    std::fs::write(&table, old).unwrap();
    // Whoever puts the old table back finds that the page's key is no more.
    assert!(matches!(
        place.open_with(&place.root),
        Err(Error::Damaged { .. })
    ));
}

#[test]
fn the_root_key_changes_while_either_opens_and_ends_with_the_new_one_alone() {
    let place = Place::new();
    let new = RootKey::generate();
    let tree = place.open();
    let all = subjects(0..3);
    tree.ensure(&all).unwrap();
    let before = keys(&tree, &all);
    tree.admit_root(&new).unwrap();
    assert!(tree.status().unwrap().root_change_pending);
    drop(tree);
    // Interrupted: the old one is still in its place, and the change stays pending.
    let tree = place.open();
    tree.new_journal_key(9).unwrap();
    assert!(tree.status().unwrap().root_change_pending);
    drop(tree);
    let tree = place.open_with(&new).unwrap();
    assert!(!tree.status().unwrap().root_change_pending);
    assert_eq!((keys(&tree, &all), tree.journals()), (before, vec![9]));
    drop(tree);
    assert!(place.open_with(&place.root).is_err());
    assert!(place.open_with(&new).is_ok());
}

#[test]
fn what_a_crash_left_half_written_beside_the_keyring_goes() {
    let place = Place::new();
    drop(place.open());
    let half = place.dir.path().join("keyring.new");
    std::fs::write(&half, b"half").unwrap();
    drop(place.open());
    assert!(!half.exists());
}
