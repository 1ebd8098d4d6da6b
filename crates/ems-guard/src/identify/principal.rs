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
    /// Whether it has a second factor. A key is no person, and has none.
    pub factor: Factor,
    /// When its credential ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// Whether a caller has a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// It has none, and needs none.
    Absent,
    /// It has one.
    Present,
    /// It has none and needs one: until then it may only see to that.
    Missing,
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
            factor: Factor::Absent,
            expires_at: None,
        }
    }

    /// Whether it carries a permission. One whose second factor is missing carries none.
    pub fn may(&self, permission: Permission) -> bool {
        self.factor != Factor::Missing && role::allows(self.role, &self.grants, permission)
    }
}
