//! Holds back what would change readings and meters while they are being moved elsewhere. Everything
//! else goes on: reads with their ledger entries, sessions, users and keys are brought along at the
//! end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use ems_store::{Batch, Commit, Error, Outcome, Table};

/// Whether readings and meters are held as they are. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Frozen(Arc<AtomicBool>);

impl Frozen {
    /// Holds them from now on, until the end of the process.
    pub fn freeze(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Refuses where they are held.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn check(&self) -> ems_store::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            let why = "readings and meters are being moved to another instance";
            return Err(Error::Unavailable(why.into()));
        }
        Ok(())
    }
}

/// A store's commit behind the gate.
pub(crate) struct GatedCommit {
    inner: Arc<dyn Commit>,
    frozen: Frozen,
}

impl GatedCommit {
    pub(crate) fn new(inner: Arc<dyn Commit>, frozen: Frozen) -> Self {
        Self { inner, frozen }
    }
}

#[async_trait]
impl Commit for GatedCommit {
    async fn commit(&self, batch: Batch) -> ems_store::Result<Outcome> {
        let of_meters = batch.records.iter().any(|it| it.table == Table::Meters);
        if of_meters || !batch.readings.is_empty() || !batch.deletions.is_empty() {
            self.frozen.check()?;
        }
        self.inner.commit(batch).await
    }

    async fn fresh(&self) -> ems_store::Result<()> {
        self.inner.fresh().await
    }

    async fn close(&self) -> ems_store::Result<()> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Instance, PASSWORD};

    #[tokio::test]
    async fn reads_and_logins_go_on_while_readings_and_meters_are_held() {
        let server = Instance::new(&[]);
        let token = server.user("ada", "admin").await;
        let ada = [("authorization", token.as_str())];
        let reading = |minute: u8| {
            let at = format!("2024-03-01T00:{minute:02}:00Z");
            json!({"meter_id": "m1", "timestamp": at, "energy_consumption": 1})
        };
        let post = async |body: &Value| server.ask_json("POST /api/v1/data", &ada, body).await;
        assert!(post(&reading(1)).await.status.is_success());
        server.app.frozen.freeze();

        let refused = post(&reading(2)).await;
        assert_eq!(refused.status, 503);
        assert!(refused.has("retry-after"));
        let range = "start=2024-03-01T00:00:00Z&end=2024-03-02T00:00:00Z";
        let path = format!("/api/v1/data/m1?{range}");
        let deleted = server.ask(&format!("DELETE {path}"), &ada, "").await;
        assert_eq!(deleted.status, 503);
        let profile = json!({"site": "plant 7"});
        let described = server
            .ask_json("PUT /api/v1/meters/m1", &ada, &profile)
            .await;
        assert_eq!(described.status, 503);
        let destroyed = "DELETE /api/v1/keyring/meters/m1";
        assert_eq!(server.administer(destroyed, &json!({})).await.status, 503);

        assert_eq!(server.log_in("ada", PASSWORD).await.status, 200);
        let before = *server.app.store.ledger.durable().borrow();
        let read = server.ask(&format!("GET {path}"), &ada, "").await;
        assert_eq!(read.status, 200);
        assert_eq!(read.json()["readings"].as_array().map(Vec::len), Some(1));
        assert_eq!(*server.app.store.ledger.durable().borrow(), before + 1);
    }
}
