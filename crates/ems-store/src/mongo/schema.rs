//! The collections and their indexes, made by `ems init` and by migrations that each may be run again.
//! Nothing here names a meter or a person: collections are named for tables, keys are tokens.
//!
//! Over shards, all but the small ones are spread by `_id`: that of a row begins with the meter's
//! token, so a meter's rows, and the months of one window, lie together; that of a part is random.

use mongodb::{
    IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};

use super::{
    link::Link,
    log::Area,
    ring::{binary, bytes},
    rows,
};
use crate::{Error, Result, readings::disk::FORMAT};

/// The version of collections and indexes that is made here.
const SCHEMA: i64 = 1;
/// What a server says where something is there already.
const EXISTS: i32 = 48;
/// What a server says to a user who may not ask something.
const FORBIDDEN: i32 = 13;
/// Folds that the oplog must hold: a member that is away for the time of fewer has to copy everything.
const FOLDS: u64 = 8;

/// What a database says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// The instance that it belongs to.
    pub(super) instance: [u8; 16],
}

/// Reads it; `None` in a database that was not initialised.
///
/// # Errors
/// [`Error::Version`] where it was made by a later version.
pub(super) fn read(link: &Link) -> Result<Option<Meta>> {
    let meta = link.data("meta");
    let Some(found) = link.run(meta.find_one(doc! { "_id": "schema" }))? else {
        return Ok(None);
    };
    let number = |field: &str| {
        let number = found.get_i64(field).ok();
        let number = number.and_then(|number| u16::try_from(number).ok());
        number.unwrap_or(u16::MAX)
    };
    for (field, known) in [
        ("v", u16::try_from(SCHEMA).unwrap_or(0)),
        ("format", FORMAT),
    ] {
        if number(field) != known {
            return Err(Error::Version {
                place: format!("the database ({field})"),
                found: number(field),
                known,
            });
        }
    }
    let instance = bytes(&found, "instance").and_then(|bytes| bytes.try_into().ok());
    let cut = || Error::damaged("database, schema", "it names no instance");
    Ok(Some(Meta {
        instance: instance.ok_or_else(cut)?,
    }))
}

/// Makes the collections and indexes, and says whose they are once all are there.
pub(super) fn make(link: &Link, instance: [u8; 16]) -> Result<()> {
    let data = rows::tables()
        .chain(Area::ALL.map(Area::collection))
        .chain(["ledger", "jobs", "meta"]);
    let [of_data, of_keys] = link.databases();
    for name in data {
        made(link.attempt(of_data.create_collection(name)))?;
    }
    for name in ["keyring", "wrapped", "pages"] {
        made(link.attempt(of_keys.create_collection(name)))?;
    }
    for table in rows::tables() {
        index(link, table, doc! { "k": 1 }, None)?;
        // Of what no write has replaced it holds nothing.
        index(
            link,
            table,
            doc! { "x": 1 },
            Some(doc! { "x": { "$exists": true } }),
        )?;
        index(link, table, doc! { "v": 1 }, None)?;
    }
    index(link, "young", doc! { "m": 1 }, None)?;
    index(link, "young", doc! { "r": 1 }, None)?;
    index(link, "ledger", doc! { "f": 1 }, None)?;
    for area in Area::ALL {
        index(link, area.collection(), doc! { "e": 1 }, None)?;
    }
    let meta = doc! { "$set": {
        "v": SCHEMA,
        "format": i64::from(FORMAT),
        "instance": binary(&instance),
    } };
    let update = link.data("meta");
    let update = update
        .update_one(doc! { "_id": "schema" }, meta)
        .upsert(true);
    link.run(update).map(drop)
}

/// Looks whether the oplog is large enough for what the jobs write.
///
/// # Errors
/// [`Error::Refused`] where it is not.
pub(super) fn expect_oplog(link: &Link, journal_bytes: u64) -> Result<()> {
    let local = link.client().database("local");
    let stats = match link.attempt(local.run_command(doc! { "collStats": "oplog.rs" })) {
        Err(failed) if failed.code() == Some(FORBIDDEN) => {
            tracing::warn!("this user may not ask how large the oplog is");
            return Ok(());
        }
        stats => stats?,
    };
    let field = stats.get("maxSize");
    let whole = field.and_then(|size| size.as_i64().or(size.as_i32().map(i64::from)));
    let most = match (whole, field.and_then(mongodb::bson::Bson::as_f64)) {
        (Some(whole), _) => u64::try_from(whole).unwrap_or(0),
        (None, Some(size)) => format!("{size:.0}").parse().unwrap_or(0),
        // Behind a router each shard has its own.
        (None, None) => return Ok(()),
    };
    let least = journal_bytes.saturating_mul(FOLDS);
    if most >= least {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the oplog of the database holds {most} bytes; what is folded at a time \
         (store.checkpoint_bytes) needs {least}: let it hold more (replSetResizeOplog)"
    )))
}

fn made<T>(done: Result<T, super::link::Failed>) -> Result<()> {
    match done {
        Err(failed) if failed.code() == Some(EXISTS) => Ok(()),
        done => done.map(drop).map_err(Error::from),
    }
}

fn index(link: &Link, table: &str, keys: Document, only: Option<Document>) -> Result<()> {
    let options = IndexOptions::builder()
        .partial_filter_expression(only)
        .build();
    let index = IndexModel::builder().keys(keys).options(options).build();
    let table = link.data(table);
    link.run(table.create_index(index)).map(drop)
}
