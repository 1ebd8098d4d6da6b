//! Removes sessions that are over and that no login of their user has removed.

use ems_core::{audit::AuditKind, time::Timestamp};
use ems_store::{Store, Table};

use super::Session;
use crate::{
    Result,
    accounts::{Read, User, expire, next_page, parse, read},
};

/// Removes the sessions whose time is over, and those that their user's epoch, disabling or end
/// has made void. Returns how many. Each page of them is one durable commit.
pub async fn sweep(store: &Store, now: Timestamp) -> Result<u64> {
    let mut removed = 0;
    let mut after = None;
    while let Some(page) = next_page(store, (Table::Sessions, ""), &mut after).await? {
        let mut over = Vec::new();
        for record in &page {
            let session: Session = parse(Table::Sessions, &record.value)?;
            if is_void(store, &session, now).await? {
                over.push(record);
            }
        }
        let what = (Table::Sessions, AuditKind::Authentication);
        removed += expire(store, what, over.into_iter(), now).await?;
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
