//! Records on disk. A meter's record is its subject's: it is sealed under the subject's key, so that
//! it ends with it; all others lie under one key. Each says under which.

use std::sync::Arc;

use super::{Disk, Sealed, hex};
use crate::{
    Error, Record, Result, Table,
    readings::{
        keys::Token,
        wire::{Reader, Writer},
    },
    subject::Subject,
};
use ems_core::meter::MeterId;
use ems_crypto::seal::Sealer;

/// Whose a record is.
fn owner(table: Table, id: &str) -> Subject {
    match (table, MeterId::parse(id)) {
        (Table::Meters, Ok(meter)) => Subject::Meter(meter),
        _ => Subject::Table("records"),
    }
}

impl Disk {
    /// The token of a record.
    fn record_token(&self, table: Table, id: &str) -> Token {
        self.keys.token(table.as_str(), id)
    }

    /// Seals a record for its place; without a value, removes it.
    ///
    /// # Errors
    /// Those of the key of the subject that it belongs to.
    pub(crate) fn seal_record(
        &self,
        table: Table,
        id: &str,
        record: Option<&Record>,
    ) -> Result<(Table, Sealed<Token>)> {
        let key = self.record_token(table, id);
        let Some(record) = record else {
            return Ok((table, Sealed { key, value: None }));
        };
        let mut out = Writer::default();
        out.bytes(table.as_str().as_bytes());
        out.bytes(id.as_bytes());
        out.u64(record.revision);
        out.bytes(&record.value);
        let subject = owner(table, id);
        let owner = self.keys.subject_token(&subject);
        let aad = self.aad(&[b"record", &key, &owner]);
        let sealed = if owner == self.records_owner {
            self.record_sealer.seal(&aad, &out.0)
        } else {
            Sealer::new(&self.keys.existing(&subject)?).seal(&aad, &out.0)
        };
        let value = Some([owner.as_slice(), &sealed].concat());
        Ok((table, Sealed { key, value }))
    }

    /// Hands every record to `take`; what is wrong with one goes to `fault`.
    pub(crate) fn records(
        &self,
        take: &mut dyn FnMut(Table, Record),
        fault: &mut dyn FnMut(Error),
    ) -> Result<()> {
        let look = self.rows.look()?;
        for kind in self.rows.records() {
            look.all(*kind, &mut |token, row| {
                self.note(row);
                let opened = match token.first_chunk() {
                    Some(token) => self.open_record(*token, row),
                    None => Ok(None),
                };
                match opened {
                    Ok(Some((table, record))) => take(table, record),
                    Ok(None) => {
                        let place = format!("record {}", hex(token));
                        fault(self.damaged(place, "it does not open"));
                    }
                    Err(error) => fault(error),
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn open_record(&self, token: Token, row: &[u8]) -> Result<Option<(Table, Record)>> {
        let Some((named, sealed)) = row.split_first_chunk::<16>() else {
            return Ok(None);
        };
        let aad = self.aad(&[b"record", &token, named]);
        let content = if *named == self.records_owner {
            self.record_sealer.open(&aad, sealed)
        } else {
            match self.keys.key_of(*named)? {
                Some(key) => Sealer::new(&key).open(&aad, sealed),
                None => return Ok(None),
            }
        };
        let content = content.ok();
        let record = content.and_then(|content| decode(&content));
        let in_its_place = |(table, record): &(Table, Record)| {
            self.record_token(*table, &record.id) == token
                && self.keys.subject_token(&owner(*table, &record.id)) == *named
        };
        Ok(record.filter(in_its_place))
    }
}

fn decode(content: &[u8]) -> Option<(Table, Record)> {
    let mut input = Reader(content);
    let name = input.text().ok()?;
    let table = Table::ALL
        .into_iter()
        .find(|table| table.as_str() == name)?;
    let id: Arc<str> = input.text().ok()?.into();
    let record = Record {
        id,
        revision: input.u64().ok()?,
        value: input.bytes().ok()?.into(),
    };
    Some((table, record))
}
