//! Removes sessions that are over and that no login of their user has removed.

use ems_core::{audit::AuditKind, time::Timestamp};
use ems_store::{Batch, Expect, Store, Table};

use super::Session;
use crate::{
    Act, Result,
    accounts::{Read, User, next_page, parse, read, remove},
};

/// Removes the sessions whose time is over, and those that their user's epoch, disabling or end
/// has made void. Returns how many. Each page of them is one durable commit.
pub async fn sweep(store: &Store, now: Timestamp) -> Result<u64> {
    let mut removed = 0;
    let mut after = None;
    while let Some(page) = next_page(store, (Table::Sessions, ""), &mut after).await? {
        let mut batch = Batch::default();
        for record in &page {
            let session: Session = parse(Table::Sessions, &record.value)?;
            if is_void(store, &session, now).await? {
                batch
                    .records
                    .push(remove(Table::Sessions, &record.id, Expect::Any));
            }
        }
        let count = u64::try_from(batch.records.len()).unwrap_or(u64::MAX);
        if count > 0 {
            let event = Act::system(now).event(AuditKind::Authentication, "expire", "sessions");
            batch.ledger.push(ems_core::audit::AuditEvent {
                record_count: count,
                ..event
            });
            store.commit.commit(batch).await?;
            removed += count;
        }
    }
    Ok(removed)
}

/// Whether a session can never be good again.
async fn is_void(store: &Store, session: &Session, now: Timestamp) -> Result<bool> {
    if session.is_over(now) {
        return Ok(true);
    }
    let user = read::<User>(store, Table::Users, &session.username).await?;
    Ok(user.is_none_or(|Read { value, .. }| !session.is_good_for(&value, now)))
}
