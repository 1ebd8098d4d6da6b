//! Addresses that are shut out.

use reqwest::Method;

use super::{Client, Request, Result};
use crate::ban::{Ban, NewBan};

/// The path of the list.
const BANS: [&str; 4] = ["api", "v1", "security", "bans"];

impl Client {
    /// `GET /api/v1/security/bans`, all of them.
    pub async fn bans(&self) -> Result<Vec<Ban>> {
        self.all(&BANS, &[]).await
    }

    /// `POST /api/v1/security/bans`: it holds when this returns.
    pub async fn ban(&self, new: &NewBan) -> Result<Ban> {
        self.json(Request::to(Method::POST, &BANS, &[])?.json(new)?)
            .await
    }

    /// `DELETE /api/v1/security/bans/{ip}`: the address is let in when this returns.
    pub async fn lift_ban(&self, ip: &str) -> Result<()> {
        let [a, b, c, d] = BANS;
        let request = Request::to(Method::DELETE, &[a, b, c, d, ip], &[])?;
        self.ask(request).await.map(drop)
    }
}
