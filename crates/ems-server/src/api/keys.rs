//! API keys. A key is shown once, when it is made; what is stored is a keyed hash.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};
use ems_api::{
    Page, SecretText,
    key::{CreatedKey, Key, NewKey, RotatedKey},
};
use ems_core::{Fault, FaultCode, time::Timestamp};
use ems_guard::accounts;
use http::StatusCode;

use super::users::{meters, role};
use crate::{
    app::App,
    body::Document,
    caller::{Admin, Caller},
    paging::{Paging, PathPart},
    problem::Problem,
    query::{NoQuery, Query},
    strict::{self, Json as Value, Object, Read},
};

/// Makes a key. It is shown this once.
#[utoipa::path(
    post, path = "/api/v1/keys", operation_id = "createKey", tag = "keys",
    request_body = NewKey,
    responses((status = 201, description = "It is made", body = CreatedKey)),
)]
pub async fn create(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(body): Document,
) -> Result<impl IntoResponse, Problem> {
    let new = new_key(body, caller.now())?;
    let (key, secret) = accounts::new_key(&app.identities, &caller.act(), new).await?;
    let key_text = SecretText::new(secret.expose().to_owned());
    Ok((
        StatusCode::CREATED,
        Json(CreatedKey {
            about: shown(key),
            key: key_text,
        }),
    ))
}

/// Lists keys by id.
#[utoipa::path(
    get, path = "/api/v1/keys", operation_id = "listKeys", tag = "keys",
    params(
        ("limit" = Option<u32>, Query, description = "Items of a page, 100 when absent",
         minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = Page<Key>)),
)]
pub async fn list(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<Page<Key>>, Problem> {
    let paging = Paging::whole(&app, &caller, query)?;
    let found = accounts::keys(&app.identities, paging.after(), paging.fetch()).await?;
    let keys = found.into_iter().map(shown).collect();
    super::listed(&app, &caller, &paging, ("keys", keys), |key| &key.id).await
}

/// Revokes a key, at once and for good.
#[utoipa::path(
    delete, path = "/api/v1/keys/{id}", operation_id = "revokeKey", tag = "keys",
    params(("id" = String, Path, description = "Its id", pattern = "^[A-Za-z0-9]{8}$")),
    responses((status = 204, description = "It is revoked")),
)]
pub async fn revoke(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    PathPart(id): PathPart,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    accounts::revoke_key(&app.identities, &caller.act(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a key's successor. Both are taken for a while, so that a device can be given the new one.
#[utoipa::path(
    post, path = "/api/v1/keys/{id}/rotate", operation_id = "rotateKey", tag = "keys",
    params(("id" = String, Path, description = "Its id", pattern = "^[A-Za-z0-9]{8}$")),
    responses((status = 201, description = "The new key", body = RotatedKey)),
)]
pub async fn rotate(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    PathPart(id): PathPart,
    _: NoQuery,
) -> Result<impl IntoResponse, Problem> {
    let rotated = accounts::rotate_key(&app.identities, &caller.act(), &id).await?;
    let answer = RotatedKey {
        about: shown(rotated.key),
        key: SecretText::new(rotated.secret.expose().to_owned()),
        replaces: rotated.replaces,
        replaced_valid_until: rotated.replaced_valid_until,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn shown(key: accounts::Key) -> Key {
    Key {
        id: key.id,
        name: key.name,
        role: key.role,
        meters: key.meters,
        created: key.created,
        created_by: key.created_by,
        expires_at: key.expires_at,
        revoked: key.revoked.is_some(),
        replaced_by: key.replaced_by,
        valid_until: key.valid_until,
    }
}

fn new_key(mut body: Object, now: Timestamp) -> Result<accounts::NewKey, Problem> {
    let name = body.required("name", name);
    let role = body.required("role", role);
    let meters = body.required("meters", meters);
    let expires_at = body.optional("expires_at", |value| {
        let end = strict::instant(value)?;
        if end > now {
            return Ok(end);
        }
        Err(vec![Fault::new(
            "",
            FaultCode::OutOfRange,
            "a key ends in the future",
        )])
    });
    let named = name.zip(role).zip(meters);
    body.finish(named.map(|((name, role), meters)| accounts::NewKey {
        name,
        role,
        meters,
        expires_at,
    }))
}

fn name(value: Value) -> Read<String> {
    let name = strict::sized_text(value, 1, 100)?;
    if name.chars().any(char::is_control) {
        let why = "a name has no control characters";
        return Err(vec![Fault::new("", FaultCode::InvalidFormat, why)]);
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
