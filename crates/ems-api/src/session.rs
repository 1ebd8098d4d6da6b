//! Logging in, staying in, and going: bodies under `/api/v1/auth`.

use ems_core::{
    role::{Grant, Role},
    scope::Pattern,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    SecretText,
    schema::{GrantName, RoleName, ScopeEntry},
};

/// Asks for tokens by name and password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The user.
    #[schema(pattern = "^[A-Za-z0-9._@-]{1,64}$", example = "alice")]
    pub username: String,
    /// The password.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 128,
             example = "correct horse battery staple")]
    pub password: SecretText,
    /// A one-time code, where the account has a second factor; or one of its recovery codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^([0-9]{6,8}|[A-Za-z2-7]{4}(-?[A-Za-z2-7]{4}){3})$",
             example = "123456")]
    pub otp: Option<SecretText>,
}

/// An access token and what renews it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// A signed token (RFC 9068) for `Authorization: Bearer`.
    #[schema(value_type = String)]
    pub access_token: SecretText,
    /// Always `Bearer`.
    #[schema(pattern = "^Bearer$", example = "Bearer")]
    pub token_type: String,
    /// Seconds for which the access token is good.
    #[schema(minimum = 0, example = 3600)]
    pub expires_in: u64,
    /// Good once, for the next pair.
    #[schema(value_type = String)]
    pub refresh_token: SecretText,
}

/// Asks for a new pair of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The refresh token of the last pair.
    #[schema(value_type = String, min_length = 1, max_length = 512)]
    pub refresh_token: SecretText,
}

/// Changes the caller's own password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The present one.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 128)]
    pub current: SecretText,
    /// The new one.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 128)]
    pub new: SecretText,
}

/// Who the caller is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The user's name, or `key:` and the key's id.
    #[schema(example = "alice")]
    pub name: String,
    /// Its role.
    #[schema(value_type = RoleName)]
    pub role: Role,
    /// The meters it sees; `*` for all.
    #[schema(value_type = Vec<ScopeEntry>)]
    pub meters: Vec<Pattern>,
    /// Its single permissions.
    #[schema(value_type = Vec<GrantName>)]
    pub grants: Vec<Grant>,
    /// Whether it has a second factor: its own, or that of the single sign-on.
    #[serde(default)]
    pub mfa: bool,
    /// When the credential ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// Asks for a second factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MfaRequest {
    /// The caller's password.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 128)]
    pub password: SecretText,
}

/// A new second factor: shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MfaEnrolment {
    /// The secret of the one-time codes (RFC 6238: SHA-1, 30 s, 6 digits), in Base32.
    #[schema(value_type = String, pattern = "^[A-Z2-7]{32}$")]
    pub secret: SecretText,
    /// The same as authenticator apps read it from a picture.
    #[schema(value_type = String)]
    pub otpauth_uri: SecretText,
    /// Ten codes, each good once in the place of a one-time code.
    #[schema(value_type = Vec<String>)]
    pub recovery_codes: Vec<SecretText>,
}

/// Puts a new second factor into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MfaConfirmation {
    /// A one-time code of it.
    #[schema(value_type = String, pattern = "^[0-9]{6}$", example = "123456")]
    pub otp: SecretText,
}

/// Gives a second factor up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MfaRemoval {
    /// The caller's password.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 128)]
    pub password: SecretText,
    /// A one-time code, or a recovery code.
    #[schema(value_type = String, pattern = "^([0-9]{6,8}|[A-Za-z2-7]{4}(-?[A-Za-z2-7]{4}){3})$",
             example = "123456")]
    pub otp: SecretText,
}

/// The security guide's greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Greeting {
    /// `Hello {user}, this is a secure endpoint`.
    #[schema(example = "Hello alice, this is a secure endpoint")]
    pub message: String,
}
