//! The care of keys as a store's capability: what the key tree does, off the asynchronous threads.

use std::sync::Arc;

use async_trait::async_trait;
use ems_core::{audit::AuditEvent, meter::MeterId};
use ems_crypto::keyring::RootKey;

use super::{Embedded, erase};
use crate::{
    Error, KeyringStatus, Keys, Result, RotatedPages, Subjects as _, Table,
    readings::{engine::Engine, erasure::Erasure, queue::Request},
    subject::Subject,
};

#[async_trait]
impl Keys for Embedded {
    async fn status(&self) -> Result<KeyringStatus> {
        self.blocking(|engine| {
            Ok(KeyringStatus {
                seals: engine.disk.seals(),
                ..engine.keys.status()?
            })
        })
        .await
    }

    async fn rotate_pages(&self) -> Result<RotatedPages> {
        self.blocking(|engine| {
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
        self.blocking(move |engine| engine.keys.admit_root(&new))
            .await
    }

    async fn settle_root(&self, root: RootKey) -> Result<()> {
        self.blocking(move |engine| engine.keys.settle_root(&root, engine.clock.now()))
            .await
    }

    async fn destroy(&self, meter: &MeterId, note: AuditEvent) -> Result<bool> {
        let _one = self.erasing.lock().await;
        let subject = Subject::Meter(meter.clone());
        let Some(pseudonym) = self.pseudonym(&subject).await? else {
            return Ok(false);
        };
        let erasure = Erasure::of(&self.engine, meter, pseudonym);
        let begun = {
            let records = self.engine.records.read();
            let id = erasure.id();
            records.get(Table::Erasures, &id).is_some()
        };
        if !begun {
            let batch = Box::new(erasure.begin(meter, &note));
            self.ask(|answer| Request::Commit(batch, answer)).await?;
        }
        let (engine, requests) = (Arc::clone(&self.engine), self.requests.clone());
        let finish = move || erase::finish(&erasure, &engine, &requests, &note);
        let done = tokio::task::spawn_blocking(finish).await;
        done.map_err(|error| Error::Engine(error.to_string()))??;
        Ok(true)
    }
}

/// Goes on with a rotation of pages that was interrupted, on a thread of its own.
pub(crate) fn resume(engine: &Arc<Engine>) -> Result<()> {
    if !engine.keys.is_rotating() {
        return Ok(());
    }
    let engine = Arc::clone(engine);
    let work = move || match engine.keys.rotate(engine.clock.now()) {
        Ok((pages, keys)) => tracing::info!(pages, keys, "an interrupted rotation was finished"),
        Err(error) => tracing::error!(%error, "an interrupted rotation is still pending"),
    };
    let thread = std::thread::Builder::new().name("ems-rotator".into());
    thread
        .spawn(work)
        .map(drop)
        .map_err(Error::io("rotator thread"))
}
