//! The byte form of a document of the log: what is sealed in it, and what its parts hold.

use ems_core::time::Timestamp;

use super::Tag;
use crate::{
    Batch, RecordChange, Table,
    readings::{
        codec::GroupWriter,
        keys::Token,
        plan::Written,
        wire::{Malformed, Reader, Writer},
    },
};

/// Whose a part is: each lies in a collection that only those may read who are to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mongo) enum Area {
    /// Readings, deletions, meters and answers.
    Data,
    /// Users, keys, sessions and bans.
    Identity,
    /// All else.
    Control,
}

impl Area {
    /// All of them.
    pub(in crate::mongo) const ALL: [Self; 3] = [Self::Data, Self::Identity, Self::Control];

    /// The area of a record.
    pub(super) fn of(table: Table) -> Self {
        match table {
            Table::Meters | Table::Answers => Self::Data,
            Table::Users | Table::Keys | Table::Sessions | Table::Bans => Self::Identity,
            Table::Erasures => Self::Control,
        }
    }

    /// The collection of its parts.
    pub(in crate::mongo) fn collection(self) -> &'static str {
        match self {
            Self::Data => "journal",
            Self::Identity => "identity_journal",
            Self::Control => "control_journal",
        }
    }

    /// Its number in the form.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Identity => 2,
            Self::Control => 3,
        }
    }

    fn from_code(code: u8) -> Result<Self, Malformed> {
        let mut all = Self::ALL.into_iter();
        all.find(|area| area.code() == code).ok_or(Malformed)
    }
}

/// What a group of commits changes, by area, and its ledger entries.
#[derive(Debug, Default)]
pub(in crate::mongo) struct Parts {
    areas: [GroupWriter; 3],
    entries: Vec<Vec<u8>>,
}

impl Written for Parts {
    fn add(&mut self, batch: &Batch, records: &[RecordChange], ledger: &[Vec<u8>]) {
        for (area, writer) in Area::ALL.into_iter().zip(&mut self.areas) {
            let own: Vec<&RecordChange> = records
                .iter()
                .filter(|record| Area::of(record.table) == area)
                .collect();
            let none = Batch::default();
            let batch = if area == Area::Data { batch } else { &none };
            if !own.is_empty() || !batch.readings.is_empty() || !batch.deletions.is_empty() {
                writer.put((&batch.deletions, &batch.readings), &own, &[]);
            }
        }
        self.entries.extend_from_slice(ledger);
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.areas.iter().all(Written::is_empty)
    }
}

impl Parts {
    /// As the content of a document.
    pub(in crate::mongo) fn finish(self, sequence: u64, first: u64, at: Timestamp) -> Content {
        let parts = Area::ALL.into_iter().zip(self.areas);
        let parts = parts.filter(|(_, writer)| !writer.is_empty());
        Content {
            at,
            mark: Mark::Commit,
            first,
            parts: parts
                .map(|(area, writer)| (area, writer.finish(sequence, at)))
                .collect(),
            entries: self.entries,
        }
    }
}

/// What a document is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mongo) enum Mark {
    /// Commits.
    Commit,
    /// All before it is to be folded; what comes after it lies under the key of the next epoch.
    Freeze { token: u64, epoch: u64 },
    /// A version of the rows is there: a fold of what was set aside, or of some meters.
    Version {
        token: u64,
        version: u64,
        fold: bool,
        meters: Vec<Token>,
    },
    /// Another process does the jobs from now on.
    Takeover { token: u64 },
    /// The keys of some subjects are no more.
    Forget { subjects: Vec<Token> },
}

/// What a document holds, with its parts.
#[derive(Debug)]
pub(in crate::mongo) struct Content {
    pub(in crate::mongo) at: Timestamp,
    pub(in crate::mongo) mark: Mark,
    /// The index of its first ledger entry.
    pub(in crate::mongo) first: u64,
    pub(in crate::mongo) entries: Vec<Vec<u8>>,
    pub(in crate::mongo) parts: Vec<(Area, Vec<u8>)>,
}

