//! One file of the simulated disk: what a process sees, what is durable, and what lies between.

use super::{Dice, narrow, wide};

const SECTOR: usize = 512;
const BLOCK: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What a process sees.
    pub(super) now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// Which blocks take room.
    blocks: Vec<bool>,
}

#[derive(Debug, Clone)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Inode {
    /// A durable file.
    pub(super) fn of(content: Vec<u8>) -> Self {
        Self {
            durable: content.clone(),
            blocks: vec![true; content.len().div_ceil(BLOCK)],
            now: content,
            pending: Vec::new(),
        }
    }

    /// Bytes of blocks that it takes.
    pub(super) fn used(&self) -> u64 {
        wide(self.blocks.iter().filter(|taken| **taken).count() * BLOCK)
    }

    /// Bytes of blocks that a write would take beyond those it has.
    pub(super) fn needs(&self, length: usize, offset: u64) -> u64 {
        let offset = narrow(offset);
        let blocks = offset / BLOCK..(offset + length).div_ceil(BLOCK);
        let new = blocks.filter(|block| !self.blocks.get(*block).copied().unwrap_or(false));
        wide(new.count() * BLOCK)
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let offset = narrow(offset);
        put(&mut self.now, offset, bytes);
        let end = (offset + bytes.len()).div_ceil(BLOCK);
        if self.blocks.len() < end {
            self.blocks.resize(end, false);
        }
        self.blocks[offset / BLOCK..end].fill(true);
        self.pending.push(Pending::Write {
            offset,
            bytes: bytes.to_vec(),
        });
    }

    pub(super) fn set_len(&mut self, length: u64) {
        let length = narrow(length);
        self.now.resize(length, 0);
        self.blocks.truncate(length.div_ceil(BLOCK));
        self.pending.push(Pending::Length(length));
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Write { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Pending::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// Makes some of what was written durable, and forgets that the rest is not.
    pub(super) fn fail_to_sync(&mut self, dice: &mut Dice) {
        // Most cuts lose nearly all or nearly nothing; the ones between are the odd ones.
        let odds = dice.pick(&[1, 2, 2, 8, u64::MAX]);
        let keep = |dice: &mut Dice| match odds {
            8 => !dice.once_in(8),
            odds => dice.once_in(odds),
        };
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Length(length) if keep(dice) => self.durable.resize(length, 0),
                Pending::Length(_) => {}
                Pending::Write { offset, bytes } => {
                    let mut done = 0;
                    while done < bytes.len() {
                        let at = offset + done;
                        let piece = (SECTOR - at % SECTOR).min(bytes.len() - done);
                        if keep(dice) {
                            put(&mut self.durable, at, &bytes[done..done + piece]);
                        }
                        done += piece;
                    }
                }
            }
        }
    }

    /// What is left of it when the power is cut.
    pub(super) fn lose(&mut self, dice: &mut Dice) {
        self.fail_to_sync(dice);
        self.now.clone_from(&self.durable);
        self.blocks = vec![true; self.now.len().div_ceil(BLOCK)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_stays_and_the_rest_is_kept_by_the_sector() {
        let mut seen = [false; 3];
        for seed in 0..100 {
            let mut inode = Inode::default();
            inode.write(&[1; 700], 0);
            inode.sync();
            inode.write(&[2; 2048], 0);
            inode.lose(&mut Dice::new(seed));
            for sector in inode.now.chunks(SECTOR) {
                let whole = sector.iter().all(|byte| *byte == sector[0]);
                // The second one was synced in part only.
                assert!(whole || sector[..188].iter().all(|byte| *byte == 1));
            }
            let kept = inode
                .now
                .chunks(SECTOR)
                .filter(|sector| sector[0] == 2)
                .count();
            seen[usize::from(kept > 0) + usize::from(kept == 4)] = true;
        }
        assert_eq!(seen, [true; 3], "none, some and all of it were kept");
    }

    #[test]
    fn a_failed_sync_forgets_what_it_lost() {
        let lost = (0..100).filter(|seed| {
            let mut inode = Inode::default();
            inode.write(&[7; 512], 0);
            inode.fail_to_sync(&mut Dice::new(*seed));
            assert_eq!(inode.now, [7; 512], "a process still sees it");
            inode.sync();
            inode.lose(&mut Dice::new(0));
            inode.now.is_empty()
        });
        assert!((20..80).contains(&lost.count()));
    }

    #[test]
    fn a_hole_takes_no_room() {
        let mut inode = Inode::default();
        inode.set_len(1 << 20);
        assert_eq!((inode.used(), inode.needs(1, 8191)), (0, 4096));
        inode.write(&[1; 2], 8191);
        assert_eq!((inode.used(), inode.needs(9000, 4096)), (8192, 4096));
    }
}
