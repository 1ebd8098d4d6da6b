//! The next journal's file, made before it is needed: its zeros take a sync or two, for which no
//! commit should wait. Its key comes when it is taken into use.

use super::{
    engine::Engine,
    journal::{Journal, JournalId},
};
use crate::{Error, Result};

/// The file that is made and not taken into use yet. It stays as it is: where its key could not be
/// written, it may be written all the same, and a key whose file was begun anew would have lost it.
#[derive(Default)]
pub(crate) struct Ahead(Option<u64>);

impl Ahead {
    /// Makes the file of a journal, unless it is made.
    pub(crate) fn prepare(&mut self, engine: &Engine, number: u64) -> Result<()> {
        if self.0 != Some(number) {
            let dir = &engine.options.data_dir;
            Journal::create(&engine.ground, dir, id(engine, number))?;
            self.0 = Some(number);
        }
        Ok(())
    }

    /// The journal of a number, open for its first record.
    pub(crate) fn take(&mut self, engine: &Engine, number: u64) -> Result<Journal> {
        self.prepare(engine, number)?;
        let key = engine.keys.new_journal_key(number)?;
        let unexpected = || Error::damaged("journal", "a new journal has a record");
        let (ground, dir) = (&engine.ground, &engine.options.data_dir);
        let replayed = Journal::replay(ground, dir, id(engine, number), &key, &mut |_, _| {
            Err(unexpected())
        });
        let fresh = replayed?.0.ok_or_else(unexpected)?;
        self.0 = None;
        Ok(fresh)
    }
}

fn id(engine: &Engine, number: u64) -> JournalId {
    JournalId {
        instance: engine.keys.instance(),
        number,
    }
}
