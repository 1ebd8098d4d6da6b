//! Where the folded state stands: how far it reaches, which runs there are, and which segments each
//! meter has.

use ems_core::time::Timestamp;
use ems_crypto::set_hash::SetHash;

use super::disk::Tally;
use super::wire::{Malformed, Reader, Writer};

/// How far the folded state reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last journal that is folded wholly.
    pub(crate) journal: u64,
    /// The last group commit that is folded.
    pub(crate) sequence: u64,
    /// The number of ledger entries folded.
    pub(crate) ledger: u64,
    /// The keyring's generation at that time: an older keyring is not this one's.
    pub(crate) generation: u64,
    /// The id of the next segment.
    pub(crate) next_segment: u64,
    /// The id of the next run.
    pub(crate) next_run: u64,
    /// The runs that hold something, ascending.
    pub(crate) runs: Vec<RunMeta>,
    /// Every row that there is.
    pub(crate) tally: Tally,
    /// How much the keys have sealed, at most.
    pub(crate) spent: Spent,
}

/// Values sealed under a key of each kind, at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) head: u64,
    pub(crate) records: u64,
    pub(crate) ledger: u64,
    /// Under the key of any one subject.
    pub(crate) subject: u64,
}

/// One run: how many meters have rows in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunMeta {
    pub(crate) id: u64,
    pub(crate) blocks: u64,
}

impl Head {
    /// Notes that a run holds one block less. A run that holds none is no more.
    pub(crate) fn spend(&mut self, run: u64) {
        if let Some(meta) = self.runs.iter_mut().find(|meta| meta.id == run) {
            meta.blocks = meta.blocks.saturating_sub(1);
        }
        self.runs.retain(|meta| meta.blocks > 0);
    }

    /// The content to be sealed.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        for value in [
            self.journal,
            self.sequence,
            self.ledger,
            self.generation,
            self.next_segment,
            self.next_run,
            self.tally.rows,
            self.spent.head,
            self.spent.records,
            self.spent.ledger,
            self.spent.subject,
        ] {
            out.u64(value);
        }
        out.0.extend_from_slice(&self.tally.hash.to_bytes());
        out.count(self.runs.len());
        for run in &self.runs {
            out.u64(run.id);
            out.u64(run.blocks);
        }
        out.0
    }

    /// Reads a content back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let mut head = Self {
            journal: input.u64()?,
            sequence: input.u64()?,
            ledger: input.u64()?,
            generation: input.u64()?,
            next_segment: input.u64()?,
            next_run: input.u64()?,
            tally: Tally {
                rows: input.u64()?,
                hash: SetHash::default(),
            },
            spent: Spent {
                head: input.u64()?,
                records: input.u64()?,
                ledger: input.u64()?,
                subject: input.u64()?,
            },
            runs: Vec::new(),
        };
        head.tally.hash = SetHash::from_bytes(&input.array()?);
        for _ in 0..input.count()? {
            let (id, blocks) = (input.u64()?, input.u64()?);
            head.runs.push(RunMeta { id, blocks });
        }
        input.end()?;
        Ok(head)
    }
}

/// One segment of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) month: u32,
    pub(crate) id: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) count: u64,
}

/// The segments of one meter, ascending and disjoint in time: a segment that vanished is missed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) segments: Vec<SegmentMeta>,
}

impl Manifest {
    /// The first and the last instant.
    pub(crate) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.segments.first().map(|meta| meta.first);
        first.zip(self.segments.last().map(|meta| meta.last))
    }

    /// The content to be sealed.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.count(self.segments.len());
        for meta in &self.segments {
            out.varint(u64::from(meta.month));
            out.varint(meta.id);
            out.zigzag(meta.first.as_micros());
            out.zigzag(meta.last.as_micros());
            out.varint(meta.count);
        }
        out.0
    }

    /// Reads a content back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let mut segments = Vec::new();
        for _ in 0..input.count()? {
            segments.push(SegmentMeta {
                month: u32::try_from(input.varint()?).map_err(|_| Malformed)?,
                id: input.varint()?,
                first: Timestamp::from_micros(input.zigzag()?).ok_or(Malformed)?,
                last: Timestamp::from_micros(input.zigzag()?).ok_or(Malformed)?,
                count: input.varint()?,
            });
        }
        input.end()?;
        Ok(Self { segments })
    }
}
