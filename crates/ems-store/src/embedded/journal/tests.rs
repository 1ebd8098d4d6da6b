//! The journal by itself: what was synced comes back, a torn end is passed over, anything else is named.

use super::*;

const ID: JournalId = JournalId {
    instance: [7; 16],
    number: 3,
};

struct Fixture {
    dir: tempfile::TempDir,
    key: DataKey,
}

impl Fixture {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            key: DataKey::generate(),
        }
    }

    fn file(&self) -> PathBuf {
        path(self.dir.path(), ID.number)
    }

    fn write(&self, contents: &[&[u8]]) {
        Journal::create(&Ground::real(), self.dir.path(), ID).unwrap();
        let mut journal = self.open().0.unwrap();
        for content in contents {
            journal.reserve(content.len()).unwrap();
            journal.append(content).unwrap();
        }
    }

    fn open(&self) -> (Option<Journal>, End) {
        let dir = self.dir.path();
        Journal::replay(&Ground::real(), dir, ID, &self.key, &mut |_, _| Ok(())).unwrap()
    }

    fn read(&self) -> Result<(Vec<Vec<u8>>, End)> {
        let mut seen = Vec::new();
        let (_, end) = Journal::replay(
            &Ground::real(),
            self.dir.path(),
            ID,
            &self.key,
            &mut |number, content| {
                assert_eq!(number, u64::try_from(seen.len()).unwrap());
                seen.push(content.to_vec());
                Ok(())
            },
        )?;
        Ok((seen, end))
    }

    fn edit(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.file()).unwrap();
        change(&mut bytes);
        std::fs::write(self.file(), bytes).unwrap();
    }
}

fn record_length(content: usize) -> usize {
    FRAME + padded(content) + TAG
}

const START: usize = 4096;

#[test]
fn what_was_appended_comes_back_and_appending_goes_on() {
    let fixture = Fixture::new();
    fixture.write(&[b"one", b"", &[0; 5000]]);
    let (journal, end) = fixture.open();
    assert_eq!(end, End::Clean);
    let mut journal = journal.unwrap();
    journal.append(b"four").unwrap();
    let (seen, end) = fixture.read().unwrap();
    assert_eq!(
        (seen, end),
        (
            vec![b"one".to_vec(), vec![], vec![0; 5000], b"four".to_vec()],
            End::Clean
        )
    );
}

#[test]
fn every_flipped_byte_of_every_record_is_an_error_that_names_it() {
    let fixture = Fixture::new();
    fixture.write(&[&[1; 700], &[2; 700], &[3; 700]]);
    let whole = std::fs::read(fixture.file()).unwrap();
    let used = START + 3 * record_length(700);
    for at in (0..26).chain((START..used).step_by(17)) {
        fixture.edit(|bytes| {
            bytes.clone_from(&whole);
            bytes[at] ^= 0x10;
        });
        let error = fixture
            .read()
            .expect_err("a flipped byte went unseen")
            .to_string();
        assert!(error.contains("journal"), "{error}");
    }
}

#[test]
fn bytes_after_the_last_record_are_not_taken_for_nothing() {
    let fixture = Fixture::new();
    fixture.write(&[b"one"]);
    fixture.edit(|bytes| bytes[START + record_length(3) + 5000] = 1);
    assert!(matches!(
        fixture.read(),
        Err(Error::Damaged { .. }) | Ok((_, End::Torn))
    ));
}

#[test]
fn a_torn_last_record_is_passed_over_whichever_sectors_are_missing() {
    let length = record_length(1500);
    for missing in 0..3 {
        let fixture = Fixture::new();
        fixture.write(&[&[1; 1500], &[2; 1500]]);
        fixture.edit(|bytes| {
            let second = START + length;
            let sector = (second / SECTOR + missing) * SECTOR;
            let (from, to) = (sector.max(second), (sector + SECTOR).min(second + length));
            if from < to {
                bytes[from..to].fill(0);
            }
        });
        let (seen, end) = fixture.read().unwrap();
        assert_eq!((seen.len(), end), (1, End::Torn), "sector {missing}");
        let (journal, _) = fixture.open();
        assert!(journal.is_none(), "nothing is sealed with its nonce again");
    }
}

#[test]
fn a_missing_record_in_the_middle_is_no_torn_end() {
    let fixture = Fixture::new();
    fixture.write(&[&[1; 700], &[2; 700], &[3; 700]]);
    let second = START + record_length(700);
    fixture.edit(|bytes| bytes[second..second + record_length(700)].fill(0));
    assert!(matches!(fixture.read(), Err(Error::Damaged { .. })));
}

#[test]
fn swapped_and_repeated_records_are_named() {
    let length = record_length(100);
    let fixture = Fixture::new();
    fixture.write(&[&[1; 100], &[2; 100]]);
    let whole = std::fs::read(fixture.file()).unwrap();
    fixture.edit(|bytes| bytes.copy_within(START..START + length, START + length));
    assert!(fixture.read().is_err());
    fixture.edit(|bytes| {
        bytes.clone_from(&whole);
        bytes.copy_within(START + length..START + 2 * length, START);
    });
    assert!(fixture.read().is_err());
}

#[test]
fn a_journal_of_another_number_or_instance_is_refused() {
    let fixture = Fixture::new();
    fixture.write(&[b"one"]);
    for id in [
        JournalId { number: 4, ..ID },
        JournalId {
            instance: [8; 16],
            ..ID
        },
    ] {
        std::fs::copy(fixture.file(), path(fixture.dir.path(), id.number)).ok();
        assert!(
            Journal::replay(
                &Ground::real(),
                fixture.dir.path(),
                id,
                &fixture.key,
                &mut |_, _| Ok(())
            )
            .is_err()
        );
    }
}
