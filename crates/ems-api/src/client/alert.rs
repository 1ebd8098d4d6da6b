//! Alerts.

use reqwest::Method;

use super::{Client, Request, Result};
use crate::alert::{AlertChannels, AlertTests, TestAlert};

impl Client {
    /// `GET /api/v1/security/alerts`.
    pub async fn alert_channels(&self) -> Result<AlertChannels> {
        self.json(Request::new(Method::GET, "/api/v1/security/alerts"))
            .await
    }

    /// `POST /api/v1/security/alerts/test`: every channel has said something when this returns.
    pub async fn test_alerts(&self, test: &TestAlert) -> Result<AlertTests> {
        let request = Request::new(Method::POST, "/api/v1/security/alerts/test");
        self.json(request.json(test)?).await
    }
}
