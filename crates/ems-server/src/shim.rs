//! Temporary.
use ems_core::{role::{self, Grant, Permission, Role}, scope::Scope, time::Timestamp};
/// P.
#[derive(Debug, Clone)]
pub struct Principal {
    /// .
    pub name: String,
    /// .
    pub role: Role,
    /// .
    pub grants: Vec<Grant>,
    /// .
    pub scope: Scope,
    /// .
    pub expires_at: Option<Timestamp>,
}
impl Principal {
    /// .
    pub fn may(&self, permission: Permission) -> bool {
        role::allows(self.role, &self.grants, permission)
    }
}
