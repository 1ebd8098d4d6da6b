//! Schemas of domain types, which know nothing of OpenAPI themselves.

use std::borrow::Cow;

use ems_core::role::{Grant, Role};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

/// The form of a meter id.
pub const METER_ID: &str = "^[A-Za-z0-9_-]{1,50}$";
/// The form of an entry of a scope: a meter id, or a prefix and `*`.
pub const SCOPE_ENTRY: &str = r"^([A-Za-z0-9_-]{1,50}|[A-Za-z0-9_-]{0,50}\*)$";
/// The form of a user name.
pub const USERNAME: &str = "^[A-Za-z0-9._@-]{1,64}$";
/// The form of a customer's id.
pub const CUSTOMER_ID: &str = "^[A-Za-z0-9._-]{1,64}$";

/// The schema of [`Role`].
pub struct RoleName;

impl PartialSchema for RoleName {
    fn schema() -> RefOr<Schema> {
        names("What a principal is.", Role::ALL.map(Role::as_str).to_vec())
    }
}

impl ToSchema for RoleName {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Role")
    }
}

/// The schema of [`Grant`].
pub struct GrantName;

impl PartialSchema for GrantName {
    fn schema() -> RefOr<Schema> {
        let all = [Grant::Audit, Grant::Privacy];
        names(
            "A single administrative permission.",
            all.map(grant_name).to_vec(),
        )
    }
}

impl ToSchema for GrantName {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Grant")
    }
}

/// The schema of [`ems_core::scope::Pattern`].
pub struct ScopeEntry;

impl PartialSchema for ScopeEntry {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "A meter id, a prefix and `*` such as `plant7-*`, or `*` for all.",
            ))
            .pattern(Some(SCOPE_ENTRY))
            .examples(["plant7-*"])
            .into()
    }
}

impl ToSchema for ScopeEntry {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ScopeEntry")
    }
}

/// A grant's name on the wire.
pub fn grant_name(grant: Grant) -> &'static str {
    match grant {
        Grant::Audit => "audit",
        Grant::Privacy => "privacy",
    }
}

fn names(description: &str, names: Vec<&'static str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(names))
        .into()
}
