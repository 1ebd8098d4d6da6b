//! Users: bodies under `/api/v1/users`. A password goes in and never comes back.

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

/// Makes a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Its name; `anonymous` and `system` are taken.
    #[schema(pattern = "^[A-Za-z0-9._@-]{1,64}$", example = "alice")]
    pub username: String,
    /// Its password.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 128,
             example = "correct horse battery staple")]
    pub password: SecretText,
    /// Its role.
    #[schema(value_type = RoleName)]
    pub role: Role,
    /// The meters it sees: ids, prefixes such as `plant7-*`, `*` for all. Required for viewers and
    /// meter readers; without it an analyst or admin has all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<ScopeEntry>, required = false, min_items = 1, max_items = 1000)]
    pub meters: Option<Vec<Pattern>>,
    /// The customer whose meters it sees, in place of `meters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    pub customer_id: Option<String>,
    /// Single permissions beside the role's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<GrantName>, required = false, max_items = 2)]
    pub grants: Vec<Grant>,
    /// Whether it is shut out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub disabled: bool,
}

/// Changes a user; what is absent stays as it is, `null` takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// A new password; all sessions of the user end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, format = Password, min_length = 12, max_length = 128)]
    pub password: Option<SecretText>,
    /// A new role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = RoleName, required = false)]
    pub role: Option<Role>,
    /// Other meters.
    #[serde(default, with = "double", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ScopeEntry>>, required = false, min_items = 1, max_items = 1000)]
    pub meters: Option<Option<Vec<Pattern>>>,
    /// Another customer.
    #[serde(default, with = "double", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    pub customer_id: Option<Option<String>>,
    /// Other grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<GrantName>, required = false, max_items = 2)]
    pub grants: Option<Vec<Grant>>,
    /// Shut out, or let in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool, required = false)]
    pub disabled: Option<bool>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Its name.
    #[schema(pattern = "^[A-Za-z0-9._@-]{1,64}$", example = "alice")]
    pub username: String,
    /// Its role.
    #[schema(value_type = RoleName)]
    pub role: Role,
    /// The meters it is bound to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<ScopeEntry>, required = false)]
    pub meters: Option<Vec<Pattern>>,
    /// The customer it is bound to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub customer_id: Option<String>,
    /// Single permissions beside the role's.
    #[schema(value_type = Vec<GrantName>)]
    pub grants: Vec<Grant>,
    /// Whether it is shut out.
    pub disabled: bool,
    /// Whether it has a second factor here.
    #[serde(default)]
    pub mfa: bool,
    /// Whether it logs in by single sign-on.
    #[serde(default)]
    pub sso: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
}

/// A field that may be absent, null, or there.
mod double {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, clippy::option_option, reason = "serde's shape")]
    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .and_then(Option::as_ref)
            .serialize(serializer)
    }

    #[expect(
        clippy::option_option,
        reason = "absent, null and there are three things"
    )]
    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::<T>::deserialize(deserializer).map(Some)
    }
}
