//! The next journal's file, made before it is needed: its zeros take a sync or two, for which no
//! commit should wait. Its key comes when it is taken into use.

use super::{
    Base,
    journal::{Journal, JournalId},
};
use crate::{Error, Result};

/// Which files are made.
#[derive(Default)]
pub(crate) struct Ahead {
    /// The last that was taken into use. It and those before it are not touched here any more: the
    /// folder may come to prepare a journal that the writer could not wait for.
    taken: u64,
    /// Made and not taken into use yet. It stays as it is: where its key could not be written, it may
    /// be written all the same, and a key whose file was begun anew would have lost it.
    made: Option<u64>,
}

impl Ahead {
    /// Makes the file of a journal, unless it is made.
    pub(crate) fn prepare(&mut self, base: &Base, number: u64) -> Result<()> {
        if number > self.taken && self.made != Some(number) {
            let dir = &base.options.data_dir;
            Journal::create(&base.ground, dir, id(base, number))?;
            self.made = Some(number);
        }
        Ok(())
    }

    /// The journal of a number, open for its first record.
    pub(crate) fn take(&mut self, base: &Base, number: u64) -> Result<Journal> {
        self.prepare(base, number)?;
        let key = base.engine.keys.new_journal_key(number)?;
        let unexpected = || Error::damaged("journal", "a new journal has a record");
        let (ground, dir) = (&base.ground, &base.options.data_dir);
        let replayed = Journal::replay(ground, dir, id(base, number), &key, &mut |_, _| {
            Err(unexpected())
        });
        let fresh = replayed?.0.ok_or_else(unexpected)?;
        self.made = None;
        self.taken = number;
        Ok(fresh)
    }
}

fn id(base: &Base, number: u64) -> JournalId {
    JournalId {
        instance: base.engine.keys.instance(),
        number,
    }
}
