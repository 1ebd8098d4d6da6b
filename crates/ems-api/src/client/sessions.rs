//! Logging in, staying in, going; liveness.

use reqwest::Method;

use super::{Client, Request, Result};
use crate::{
    SecretText,
    health::{Health, Ready},
    session::{
        Me, MfaConfirmation, MfaEnrolment, MfaRequest, PasswordChange, RefreshRequest,
        TokenRequest, Tokens,
    },
};

impl Client {
    /// `POST /api/v1/auth/token`: tokens for a name and a password.
    pub async fn login(&self, username: &str, password: &str) -> Result<Tokens> {
        let request = TokenRequest {
            username: username.to_owned(),
            password: SecretText::new(password.to_owned()),
            otp: None,
        };
        self.json(Request::new(Method::POST, "/api/v1/auth/token").json(&request)?)
            .await
    }

    /// Logs in, and is the same client with the access token.
    pub async fn logged_in(&self, username: &str, password: &str) -> Result<Self> {
        let tokens = self.login(username, password).await?;
        Ok(self.with_bearer(tokens.access_token.expose()))
    }

    /// `POST /api/v1/auth/refresh`: the next pair of tokens.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens> {
        let request = RefreshRequest {
            refresh_token: SecretText::new(refresh_token.to_owned()),
        };
        self.json(Request::new(Method::POST, "/api/v1/auth/refresh").json(&request)?)
            .await
    }

    /// `POST /api/v1/auth/logout`: ends the session; both tokens are dead when this returns.
    pub async fn logout(&self) -> Result<()> {
        let request = Request::new(Method::POST, "/api/v1/auth/logout");
        self.ask(request).await.map(drop)
    }

    /// `GET /api/v1/auth/me`: who the caller is.
    pub async fn me(&self) -> Result<Me> {
        self.json(Request::new(Method::GET, "/api/v1/auth/me"))
            .await
    }

    /// `PUT /api/v1/auth/password`: another password; the caller's other sessions end.
    pub async fn change_password(&self, current: &str, new: &str) -> Result<()> {
        let change = PasswordChange {
            current: SecretText::new(current.to_owned()),
            new: SecretText::new(new.to_owned()),
        };
        let request = Request::new(Method::PUT, "/api/v1/auth/password").json(&change)?;
        self.ask(request).await.map(drop)
    }

    /// `POST /api/v1/auth/mfa`: a second factor, to be confirmed.
    pub async fn enrol_mfa(&self, password: &str) -> Result<MfaEnrolment> {
        let request = MfaRequest {
            password: SecretText::new(password.to_owned()),
        };
        self.json(Request::new(Method::POST, "/api/v1/auth/mfa").json(&request)?)
            .await
    }

    /// `POST /api/v1/auth/mfa/confirm`: from now on a login needs a code.
    pub async fn confirm_mfa(&self, otp: &str) -> Result<()> {
        let confirmation = MfaConfirmation {
            otp: SecretText::new(otp.to_owned()),
        };
        let request = Request::new(Method::POST, "/api/v1/auth/mfa/confirm").json(&confirmation)?;
        self.ask(request).await.map(drop)
    }

    /// `GET /health`.
    pub async fn health(&self) -> Result<Health> {
        self.json(Request::new(Method::GET, "/health")).await
    }

    /// `GET /ready`.
    pub async fn ready(&self) -> Result<Ready> {
        self.json(Request::new(Method::GET, "/ready")).await
    }
}