impl Content {
    /// One that only marks something.
    pub(in crate::mongo) fn marking(mark: Mark, first: u64, at: Timestamp) -> Self {
        Self {
            at,
            mark,
            first,
            entries: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Adds a piece of an area's part, in the order in which they were named.
    pub(super) fn add_piece(&mut self, area: Area, piece: Vec<u8>) {
        match self.parts.iter_mut().find(|part| part.0 == area) {
            Some((_, bytes)) => bytes.extend(piece),
            None => self.parts.push((area, piece)),
        }
    }
}

/// Where a piece of a part lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartName {
    pub(super) area: Area,
    pub(super) id: [u8; 16],
}

/// What is sealed in a document.
pub(super) struct Sheet {
    pub(super) epoch: u64,
    pub(super) before: Tag,
    pub(super) names: Vec<PartName>,
    pub(super) content: Content,
}

impl Sheet {
    /// The bytes to be sealed.
    pub(super) fn encode(
        content: &Content,
        epoch: u64,
        before: Tag,
        names: &[PartName],
    ) -> Vec<u8> {
        let mut out = Writer::default();
        out.0.extend_from_slice(&before);
        out.zigzag(content.at.as_micros());
        out.varint(epoch);
        put_mark(&mut out, &content.mark);
        out.count(names.len());
        for name in names {
            out.u8(name.area.code());
            out.0.extend_from_slice(&name.id);
        }
        out.count(content.entries.len());
        content.entries.iter().for_each(|entry| out.bytes(entry));
        out.0
    }

    /// Reads them back.
    pub(super) fn decode(bytes: &[u8], first: u64) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let before = input.array()?;
        let at = Timestamp::from_micros(input.zigzag()?).ok_or(Malformed)?;
        let epoch = input.varint()?;
        let mark = take_mark(&mut input)?;
        let mut names = Vec::new();
        for _ in 0..input.count()? {
            names.push(PartName {
                area: Area::from_code(input.u8()?)?,
                id: input.array()?,
            });
        }
        let mut entries = Vec::new();
        for _ in 0..input.count()? {
            entries.push(input.bytes()?.to_vec());
        }
        input.end()?;
        Ok(Self {
            epoch,
            before,
            names,
            content: Content {
                at,
                mark,
                first,
                entries,
                parts: Vec::new(),
            },
        })
    }
}

fn put_mark(out: &mut Writer, mark: &Mark) {
    match mark {
        Mark::Commit => out.u8(0),
        Mark::Freeze { token, epoch } => {
            out.u8(1);
            out.varint(*token);
            out.varint(*epoch);
        }
        Mark::Version {
            token,
            version,
            fold,
            meters,
        } => {
            out.u8(2);
            out.varint(*token);
            out.varint(*version);
            out.u8(u8::from(*fold));
            put_tokens(out, meters);
        }
        Mark::Takeover { token } => {
            out.u8(3);
            out.varint(*token);
        }
        Mark::Forget { subjects } => {
            out.u8(4);
            put_tokens(out, subjects);
        }
    }
}

fn put_tokens(out: &mut Writer, tokens: &[Token]) {
    out.count(tokens.len());
    tokens
        .iter()
        .for_each(|token| out.0.extend_from_slice(token));
}

fn take_mark(input: &mut Reader<'_>) -> Result<Mark, Malformed> {
    Ok(match input.u8()? {
        0 => Mark::Commit,
        1 => Mark::Freeze {
            token: input.varint()?,
            epoch: input.varint()?,
        },
        2 => Mark::Version {
            token: input.varint()?,
            version: input.varint()?,
            fold: input.u8()? == 1,
            meters: take_tokens(input)?,
        },
        3 => Mark::Takeover {
            token: input.varint()?,
        },
        4 => Mark::Forget {
            subjects: take_tokens(input)?,
        },
        _ => return Err(Malformed),
    })
}

fn take_tokens(input: &mut Reader<'_>) -> Result<Vec<Token>, Malformed> {
    (0..input.count()?).map(|_| input.array()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_and_not_cut() {
        let marks = [
            Mark::Commit,
            Mark::Freeze { token: 3, epoch: 9 },
            Mark::Version {
                token: 3,
                version: 77,
                fold: true,
                meters: vec![[1; 16], [2; 16]],
            },
            Mark::Takeover { token: 4 },
            Mark::Forget {
                subjects: vec![[5; 16]],
            },
        ];
        for mark in marks {
            let mut content = Content::marking(mark.clone(), 12, Timestamp::MIN);
            content.entries = vec![b"one".to_vec(), Vec::new()];
            let name = PartName {
                area: Area::Identity,
                id: [7; 16],
            };
            let bytes = Sheet::encode(&content, 5, [9; 16], &[name]);
            let back = Sheet::decode(&bytes, 12).unwrap();
            assert_eq!((back.epoch, back.before), (5, [9; 16]));
            assert_eq!((back.content.mark, back.content.first), (mark, 12));
            assert_eq!(
                (back.names, back.content.entries),
                (vec![name], content.entries)
            );
            for cut in 0..bytes.len() {
                assert!(Sheet::decode(&bytes[..cut], 12).is_err(), "{cut}");
            }
        }
    }
}
