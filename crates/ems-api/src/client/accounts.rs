//! Users, keys and meters: one page, or all pages one after the other.

use reqwest::Method;
use serde::de::DeserializeOwned;

use super::{Client, Request, Result};
use crate::{
    Page,
    account::{NewUser, User, UserPatch},
    key::{CreatedKey, Key, NewKey, RotatedKey},
    meter::{Meter, MeterProfile},
};

const USERS: [&str; 3] = ["api", "v1", "users"];
const KEYS: [&str; 3] = ["api", "v1", "keys"];
const METERS: [&str; 3] = ["api", "v1", "meters"];

impl Client {
    /// `POST /api/v1/users`.
    pub async fn create_user(&self, user: &NewUser) -> Result<User> {
        self.json(Request::to(Method::POST, &USERS, &[])?.json(user)?)
            .await
    }

    /// `GET /api/v1/users`, all of it.
    pub async fn users(&self) -> Result<Vec<User>> {
        self.all(&USERS, &[]).await
    }

    /// `GET /api/v1/users/{username}`.
    pub async fn user(&self, name: &str) -> Result<User> {
        self.json(Request::to(Method::GET, &below(USERS, name), &[])?)
            .await
    }

    /// `PATCH /api/v1/users/{username}`.
    pub async fn change_user(&self, name: &str, patch: &UserPatch) -> Result<User> {
        let request = Request::to(Method::PATCH, &below(USERS, name), &[])?;
        self.json(request.json(patch)?).await
    }

    /// `DELETE /api/v1/users/{username}`.
    pub async fn delete_user(&self, name: &str) -> Result<()> {
        let request = Request::to(Method::DELETE, &below(USERS, name), &[])?;
        self.ask(request).await.map(drop)
    }

    /// `DELETE /api/v1/users/{username}/mfa`: the user's sessions end.
    pub async fn reset_mfa(&self, name: &str) -> Result<()> {
        let [api, version, users] = USERS;
        let path = [api, version, users, name, "mfa"];
        self.ask(Request::to(Method::DELETE, &path, &[])?)
            .await
            .map(drop)
    }

    /// `POST /api/v1/keys`: the only answer that holds the key.
    pub async fn create_key(&self, key: &NewKey) -> Result<CreatedKey> {
        self.json(Request::to(Method::POST, &KEYS, &[])?.json(key)?)
            .await
    }

    /// `GET /api/v1/keys`, all of it.
    pub async fn keys(&self) -> Result<Vec<Key>> {
        self.all(&KEYS, &[]).await
    }

    /// `DELETE /api/v1/keys/{id}`: the key is dead when this returns.
    pub async fn revoke_key(&self, id: &str) -> Result<()> {
        let request = Request::to(Method::DELETE, &below(KEYS, id), &[])?;
        self.ask(request).await.map(drop)
    }

    /// `POST /api/v1/keys/{id}/rotate`: a successor; both live for a while.
    pub async fn rotate_key(&self, id: &str) -> Result<RotatedKey> {
        let path = ["api", "v1", "keys", id, "rotate"];
        self.json(Request::to(Method::POST, &path, &[])?).await
    }

    /// `GET /api/v1/meters`, all whose id begins with `prefix`.
    pub async fn meters(&self, prefix: &str) -> Result<Vec<Meter>> {
        let query = [("prefix", prefix)];
        self.all(&METERS, if prefix.is_empty() { &[] } else { &query })
            .await
    }

    /// `GET /api/v1/meters/{meter_id}`.
    pub async fn meter(&self, id: &str) -> Result<Meter> {
        self.json(Request::to(Method::GET, &below(METERS, id), &[])?)
            .await
    }

    /// `PUT /api/v1/meters/{meter_id}`.
    pub async fn put_meter(&self, id: &str, profile: &MeterProfile) -> Result<Meter> {
        let request = Request::to(Method::PUT, &below(METERS, id), &[])?;
        self.json(request.json(profile)?).await
    }

    /// `DELETE /api/v1/meters/{meter_id}`.
    pub async fn delete_meter(&self, id: &str) -> Result<()> {
        let request = Request::to(Method::DELETE, &below(METERS, id), &[])?;
        self.ask(request).await.map(drop)
    }

    /// Every item of a list, page by page.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", "1000"));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.json(Request::to(Method::GET, path, &query)?).await?;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(items),
            }
        }
    }
}

fn below<'a>([a, b, c]: [&'a str; 3], id: &'a str) -> [&'a str; 4] {
    [a, b, c, id]
}
