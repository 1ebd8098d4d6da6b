//! The bookkeeping of who the enabled administrators are, so that the last one stays.
//!
//! It is one record beside the users. Every change that adds or takes an administrator changes it
//! at the revision it was decided on; so of two concurrent removals of the last two, one fails.

use std::collections::BTreeSet;

use ems_store::{Expect, RecordChange, Store, Table};
use serde::{Deserialize, Serialize};

use super::{Read, put, read};
use crate::{Error, Result};

/// Its id. No user's name can hold `~`, and every listing leaves it out.
const ID: &str = "~admins";

#[derive(Default, Serialize, Deserialize)]
struct Admins {
    names: BTreeSet<String>,
}

/// What has to go into a commit after which `username` is, or is not, an enabled administrator;
/// nothing where that changes nothing.
pub(super) async fn change(
    store: &Store,
    username: &str,
    is_admin: bool,
) -> Result<Option<RecordChange>> {
    let found = read::<Admins>(store, Table::Users, ID).await?;
    let (expect, mut admins) = match found {
        Some(Read { revision, value }) => (Expect::Revision(revision), value),
        None => (Expect::Absent, Admins::default()),
    };
    let changed = if is_admin {
        admins.names.insert(username.to_owned())
    } else {
        admins.names.remove(username)
    };
    if !changed {
        return Ok(None);
    }
    if admins.names.is_empty() {
        return Err(Error::LastAdmin);
    }
    put(Table::Users, ID, expect, &admins).map(Some)
}
