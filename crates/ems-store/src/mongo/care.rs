//! The care of keys as a store's capability. Rotations run here; a destruction is begun here, and
//! brought to its end by whoever does the jobs.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use ems_core::{audit::AuditEvent, meter::MeterId};
use ems_crypto::keyring::RootKey;

use super::{LOOK, Mongo};
use crate::{
    Commit as _, Error, KeyringStatus, Keys, Result, RotatedPages, Subjects as _, Table,
    readings::erasure::Erasure, subject::Subject,
};

/// How long a destruction may take before whoever asked is told that it goes on.
const PATIENCE: Duration = Duration::from_mins(2);

#[async_trait]
impl Keys for Mongo {
    async fn status(&self) -> Result<KeyringStatus> {
        self.blocking(|_, engine| {
            engine.keys.refresh(&[])?;
            Ok(KeyringStatus {
                seals: engine.disk.seals(),
                ..engine.keys.status()?
            })
        })
        .await
    }

    async fn rotate_pages(&self) -> Result<RotatedPages> {
        self.blocking(|_, engine| {
            engine.keys.refresh(&[])?;
            let resumed = engine.keys.begin_rotation()?;
            let (pages, keys) = engine.keys.rotate(engine.clock.now())?;
            Ok(RotatedPages {
                pages,
                keys,
                resumed,
            })
        })
        .await
    }

    async fn admit_root(&self, new: RootKey) -> Result<()> {
        self.blocking(move |_, engine| {
            engine.keys.refresh(&[])?;
            engine.keys.admit_root(&new)
        })
        .await
    }

    async fn settle_root(&self, root: RootKey) -> Result<()> {
        self.blocking(move |_, engine| {
            engine.keys.refresh(&[])?;
            engine.keys.settle_root(&root, engine.clock.now())
        })
        .await
    }

    async fn destroy(&self, meter: &MeterId, note: AuditEvent) -> Result<bool> {
        self.fresh().await?;
        let subject = Subject::Meter(meter.clone());
        let Some(pseudonym) = self.pseudonym(&subject).await? else {
            return Ok(false);
        };
        let erasure = Erasure::of(&self.base.engine(), meter, pseudonym);
        let begun = || {
            let engine = self.base.engine();
            let records = engine.records.read();
            records.get(Table::Erasures, &erasure.id()).is_some()
        };
        if !begun() {
            self.commit(erasure.begin(meter, &note)).await?;
        }
        let until = Instant::now() + PATIENCE;
        while begun() {
            if Instant::now() >= until {
                let why = "the key is not destroyed yet: it goes on";
                return Err(Error::Unavailable(why.into()));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }
}
