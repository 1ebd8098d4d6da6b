//! The keyring, by the admin socket.

use reqwest::Method;

use super::{Client, Request, Result};
use crate::keyring::{Keyring, NewRoot, RotatedPages, RotatedRoot};

impl Client {
    /// `GET /api/v1/keyring`.
    pub async fn keyring(&self) -> Result<Keyring> {
        self.json(Request::new(Method::GET, "/api/v1/keyring"))
            .await
    }

    /// `POST /api/v1/keyring/pages`: every page has a new key when this returns.
    pub async fn rotate_pages(&self) -> Result<RotatedPages> {
        self.json(Request::new(Method::POST, "/api/v1/keyring/pages"))
            .await
    }

    /// `POST /api/v1/keyring/root`: the keyring opens by the new root key when this returns.
    pub async fn rotate_root(&self, new: &NewRoot) -> Result<RotatedRoot> {
        self.json(Request::new(Method::POST, "/api/v1/keyring/root").json(new)?)
            .await
    }

    /// `DELETE /api/v1/keyring/meters/{meter_id}`: nothing of the meter can be opened when this
    /// returns.
    pub async fn destroy_meter_key(&self, id: &str) -> Result<()> {
        let path = ["api", "v1", "keyring", "meters", id];
        let request = Request::to(Method::DELETE, &path, &[])?;
        self.ask(request).await.map(drop)
    }
}
