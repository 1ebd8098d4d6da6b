//! The keyring: how it stands, rotation, destruction. For whoever owns the server's process, by the
//! admin socket; the policy table lets nobody else in.

use std::{path::PathBuf, sync::Arc};

use axum::{Json, extract::State};
use ems_api::keyring::{KeyCache, Keyring, NewRoot, RotatedPages, RotatedRoot, Seals};
use ems_core::{Fault, FaultCode, audit::Change};
use ems_store::{Batch, KeyringStatus};
use http::StatusCode;

use super::sight::Named;
use crate::{
    app::App,
    body::Document,
    caller::{Admin, Caller},
    problem::Problem,
    query::NoQuery,
    root, strict,
};

/// Values that one key may seal under random nonces (NIST SP 800-38D, 8.3).
const SEALS: f64 = 4_294_967_296.0;

/// Shows how the key tree stands, without a key.
#[utoipa::path(
    get, path = "/api/v1/keyring", operation_id = "keyring", tag = "keyring",
    responses((status = 200, description = "The keyring", body = Keyring)),
)]
pub async fn status(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    _: NoQuery,
) -> Result<Json<Keyring>, Problem> {
    let status = app.store.keys.status().await?;
    super::note_read(&app, &caller, "keyring", 1, None).await?;
    Ok(Json(shown(&status)))
}

/// Wraps all data keys under new key-encryption keys, page by page, and destroys the old ones. No
/// data is rewritten, and all else goes on. One that was interrupted is gone on with.
#[utoipa::path(
    post, path = "/api/v1/keyring/pages", operation_id = "rotatePages", tag = "keyring",
    responses((status = 200, description = "Every page has a new key", body = RotatedPages)),
)]
pub async fn rotate_pages(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    _: NoQuery,
) -> Result<Json<RotatedPages>, Problem> {
    note(&app, &caller, "rotate_pages", "keyring:pages").await?;
    let rotated = app.store.keys.rotate_pages().await?;
    Ok(Json(RotatedPages {
        pages: rotated.pages,
        keys: rotated.keys,
        resumed: rotated.resumed,
    }))
}

/// Closes the keyring under a new root key. Where the root key comes from a file, that file is
/// replaced and the old root key opens the keyring no more; otherwise both open it until a start
/// with the new one.
#[utoipa::path(
    post, path = "/api/v1/keyring/root", operation_id = "rotateRoot", tag = "keyring",
    request_body = NewRoot,
    responses((status = 200, description = "The new root key opens the keyring",
               body = RotatedRoot)),
)]
pub async fn rotate_root(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<Json<RotatedRoot>, Problem> {
    let file = body.optional("new_root_file", |value| strict::parsed(value, absolute));
    let file = body.finish(Some(file))?;
    note(&app, &caller, "rotate_root", "keyring:root").await?;
    Ok(Json(root::rotate(&app, file).await?))
}

/// Destroys the key of a meter with all that is stored of it: nothing of it can be opened any more,
/// in no file and no older copy of the data. A reading that comes later makes a new meter.
#[utoipa::path(
    delete, path = "/api/v1/keyring/meters/{meter_id}", operation_id = "destroyMeterKey",
    tag = "keyring",
    params(("meter_id" = String, Path, description = "The meter", pattern = "^[A-Za-z0-9_-]{1,50}$")),
    responses((status = 204, description = "It is destroyed")),
)]
pub async fn destroy(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    Named(meter): Named,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    app.frozen.check()?;
    let event = caller.access("destroy_key", "meters");
    if app.store.keys.destroy(&meter, event).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found())
}

/// Puts a change of the keyring into the ledger, before it is begun.
async fn note(
    app: &App,
    caller: &Caller<Admin>,
    action: &str,
    component: &str,
) -> Result<(), Problem> {
    let status = app.store.keys.status().await?;
    let change = Change {
        component: component.to_owned(),
        old_value: format!("generation {}", status.generation),
        new_value: "a later generation".to_owned(),
    };
    let event = caller.change(action, "keyring", change);
    app.store.commit.commit(Batch::note(event)).await?;
    Ok(())
}

fn absolute(text: &str) -> Result<PathBuf, Fault> {
    let plain = text.starts_with('/') && text.len() > 1 && text.len() <= 4000;
    if plain && !text.chars().any(char::is_control) {
        return Ok(PathBuf::from(text));
    }
    let why = "a file is named by its absolute path";
    Err(Fault::new("", FaultCode::InvalidFormat, why))
}

fn shown(status: &KeyringStatus) -> Keyring {
    let seals = status.seals.iter().map(|seals| Seals {
        key: seals.key.to_owned(),
        count: seals.count,
        share: f64::from(u32::try_from(seals.count).unwrap_or(u32::MAX)) / SEALS,
    });
    Keyring {
        instance: data_encoding::HEXLOWER.encode(&status.instance),
        generation: status.generation,
        format: status.format,
        pages: status.pages,
        free_slots: status.free_slots,
        subjects: status.subjects,
        journal_keys: status.journal_keys,
        destroyed: status.destroyed,
        root_changed: status.root_changed,
        root_change_pending: status.root_change_pending,
        pages_rotated: status.pages_rotated,
        pages_to_rotate: status.pages_to_rotate,
        seals: seals.collect(),
        cache: KeyCache {
            keys: status.cached_keys,
            limit: status.cache_limit,
            hits: status.cache_hits,
            misses: status.cache_misses,
        },
    }
}
