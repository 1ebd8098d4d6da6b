//! Users. A password goes in and never comes back.

use std::sync::Arc;

use axum::{Json, extract::State, response::IntoResponse};
use ems_api::{
    Page,
    account::{NewUser, User, UserPatch},
    schema,
};
use ems_core::{
    Fault, FaultCode,
    role::{Grant, Role},
    scope::Pattern,
};
use ems_crypto::password::Password;
use ems_guard::accounts;
use http::{HeaderValue, StatusCode, header};

use crate::{
    app::App,
    body::Document,
    caller::{Admin, Caller},
    paging::{Paging, PathPart},
    problem::Problem,
    query::{NoQuery, Query},
    strict::{self, Json as Value, Object, Read},
};

/// Entries of a scope at most.
pub(super) const MAX_METERS: usize = 1000;
/// A password's least and most characters.
pub(super) const PASSWORD: (usize, usize) = (12, 128);

/// Makes a user.
#[utoipa::path(
    post, path = "/api/v1/users", operation_id = "createUser", tag = "users",
    request_body = NewUser,
    responses((status = 201, description = "It is made", body = User)),
)]
pub async fn create(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(body): Document,
) -> Result<impl IntoResponse, Problem> {
    let user = accounts::new_user(&app.identities, &caller.act(), new_user(body)?).await?;
    let place = HeaderValue::from_str(&format!("/api/v1/users/{}", user.username))
        .map_err(|error| Problem::internal(error.to_string()))?;
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, place)],
        Json(shown(user)),
    ))
}

/// Lists users by name.
#[utoipa::path(
    get, path = "/api/v1/users", operation_id = "listUsers", tag = "users",
    params(
        ("limit" = Option<u32>, Query, description = "Items of a page, 100 when absent",
         minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = Page<User>)),
)]
pub async fn list(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<Page<User>>, Problem> {
    let paging = Paging::whole(&app, &caller, query)?;
    let found = accounts::users(&app.identities, paging.after(), paging.fetch()).await?;
    let users = found.into_iter().map(shown).collect();
    super::listed(&app, &caller, &paging, ("users", users), |user| {
        &user.username
    })
    .await
}

/// Shows a user.
#[utoipa::path(
    get, path = "/api/v1/users/{username}", operation_id = "getUser", tag = "users",
    params(("username" = String, Path, description = "Its name", pattern = "^[A-Za-z0-9._@-]{1,64}$")),
    responses((status = 200, description = "The user", body = User)),
)]
pub async fn get(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    PathPart(username): PathPart,
    _: NoQuery,
) -> Result<Json<User>, Problem> {
    let found = accounts::user(&app.identities, &username).await?;
    let user = found.ok_or_else(Problem::not_found)?;
    super::note_read(
        &app,
        &caller,
        "users",
        1,
        Some(("username", &user.username)),
    )
    .await?;
    Ok(Json(shown(user)))
}

/// Changes a user: at once, and in every session of it.
#[utoipa::path(
    patch, path = "/api/v1/users/{username}", operation_id = "changeUser", tag = "users",
    params(("username" = String, Path, description = "Its name", pattern = "^[A-Za-z0-9._@-]{1,64}$")),
    request_body = UserPatch,
    responses((status = 200, description = "The user as it is now", body = User)),
)]
pub async fn change(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    PathPart(username): PathPart,
    _: NoQuery,
    Document(body): Document,
) -> Result<Json<User>, Problem> {
    let patch = user_patch(body)?;
    let user = accounts::change_user(&app.identities, &caller.act(), &username, patch).await?;
    Ok(Json(shown(user)))
}

/// Removes a user and ends its sessions.
#[utoipa::path(
    delete, path = "/api/v1/users/{username}", operation_id = "removeUser", tag = "users",
    params(("username" = String, Path, description = "Its name", pattern = "^[A-Za-z0-9._@-]{1,64}$")),
    responses((status = 204, description = "It is gone")),
)]
pub async fn remove(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    PathPart(username): PathPart,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    accounts::remove_user(&app.identities, &caller.act(), &username).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(user: accounts::User) -> User {
    User {
        mfa: user.has_second_factor() && user.external.is_none(),
        sso: user.external.is_some(),
        username: user.username,
        role: user.role,
        meters: user.meters,
        customer_id: user.customer_id,
        grants: user.grants,
        disabled: user.disabled,
        created: user.created,
    }
}

fn new_user(mut body: Object) -> Result<accounts::NewUser, Problem> {
    let username = body.required("username", new_username);
    let password = body.required("password", |value| password(value, PASSWORD));
    let role = body.required("role", role);
    let bound = body.has("meters") || body.has("customer_id");
    let meters = body.optional("meters", meters);
    let customer_id = body.optional("customer_id", customer);
    let grants = body.optional("grants", grants).unwrap_or_default();
    let disabled = body.optional("disabled", strict::flag).unwrap_or(false);
    if role.is_some_and(Role::needs_meters) && !bound {
        body.fault(Fault::new(
            "/meters",
            FaultCode::MissingField,
            "this role must be given its meters",
        ));
    }
    let named = username.zip(password).zip(role);
    body.finish(named.map(|((username, password), role)| accounts::NewUser {
        username,
        password,
        role,
        meters,
        customer_id,
        grants,
        disabled,
    }))
}

fn user_patch(mut body: Object) -> Result<accounts::UserPatch, Problem> {
    let patch = accounts::UserPatch {
        password: body.optional("password", |value| password(value, PASSWORD)),
        role: body.optional("role", role),
        meters: body.nullable("meters", meters),
        customer_id: body.nullable("customer_id", customer),
        grants: body.optional("grants", grants),
        disabled: body.optional("disabled", strict::flag),
    };
    body.finish(Some(patch))
}

fn new_username(value: Value) -> Read<String> {
    let name = username(value)?;
    if accounts::RESERVED.contains(&&*name) {
        let why = "this name stands for nobody in the logs";
        return Err(vec![Fault::new("", FaultCode::Reserved, why)]);
    }
    Ok(name)
}

pub(super) fn username(value: Value) -> Read<String> {
    let name = strict::sized_text(value, 1, 64)?;
    if accounts::is_username(&name) {
        return Ok(name);
    }
    let why = "a user name is letters, digits, '.', '_', '@' and '-'";
    Err(vec![Fault::new("", FaultCode::InvalidFormat, why)])
}

pub(super) fn password(value: Value, (least, most): (usize, usize)) -> Read<Password> {
    strict::sized_text(value, least, most).map(Password::new)
}

pub(super) fn role(value: Value) -> Read<Role> {
    strict::named(value, &Role::ALL.map(|role| (role.as_str(), role)))
}

pub(super) fn meters(value: Value) -> Read<Vec<Pattern>> {
    strict::list(value, (1, MAX_METERS), |entry| {
        strict::parsed(entry, Pattern::parse)
    })
}

fn grants(value: Value) -> Read<Vec<Grant>> {
    let names = [Grant::Audit, Grant::Privacy].map(|grant| (schema::grant_name(grant), grant));
    strict::list(value, (0, names.len()), |entry| {
        strict::named(entry, &names)
    })
}

fn customer(value: Value) -> Read<String> {
    strict::parsed(value, |id| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&id.len()) && id.bytes().all(fits) {
            return Ok(id.to_owned());
        }
        let why = "a customer's id is 1 to 64 letters, digits, '.', '_' and '-'";
        Err(Fault::new("", FaultCode::InvalidFormat, why))
    })
}

#[cfg(test)]
mod tests;
