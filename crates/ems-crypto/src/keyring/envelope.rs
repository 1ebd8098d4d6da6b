//! How the keyring is closed: its content under a key of its own, and that key under the root key.
//!
//! While the root key changes, it lies there twice, under the old and under the new one, so that
//! whichever of them a start finds in its place opens the keyring.

use zeroize::Zeroizing;

use super::RootKey;
use crate::{
    Error, Result,
    seal::{DataKey, OVERHEAD, Sealer, aad},
};

/// Bytes of the envelope's key under one root key.
const SLOT: usize = OVERHEAD + 32;
/// The old root key and the new one.
const MOST: usize = 2;

/// The key that seals the content, and its forms under root keys.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    key: DataKey,
    /// The root key in use, then the one that is to follow it.
    slots: Vec<[u8; SLOT]>,
    /// Which of them opened it here.
    own: usize,
}

impl Envelope {
    /// A new key, which this root key alone gives out.
    pub(super) fn new(instance: &[u8; 16], root: &RootKey) -> Self {
        let key = DataKey::generate();
        Self {
            slots: vec![slot(instance, root, &key)],
            key,
            own: 0,
        }
    }

    /// Lets another root key give the key out as well, in place of one that was let in before.
    ///
    /// # Errors
    /// [`Error::Form`] where it is the one in use.
    pub(super) fn admit(&mut self, instance: &[u8; 16], root: &RootKey) -> Result<()> {
        let own = *self.slots.get(self.own).ok_or(Error::Root)?;
        if open_slot(instance, root, &own).is_ok() {
            return Err(Error::Form("the new root key is the one in use"));
        }
        self.slots = vec![own, slot(instance, root, &self.key)];
        self.own = 0;
        Ok(())
    }

    /// Whether two root keys open it.
    pub(super) fn is_shared(&self) -> bool {
        self.slots.len() > 1
    }

    /// Whether the root key that opened it is the one that was let in last.
    pub(super) fn is_newest(&self) -> bool {
        self.own + 1 == self.slots.len()
    }

    /// What stands before the content.
    pub(super) fn head(&self) -> Vec<u8> {
        let count = u8::try_from(self.slots.len()).unwrap_or(u8::MAX);
        let mut head = vec![count];
        self.slots
            .iter()
            .for_each(|slot| head.extend_from_slice(slot));
        head
    }

    pub(super) fn seal(&self, header: &[u8], content: &[u8]) -> Vec<u8> {
        Sealer::new(&self.key).seal(&aad(&[header, &self.head()]), content)
    }

    /// Opens the rest of a file: the slots, then the content.
    pub(super) fn open(
        instance: &[u8; 16],
        root: &RootKey,
        header: &[u8],
        rest: &[u8],
    ) -> Result<(Self, Zeroizing<Vec<u8>>)> {
        let (count, rest) = rest.split_first().ok_or(Error::Root)?;
        let count = usize::from(*count);
        if count == 0 || count > MOST {
            return Err(Error::Root);
        }
        let (slots, content) = rest.split_at_checked(count * SLOT).ok_or(Error::Root)?;
        let slots: Vec<[u8; SLOT]> = slots
            .chunks_exact(SLOT)
            .filter_map(|slot| slot.try_into().ok())
            .collect();
        let opened = slots.iter().enumerate().find_map(|(own, slot)| {
            let key = open_slot(instance, root, slot).ok()?;
            Some((own, key))
        });
        let (own, key) = opened.ok_or(Error::Root)?;
        let envelope = Self { key, slots, own };
        let content = Sealer::new(&envelope.key)
            .open(&aad(&[header, &envelope.head()]), content)
            .map_err(|_| Error::Root)?;
        Ok((envelope, Zeroizing::new(content)))
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> &DataKey {
        &self.key
    }
}

fn slot_aad(instance: &[u8; 16]) -> Vec<u8> {
    aad(&[b"keyring envelope", instance])
}

fn slot(instance: &[u8; 16], root: &RootKey, key: &DataKey) -> [u8; SLOT] {
    let sealed = Sealer::new(&root.0).seal(&slot_aad(instance), key.expose());
    crate::hash::to_array(&sealed)
}

fn open_slot(instance: &[u8; 16], root: &RootKey, slot: &[u8; SLOT]) -> Result<DataKey> {
    let bytes = Zeroizing::new(Sealer::new(&root.0).open(&slot_aad(instance), slot)?);
    <[u8; 32]>::try_from(bytes.as_slice())
        .map(DataKey::from_bytes)
        .map_err(|_| Error::Open)
}
