//! A verified caller: who it is and what it may do.

use ems_core::{
    role::{self, Grant, Permission, Role},
    scope::Scope,
    time::Timestamp,
};

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its name in logs and ledger: a user's name, `key:` and a key's id, `local:` and a uid. No
    /// two kinds can share one, as a user's name holds no colon.
    pub name: String,
    /// What it showed to be who it is.
    pub kind: Kind,
    /// Its role.
    pub role: Role,
    /// Single permissions beside the role's.
    pub grants: Vec<Grant>,
    /// The meters it may see and write.
    pub scope: Scope,
    /// When its credential ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// What a caller showed to be who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An access token.
    User {
        /// The session it was issued in.
        session_id: String,
        /// Its own name.
        jti: String,
    },
    /// An API key.
    Key {
        /// Its public id.
        id: String,
    },
    /// A process of this machine with the rights of the server's own user, or root.
    Local,
}

impl Principal {
    /// The administrator on this machine, by the uid of its process. No rate window holds it.
    pub fn local(uid: u32) -> Self {
        Self {
            name: format!("local:{uid}"),
            kind: Kind::Local,
            role: Role::Admin,
            grants: Vec::new(),
            scope: Scope::all(),
            expires_at: None,
        }
    }

    /// Whether it carries a permission.
    pub fn may(&self, permission: Permission) -> bool {
        role::allows(self.role, &self.grants, permission)
    }
}
